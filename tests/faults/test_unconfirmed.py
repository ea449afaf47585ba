"""Nobody is left who could confirm a release or take it back: the hosts do it by themselves."""

from __future__ import annotations

import signal
import time

import pytest

from aideploy.errors import ExitStatus
from tests.fleet.project import Command, Project, eventually
from tests.lab.hosts import Host

pytestmark = pytest.mark.fleet

CONFIRM_SECONDS = 8


def kill_at_once(project: Project, command: Command) -> None:
    """Kill the controller and what answers to it on the hosts: neither can do anything any more."""
    command.signal(signal.SIGSTOP)
    for host in project.hosts:
        host.exec("pkill -KILL -u deploy -f 'base64 -d'")
    command.kill()


def watched_deploy(project: Project, *, bake: str, confirm: str) -> Command:
    """A deploy whose release is live on all hosts and not confirmed."""
    project.configure(bake=bake, more=f'confirm = "{confirm}"')
    project.commit()
    command = project.start("deploy")
    command.wait_for_phase("watch")
    time.sleep(0.5)
    return command


def runs_due(project: Project, host: Host) -> bool:
    unit = f"{project.app}-due.service"
    return host.exec(f"systemctl is-active {unit}", check=False).stdout == "active\n"


def test_without_controller_and_sessions_every_host_goes_back_when_the_time_is_over(
    project: Project,
) -> None:
    before = project.all_serve()
    command = watched_deploy(project, bake="6s", confirm=f"{CONFIRM_SECONDS}s")
    assert not project.all_serve() & before
    assert all(runs_due(project, host) for host in project.hosts)
    began = time.monotonic()
    kill_at_once(project, command)

    looked = project.fab("status", expected=ExitStatus.NOT_READY)
    assert "goes back to 20" in looked.output
    assert "unless what is live is confirmed, at " in looked.output
    assert not project.all_serve() & before
    assert eventually(lambda: project.all_serve() == before, within=CONFIRM_SECONDS + 5)
    assert time.monotonic() - began > CONFIRM_SECONDS / 2
    assert eventually(lambda: not any(runs_due(project, host) for host in project.hosts))
    for host in project.hosts:
        assert [verdict for verdict, _ in project.journal(host)[-2:]] == ["reverted", "live"]
    assert "goes back" not in project.fab("status").output
    project.configure(bake="1s", more="")
    project.deploy()


def test_a_command_that_comes_before_the_time_is_over_takes_the_hosts_back_first(
    project: Project,
) -> None:
    before = project.all_serve()
    command = watched_deploy(project, bake="20s", confirm="10m")
    kill_at_once(project, command)

    finished = project.fab("lock", "looking at what died")

    project.fab("unlock")
    assert "goes back first: it had a release that nobody confirmed" in finished.output
    assert project.all_serve() == before


def test_a_host_that_restarts_while_it_is_watched_is_back_without_anybody(
    project: Project,
) -> None:
    before = project.all_serve()
    *others, lost = project.hosts
    command = watched_deploy(project, bake="30s", confirm="10m")
    lost.power_off()
    command.kill()
    assert eventually(lambda: all(project.served(host) in before for host in others))
    lost.boot()
    assert eventually(lambda: project.served(lost) in before, within=20)
    assert project.journal(lost)[-2][0] == "reverted"
    assert eventually(lambda: not project.is_locked(lost))

    project.configure(bake="1s", more="")
    project.deploy()
    assert len(project.all_serve()) == 1


def test_a_deploy_whose_host_restarts_says_what_became_of_it(project: Project) -> None:
    before = project.all_serve()
    *_, lost = project.hosts
    command = watched_deploy(project, bake="40s", confirm="10m")
    release = project.releases(lost)[-2]
    lost.power_off()
    lost.boot()

    finished = command.finish()

    assert finished.status == ExitStatus.ROLLED_BACK, finished.output
    assert f"back on {release}" in finished.last_words
    assert project.all_serve() == before
    # It had gone back by itself, and was only asked how it is.
    assert project.journal(lost).count(("live", release)) == 2


def test_where_nothing_would_take_it_back_nothing_is_switched(project: Project) -> None:
    before = project.all_serve()
    *_, host = project.hosts
    host.exec("systemctl stop small-due.path")
    assert "small-due does not run" in project.fab("check", expected=ExitStatus.NOT_READY).output
    project.commit()

    finished = project.fab("deploy", expected=ExitStatus.NOT_READY)

    assert "nothing was switched" in finished.last_words
    assert "nothing on this host would take back a release" in finished.last_words
    assert project.all_serve() == before
    host.exec("mv /srv/small/due /srv/small/due.away")
    old = project.fab("deploy", expected=ExitStatus.NOT_READY)
    assert "h3: set up by an older aideploy" in old.last_words
    assert "fab setup" in old.last_words
    host.exec("mv /srv/small/due.away /srv/small/due; systemctl start small-due.path")
