"""The example application on real hosts, in every way that systemd serves it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

import ranker_versions
from aideploy.errors import ExitStatus
from tests.fleet.fixtures import WHEELS
from tests.fleet.project import Project, eventually, repositories
from tests.lab.hosts import Lab

pytestmark = pytest.mark.fleet

MOST_EXPOSED = 2.5


@dataclass(frozen=True)
class Way:
    """One way to serve: an app of its own on one host."""

    app: str
    port: int
    strategy: str
    serve: str = ""
    systemctl: str = "systemctl"
    folder: str = ""

    @property
    def slots(self) -> tuple[str, str]:
        """Where the first release runs, and the second."""
        return ("blue", "green") if self.strategy == "blue_green" else ("live", "live")

    def __str__(self) -> str:
        return self.app


BLUE_GREEN = Way("doubled", 8330, "blue_green")
RECREATE = Way("recreated", 8300, "recreate")
SOCKET = Way("activated", 8310, "socket")
USER = Way(
    "personal",
    8320,
    "blue_green",
    "manager = 'systemd-user'",
    "systemctl --user -M deploy@",
    "deploy_to = '~/personal'",
)


@pytest.mark.parametrize(
    "way",
    [
        BLUE_GREEN,
        pytest.param(RECREATE, marks=pytest.mark.slow),
        pytest.param(SOCKET, marks=pytest.mark.slow),
        pytest.param(USER, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_example_is_delivered_with_no_more_rights_than_setup_left_and_comes_back_by_itself(
    lab: Lab, tmp_path: Path, way: Way
) -> None:
    host = lab.hosts[0]
    project = Project(
        lab,
        tmp_path / way.app,
        hosts=[host],
        app=way.app,
        port=way.port,
        app_table=way.folder,
        strategy=way.strategy,
        serve=way.serve,
        tables=f"find_links = '{WHEELS}'",
        command="gunicorn app:app --bind $BIND:$PORT --workers 1 --threads 2",
        train="python train.py",
        train_environment='{ RANKER_ROWS = "100000" }',
        more="[golden]\nfile = 'golden.jsonl'\nmax_memory = '500M'\n",
    )
    revisions = ranker_versions.history(tmp_path / "ranker")
    push = partial(project.push, tmp_path / "ranker")

    project.set_up()
    push(revisions.first)
    assert "10 golden answers right" in project.fab("deploy").output
    assert project.served(host) == revisions.first
    push(revisions.broken)
    project.fab("deploy", expected=ExitStatus.REFUSED)
    assert project.served(host) == revisions.first
    push(revisions.improved)
    project.fab("deploy")
    assert project.served(host) == revisions.improved

    if way is not USER:
        said = host.exec(
            f"systemd-analyze security {way.app}@{way.slots[1]}.service --no-pager"
        ).stdout
        exposed = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
        assert exposed and float(exposed[1]) <= MOST_EXPOSED
        unit = f"-u {way.app}@{way.slots[1]}.service"
        read = f"sudo -n journalctl --no-pager -o short-iso -n 1000 {unit}"
        assert "gunicorn" in host.exec(f"su deploy -c '{read}'").stdout
        # Nothing else of root's is ours.
        assert host.exec("su deploy -c 'sudo -n id'", check=False).returncode != 0

    host.stop()
    host.boot()
    assert eventually(lambda: project.served(host) == revisions.improved, within=30)
    project.fab("rollback")
    assert project.served(host) == revisions.first
    for slot in dict.fromkeys(way.slots):
        host.exec(f"{way.systemctl} stop {way.app}@{slot}.service")
    if way is SOCKET:
        host.exec(f"systemctl stop {way.app}.socket")


@pytest.mark.slow
def test_ten_hosts_cost_one_connection_one_channel_and_one_round_trip_a_phase_each(
    tmp_path: Path,
) -> None:
    with Lab(10, binds=[repositories(tmp_path / "repositories")]) as ten:
        project = Project(ten, tmp_path / "ten")
        project.set_up()
        project.deploy()
        accepted = "journalctl -u ssh -o cat | grep -c '^Accepted publickey for deploy'"
        before = {host.name: int(host.exec(accepted).stdout) for host in ten.hosts}

        revision = project.deploy()

        assert project.all_serve() == {revision}
        costs = project.costs()
        assert set(costs) == set(before)
        for host in ten.hosts:
            assert int(host.exec(accepted).stdout) == before[host.name] + 1
            assert (costs[host.name].connections, costs[host.name].channels) == (1, 1)
            # Two phases are for the host that trains and judges the model alone.
            alone = 2 if host is ten.hosts[0] else 0
            assert costs[host.name].round_trips <= 9 + alone
        project.fab("rollback")
        assert len(project.all_serve() - {revision}) == 1
