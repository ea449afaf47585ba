"""The strategy blue_green on real hosts: users notice nothing of a deploy, a rollback, a crash."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from aideploy.errors import ExitStatus
from tests.fleet.project import Project, eventually
from tests.fleet.traffic import Users
from tests.lab.hosts import Host, Lab

pytestmark = pytest.mark.fleet


def project_of(lab: Lab, host: Host, folder: Path, app: str, port: int, serve: str = "") -> Project:
    return Project(
        lab,
        folder / app,
        hosts=[host],
        app=app,
        port=port,
        strategy="blue_green",
        serve=f"bind = '0.0.0.0'\n{serve}",
    )


def running(project: Project, host: Host) -> dict[str, str]:
    """The slots that run, and the revision that each answers with."""
    found = {}
    for slot, port in (("blue", project.port + 10000), ("green", project.port + 10001)):
        said = host.exec(f"curl -sS --max-time 5 http://127.0.0.1:{port}/healthz", check=False)
        if match := re.search(r'"revision": "(\w+)"', said.stdout):
            found[slot] = match[1]
    return found


def test_users_notice_nothing_of_deploys_and_rollbacks_and_crashes(
    lab: Lab, tmp_path: Path
) -> None:
    host = lab.hosts[0]
    project = project_of(lab, host, tmp_path, "quiet", 8500)
    project.set_up()
    first = project.deploy()
    assert running(project, host) == {"blue": first}
    with Users(host.address, project.port) as users:
        second = project.deploy()
        assert running(project, host) == {"blue": first, "green": second}, "one stands by"
        since = time.monotonic()
        time.sleep(0.5)
        assert set(users.by_revision(since)) == {second}
        project.fab("rollback")
        assert eventually(lambda: running(project, host) == {"blue": first})
        third = project.deploy()
        host.exec("systemctl kill --signal=KILL quiet@green")
        since = time.monotonic()
        time.sleep(3)
        assert users.by_revision(since)[first] > 0, "who stands by took over"
        host.exec("systemctl reload quiet-haproxy")
        time.sleep(1)
    assert users.failed == []
    assert set(users.by_revision()) == {first, second, third}
    host.power_off()
    host.boot()
    assert eventually(lambda: project.served(host) == third)
