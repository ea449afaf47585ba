"""What people see who ask, on hosts with a systemd and only the rights that setup gave."""

from __future__ import annotations

import json
import signal
import time

import pytest

from aideploy.errors import ExitStatus
from tests.fleet.project import Project, eventually
from tests.lab.hosts import Host

pytestmark = pytest.mark.fleet


def test_check_finds_a_host_ready_with_no_more_rights_than_setup_gave(project: Project) -> None:
    assert project.fab("check").output.count("✓") == 1 + len(project.hosts)


def test_check_names_the_right_that_was_taken_away(project: Project) -> None:
    host = project.hosts[0]
    rights = f"/etc/sudoers.d/aideploy-{project.app}"
    host.exec(f"mv {rights} /root/rights")
    try:
        said = project.fab("check", expected=ExitStatus.NOT_READY).output
    finally:
        host.exec(f"mv /root/rights {rights}")

    assert "deploy may not run as root: /usr/bin/systemctl" in said
    assert said.count("✓") == len(project.hosts)


def test_status_knows_service_health_and_model(project: Project) -> None:
    status = json.loads(project.fab("status", "--json").output)

    for host in status["hosts"]:
        assert (host["condition"]["service"], host["condition"]["healthy"]) == ("active", True)
        assert len(host["condition"]["model"]) == 64
        assert host["stale_files"] == []


def test_logs_of_all_hosts_come_in_the_order_of_time(project: Project) -> None:
    lines = json.loads(project.fab("logs", "--lines", "5", "--json").output)["lines"]

    times = [line["at"] for line in lines]
    assert None not in times
    assert times == sorted(times)
    assert {line["host"] for line in lines} == {host.name for host in project.hosts}


def test_logs_since_a_moment_are_those_written_since(project: Project) -> None:
    # The times of a journal are seconds here, and a deploy may have written all in one.
    time.sleep(1.1)
    project.hosts[0].exec(f"systemctl restart {project.app}@live")
    assert eventually(lambda: project.served(project.hosts[0]))
    everything = json.loads(project.fab("logs", "--lines", "1000", "--json").output)["lines"]
    times = sorted({line["at"] for line in everything})
    middle = times[len(times) // 2]

    since = json.loads(project.fab("logs", "--since", middle, "--json").output)["lines"]

    later = [line for line in everything if line["at"] >= middle]
    # Health is asked all the time: there may be more by now.
    assert 0 < len(later) < len(everything)
    assert since[: len(later)] == later


def test_following_logs_leaves_no_process_on_the_hosts(project: Project) -> None:
    following = project.start("logs", "--follow", "--lines", "2")
    for host in project.hosts:
        following.wait_for(rf"{host.name} +\| ")

    following.signal(signal.SIGINT)

    assert following.finish().status == ExitStatus.DONE
    assert eventually(
        lambda: not any("journalctl" in one for host in project.hosts for one in processes(host))
    )


def processes(host: Host) -> list[str]:
    return host.exec("ps -eo args").stdout.splitlines()


def test_a_plan_tells_what_a_deploy_then_does(project: Project) -> None:
    before = {host.name: project.current(host) for host in project.hosts}
    revision = project.commit()

    plan = json.loads(project.fab("plan", "--json").output)

    assert plan["revision"] == revision
    assert [host["release"] for host in plan["hosts"]] == list(before.values())
    assert all(len(host["commits"]) >= 1 and host["files"] == [] for host in plan["hosts"])
    assert {host.name: project.current(host) for host in project.hosts} == before


def test_what_somebody_added_to_a_unit_is_named_until_it_is_gone(project: Project) -> None:
    host = project.hosts[0]
    folder = f"/etc/systemd/system/{project.app}@.service.d"
    copy = f"/etc/systemd/system/{project.app}@live.service"
    host.exec(
        f"mkdir {folder} && printf '[Service]\\nNice=5\\n' > {folder}/override.conf"
        f" && cp /etc/systemd/system/{project.app}@.service {copy} && systemctl daemon-reload"
    )
    try:
        said = project.fab("status", expected=ExitStatus.NOT_READY).output
        checked = project.fab("check", expected=ExitStatus.NOT_READY).output
    finally:
        host.exec(f"rm -r {folder} {copy} && systemctl daemon-reload")

    assert f"units have additions that are not ours: {folder}/override.conf, {copy}" in said
    assert f"{folder}/override.conf" in checked
    project.fab("status")
