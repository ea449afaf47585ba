"""The controller dies, is stopped or interrupted in the middle: what the hosts make of it."""

from __future__ import annotations

import re
import signal
import time
from datetime import datetime

import pytest

from aideploy.errors import ExitStatus
from aideploy.remote.connecting import SILENCE_SECONDS
from tests.fleet.project import Command, Project, eventually, watched
from tests.lab.hosts import SSH_PORT

pytestmark = pytest.mark.fleet

PHASES = ["fetch", "install", "train", "distribute", "stage", "switch", "watch"]
# The silence after which a host ends a session, and the time for what runs there to end.
FREED_WITHIN_SECONDS = 35


def of_which_always(phase: str, *others: str) -> list[object]:
    """Every phase as a parameter; all but these few only with the slow tests."""
    quick = (phase, *others)
    return [
        name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in PHASES
    ]


def moment_of(project: Project, pattern: str) -> datetime:
    """When a line of the log of the last command was written."""
    newest = max((project.folder / ".aideploy" / "logs").glob("*.log"))
    found = re.search(rf"^(\S+Z) {pattern}", newest.read_text(), re.MULTILINE)
    assert found, newest.read_text()
    return datetime.fromisoformat(found[1])


def begin_slow_deploy(project: Project, phase: str) -> Command:
    """A deploy that stays for seconds in each phase, and is now in this one."""
    everywhere = {host.name: 3 for host in project.hosts}
    project.configure(bake="4s")
    for host in project.hosts:
        project.slow_git(host, seconds=3 if phase == "fetch" else 0)
    project.commit(
        trains_for=3 if phase == "train" else 0,
        model_megabytes=64 if phase == "distribute" else 0,
        staged_starts_after=everywhere if phase == "stage" else {},
        live_starts_after=everywhere if phase == "switch" else {},
        another_environment=phase == "install",
    )
    command = project.start("deploy")
    command.wait_for_phase(phase)
    if phase == "train":
        command.wait_for("h1 . training")
    time.sleep(0.1 if phase == "distribute" else 0.7)
    return command


@pytest.mark.parametrize("phase", of_which_always("fetch", "switch"))
def test_a_deploy_that_was_killed_is_finished_by_the_same_command(
    project: Project, phase: str
) -> None:
    before = project.all_serve()
    with watched(project):
        begin_slow_deploy(project, phase).kill()

        assert eventually(lambda: not any(map(project.is_locked, project.hosts)), within=20)
        assert eventually(lambda: not any(map(project.processes, project.hosts)), within=10)
        # Hosts that had switched are back without anybody's help.
        assert eventually(lambda: project.all_serve() == before, within=15)

        project.configure(bake="1s")
        project.fab("deploy")
    assert len(project.all_serve()) == 1
    assert project.all_serve() != before


@pytest.mark.parametrize("phase", of_which_always("stage", "switch"))
def test_ctrl_c_leaves_nothing_behind_and_says_how_each_host_is(
    project: Project, phase: str
) -> None:
    before = project.all_serve()
    with watched(project):
        command = begin_slow_deploy(project, phase)
        command.signal(signal.SIGINT)
        finished = command.finish(within=30)

    assert finished.status == ExitStatus.INTERRUPTED, finished.output
    assert "Traceback" not in finished.output
    assert project.all_serve() == before
    switched = phase in ("switch", "watch")
    assert "interrupted; " in finished.last_words
    assert ("back on 2" if switched else "(untouched)") in finished.last_words
    if phase == "train":
        assert " goes on on h1" in finished.last_words
        project.end_trainings()
    # What is left to the host itself, as to stop what does not serve, takes a moment.
    assert eventually(lambda: not any(map(project.processes, project.hosts)))
    for host in project.hosts:
        assert not project.is_locked(host)
        assert host.exec("systemctl is-active small@staged", check=False).stdout == "inactive\n"


def test_a_second_ctrl_c_ends_it_at_once_and_the_hosts_go_back_by_themselves(
    project: Project,
) -> None:
    before = project.all_serve()
    command = begin_slow_deploy(project, "switch")
    command.signal(signal.SIGINT)
    command.wait_for("revert ")
    command.signal(signal.SIGINT)
    command.wait_for("warning: the hosts are going back")
    command.signal(signal.SIGINT)
    finished = command.finish(within=30)

    assert finished.status == ExitStatus.INTERRUPTED
    assert "Traceback" not in finished.output
    assert eventually(lambda: project.all_serve() == before, within=20)
    assert eventually(lambda: not any(map(project.is_locked, project.hosts)), within=20)


def test_sigterm_is_heard_like_ctrl_c(project: Project) -> None:
    before = project.all_serve()
    command = begin_slow_deploy(project, "watch")
    command.process.terminate()
    finished = command.finish(within=30)

    assert finished.status == ExitStatus.INTERRUPTED
    assert "interrupted; every host that had switched is back" in finished.last_words
    assert project.all_serve() == before


@pytest.mark.parametrize("silenced", ["stopped", pytest.param("cut", marks=pytest.mark.slow)])
def test_a_controller_that_falls_silent_loses_its_locks_and_its_release(
    project: Project, silenced: str
) -> None:
    before = project.all_serve()
    command = begin_slow_deploy(project, "watch")
    began = time.monotonic()
    if silenced == "stopped":
        command.process.send_signal(signal.SIGSTOP)
    else:
        for host in project.hosts:
            host.drop()
    try:
        within = FREED_WITHIN_SECONDS
        assert eventually(lambda: not any(map(project.is_locked, project.hosts)), within=within)
        assert time.monotonic() - began > 5
        assert eventually(lambda: project.all_serve() == before)
    finally:
        for host in project.hosts:
            host.undrop()
        command.process.send_signal(signal.SIGCONT)
    finished = command.finish(within=90)

    # When it wakes up it finds that its sessions are over.
    assert finished.status in (ExitStatus.ROLLED_BACK, ExitStatus.NEEDS_PERSON)
    assert "lost the connection" in finished.last_words
    assert project.all_serve() == before


@pytest.mark.slow
def test_a_silent_controller_loses_its_lock_even_while_a_program_floods_the_line(
    project: Project,
) -> None:
    project.configure(tables='[test]\ncommand = "echo testing; yes"')
    project.commit()
    command = project.start("deploy")
    command.wait_for("h1 . testing")
    command.process.send_signal(signal.SIGSTOP)
    tester, *_ = project.hosts
    try:
        assert eventually(lambda: not project.is_locked(tester), within=FREED_WITHIN_SECONDS + 5)
        assert project.processes(tester) == []
    finally:
        command.kill()
        project.configure(tables="")


@pytest.mark.slow
def test_a_host_that_is_silent_keeps_the_others_waiting_for_seconds_only(project: Project) -> None:
    before = project.all_serve()
    ill, silent, other = project.hosts
    project.configure(bake="60s")
    project.commit(dies_on=[ill.name], ill_after=12)
    command = project.start("deploy")
    try:
        command.wait_for_phase("watch")
        silent.drop(SSH_PORT)
        # The ill one is found out; all are told to stop, and one of them does not hear it.
        command.wait_for("revert ", within=60)
        assert eventually(lambda: {project.served(ill), project.served(other)} == before)
    finally:
        silent.undrop()
    finished = command.finish(within=60)

    # It may have come back in time to be taken back as the others.
    assert finished.status in (ExitStatus.NEEDS_PERSON, ExitStatus.ROLLED_BACK), finished.output
    assert "Traceback" not in finished.output
    waited = moment_of(project, f"watch +{silent.name} +failed") - moment_of(
        project, f"watch +{ill.name} +failed"
    )
    assert waited.total_seconds() < SILENCE_SECONDS / 2, finished.output
    # And that host is back by itself.
    assert eventually(lambda: project.all_serve() == before, within=FREED_WITHIN_SECONDS)
    project.configure(bake="1s")
    project.fab("deploy")
