"""The strategy blue_green on real hosts: users notice nothing of a deploy, a rollback, a crash."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from aideploy.errors import ExitStatus
from tests.fleet.project import Project, eventually
from tests.fleet.served import Served
from tests.fleet.traffic import Users
from tests.lab.hosts import Host, Lab, Sudo

pytestmark = pytest.mark.fleet

APP = "quiet"


@pytest.fixture
def host(lab: Lab) -> Iterator[Host]:
    host = lab.hosts[0]
    yield host
    # The next test wants the ports, and a host that was never set up.
    host.exec(f"systemctl stop '{APP}*'; rm -rf /srv/{APP} /etc/sudoers.d/*{APP}")
    host.exec(f"rm -f /etc/systemd/system/{APP}*; rm -f /usr/local/bin/apt-get")
    host.exec("systemctl daemon-reload; systemctl reset-failed")


def project_of(
    lab: Lab,
    host: Host,
    folder: Path,
    *,
    strategy: str = "blue_green",
    serve: str = "",
    bake: str = "1s",
) -> Project:
    """The small app behind HAProxy, reached from outside."""
    return Project(
        lab,
        folder / APP,
        hosts=[host],
        app=APP,
        port=8500,
        strategy=strategy,
        serve=f"bind = '0.0.0.0'\n{serve}",
        bake=bake,
    )


def test_users_notice_nothing_of_deploys_and_rollbacks_and_crashes(
    lab: Lab, host: Host, tmp_path: Path
) -> None:
    project = project_of(lab, host, tmp_path)
    project.set_up()
    first = project.deploy()
    assert project.slots(host) == {"blue": first}
    with Users(project.addresses()) as users:
        second = project.deploy()
        assert project.slots(host) == {"blue": first, "green": second}, "one stands by"
        assert set(users.from_now(0.5)) == {second}
        project.fab("rollback")
        assert eventually(lambda: project.slots(host) == {"blue": first})
        third = project.deploy()
        host.exec(f"systemctl kill --signal=KILL {APP}@green")
        assert users.from_now(3)[first] > 0, "who stands by took over"
        project.configure(serve="bind = '0.0.0.0'\nstop_timeout = '40s'")
        project.set_up()
        assert "Reloading HAProxy" in host.exec(f"journalctl -u {APP}-haproxy").stdout
        time.sleep(1)
        assert users.failed == []
        host.exec(f"systemctl kill --signal=KILL {APP}-haproxy")
        assert eventually(lambda: project.served(host) == third)
    # What was under way in HAProxy itself, or on a connection kept to it, nobody can answer.
    assert len(users.failed) <= 4, users.failed
    assert set(users.by_revision()) - {""} == {first, second, third}
    host.power_off()
    host.boot()
    assert eventually(lambda: project.served(host) == third)


def test_a_release_that_fails_leaves_no_slot_behind_and_users_where_they_were(
    lab: Lab, host: Host, tmp_path: Path
) -> None:
    project = project_of(lab, host, tmp_path, bake="4s")
    project.set_up()
    first = project.deploy()
    with Users(project.addresses()) as users:
        project.commit(green_starts_after={host.name: 60})
        project.fab("deploy", expected=ExitStatus.REFUSED)
        assert eventually(lambda: project.slots(host) == {"blue": first})
        assert users.failed == []
        ill = project.commit(ill_when_live_on=["all"], ill_after=2)
        finished = project.fab("deploy", expected=ExitStatus.ROLLED_BACK)
        back = re.search(r"revert +h1  done ([\d.]+)s", finished.output)
        assert back and float(back[1]) < 3, finished.output
        assert {one.error[:3] for one in users.failed} == {"500"}, "what the ill one answered"
        assert eventually(lambda: project.slots(host) == {"blue": first})
        assert set(users.from_now(0.5)) == {first}

        project.configure(bake="30s")
        command = project.start("deploy")
        command.wait_for_phase("watch")
        command.kill()
        assert eventually(lambda: project.slots(host) == {"blue": first}, within=60)
    assert ill not in set(project.slots(host).values())
    slots = host.exec(f"ls {project.root}/slots/*; ls {project.root}/due").stdout.split()
    assert (slots.count("on"), slots.count("release")) == (1, 1)


def test_a_release_gets_a_growing_share_of_the_requests_before_it_gets_all(
    lab: Lab, host: Host, tmp_path: Path
) -> None:
    project = project_of(lab, host, tmp_path, bake="4s")
    project.configure(rollout="weights = ['5%', '25%']", health='path = "/ready"')
    project.set_up()
    project.commit()
    assert "of the requests:" not in project.fab("deploy").output, "nothing was live to share with"
    before = project.current(host)
    with Users(project.addresses()) as users:
        second = project.commit()
        command = project.start("deploy")
        command.wait_for(r"watch +.*25% of the requests")
        project.fab("rollout.pause")
        answers = users.from_now(2)
        assert 0.1 < answers[second] / answers.total() < 0.45, answers
        assert project.current(host) == before
        status = project.fab("rollout.status").output
        assert re.search(r"paused by .*25% of the requests", status)
        assert re.search(r"h1 +1 +gives 25%", status)
        project.fab("rollout.promote")
        assert command.finish().status == ExitStatus.DONE
        assert set(users.from_now(0.5)) == {second}
        assert users.failed == []

        ill = project.commit(ill_when_live_on=["all"], ill_at="/ready", ill_after=4)
        finished = project.fab("deploy", expected=ExitStatus.ROLLED_BACK)
        assert "5% of the requests" in finished.output
        assert eventually(lambda: project.slots(host) == {"green": second})
        assert users.by_revision()[ill] > 0
        assert set(users.from_now(0.5)) == {second}

        project.commit()
        command = project.start("deploy")
        command.wait_for(r"watch +.*5% of the requests")
        command.kill()
        assert eventually(lambda: project.slots(host) == {"green": second}, within=60)
        assert eventually(lambda: host.exec(f"ls {project.root}/due").stdout == "")
        assert set(users.from_now(0.5)) == {second}
        assert users.failed == []
    assert "revert" in host.exec(f"cat {project.root}/journal.jsonl").stdout


@pytest.mark.slow
def test_an_answer_that_is_under_way_is_not_cut_when_the_old_release_stops(
    lab: Lab, host: Host, tmp_path: Path
) -> None:
    project = project_of(lab, host, tmp_path, serve='keep_old = "0s"')
    project.set_up()
    first = project.deploy()
    second = project.commit()
    command = project.start("deploy")
    command.wait_for_phase("stage")
    url = f"http://{host.address}:{project.port}/slow"
    ask = ["curl", "-sS", "--max-time", "40", url]
    with subprocess.Popen(ask, stdout=subprocess.PIPE, text=True) as slow:
        command.finish()
        assert slow.poll() is None, "it is still under way"
        assert project.served(host) == second
        answer, _ = slow.communicate()
    assert json.loads(answer)["revision"] == first
    assert eventually(lambda: project.slots(host) == {"green": second})


@pytest.mark.slow
def test_a_part_of_the_requests_can_be_sent_to_the_new_slot(lab3: Lab, tmp_path: Path) -> None:
    host = lab3.hosts[0]
    with Served(lab3, host, tmp_path, app="weighed", serve="strategy = 'blue_green'") as app:
        app.set_up()
        host.grant(Sudo.NONE)
        app.put("1")
        app.put("2", slot="green")
        app.call(
            """
            replace_link ../../releases/1 "$root/slots/blue/release"
            for slot in blue green; do
              : >"$root/slots/$slot/on"
              service_start "$slot"
            done
            steer settle
            """
        )

        def shares(percent: int) -> Counter[str]:
            app.call(f"traffic_weight green {percent}")
            said = host.exec("for i in $(seq 100); do curl -sS 127.0.0.1:8000; done").stdout
            return Counter(re.findall(r'"RELEASE": "(\d)"', said))

        assert app.ask().environment["RELEASE"] == "1"
        assert shares(0) == {"1": 100}
        assert shares(5) == {"1": 95, "2": 5}
        assert shares(25) == {"1": 75, "2": 25}
        host.grant(Sudo.ALL)
        host.exec("systemctl reload weighed-haproxy")
        time.sleep(0.5)
        said = host.exec("for i in $(seq 20); do curl -sS 127.0.0.1:8000; done").stdout
        answers = Counter(re.findall(r'"RELEASE": "(\d)"', said))
        assert answers == {"1": 15, "2": 5}, "a reload changes nothing"
        assert shares(100) == {"2": 100}
        app.call("steer settle")
        assert app.ask().environment["RELEASE"] == "1", "the next switch ends it"
        host.exec("systemctl stop 'weighed*'")


@pytest.mark.slow
def test_a_change_of_strategy_keeps_the_release_and_leaves_nothing_of_the_old_one(
    lab: Lab, host: Host, tmp_path: Path
) -> None:
    project = project_of(lab, host, tmp_path, strategy="recreate")

    def units() -> set[str]:
        listed = host.exec(f"systemctl list-units --plain --no-legend '{APP}*'").stdout
        return {line.split()[0] for line in listed.splitlines()} - {f"{APP}-due.path"}

    project.set_up()
    first = project.deploy()
    project.configure(strategy="blue_green")
    refused = project.fab("deploy", expected=ExitStatus.NOT_READY)
    assert "fab setup" in refused.last_words
    assert project.served(host) == first
    project.set_up()
    assert project.served(host) == first
    assert "nothing to change" in project.fab("setup").last_words
    second = project.deploy()
    assert project.slots(host) == {"blue": first, "green": second}

    project.configure(strategy="socket")
    project.set_up()
    assert project.served(host) == second
    assert eventually(lambda: units() == {f"{APP}.socket", f"{APP}@live.service"})
    old = f"{project.root}/haproxy {project.root}/slots/blue"
    left = f"ls -d {old} /etc/systemd/system/{APP}-haproxy*"
    assert host.exec(left, check=False).stdout == ""

    project.configure(strategy="blue_green", port="8501", serve="slot_ports = [9500, 9501]")
    project.port = 8501
    project.set_up()
    assert project.served(host) == second
    project.configure(serve="slot_ports = [9502, 9503]")
    project.set_up()
    assert eventually(lambda: project.served(host) == second)
    third = project.deploy()
    assert project.served(host) == third

    project.configure(strategy="recreate")
    project.set_up()
    assert eventually(lambda: project.served(host) == third)
    assert eventually(lambda: units() == {f"{APP}@live.service"})


@pytest.mark.slow
def test_what_is_in_the_way_is_said_before_anything_is_changed(
    lab: Lab, host: Host, tmp_path: Path
) -> None:
    project = project_of(lab, host, tmp_path)
    host.grant(Sudo.ALL)
    host.exec("systemd-run --unit=stranger-on-a-port python3 -m http.server 18501")
    said = project.fab("setup", expected=ExitStatus.NOT_READY)
    assert re.search(r"port 18501 is taken by python3 \(process \d+\)", said.last_words)
    host.exec("systemctl stop stranger-on-a-port; mv /usr/sbin/haproxy /usr/sbin/gone")
    host.grant(Sudo.NONE)
    said = project.fab("setup", expected=ExitStatus.NOT_READY)
    assert "needs HAProxy, which is not installed" in said.last_words
    assert 'strategy = "recreate" or "socket"' in said.last_words
    host.grant(Sudo.ALL)
    # How it is really installed is seen in test_packages.py; here it comes from beside.
    apt = '[ "$*" != "${*% haproxy}" ] && mv /usr/sbin/gone /usr/sbin/haproxy'
    host.path("/usr/local/bin/apt-get").write_text(f"#!/bin/sh\n{apt}\n")
    host.path("/usr/local/bin/apt-get").chmod(0o755)
    own = project.folder / "templates" / "haproxy" / "haproxy.cfg.j2"
    own.parent.mkdir(parents=True)
    own.write_text("# {{ managed }}\nglobal\n  nosuchkeyword\n")
    said = project.fab("setup", expected=ExitStatus.NOT_READY)
    assert "nosuchkeyword" in said.last_words
    assert host.exec(f"ls -d /srv/{APP} /etc/systemd/system/{APP}*", check=False).stdout == ""
    own.unlink()
    project.set_up()
    revision = project.deploy()
    project.configure(port="8502")
    for command in ("deploy", "rollback"):
        said = project.fab(command, expected=ExitStatus.NOT_READY)
        wrong = "was set up to serve at 0.0.0.0:8500, and hosts.toml says 127.0.0.1:8502"
        assert wrong in said.last_words
    assert project.served(host) == revision
    project.configure(port="8500")
    host.exec(f"systemctl stop {APP}-haproxy.service {APP}-haproxy.socket")
    said = project.fab("check", expected=ExitStatus.NOT_READY)
    assert "its HAProxy does not run" in said.output
    project.deploy()
    assert project.served(host) != revision
