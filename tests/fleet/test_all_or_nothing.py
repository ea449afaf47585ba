"""A release goes live on every host or on none: what comes of releases and hosts that fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from aideploy.errors import ExitStatus
from tests.fleet.project import Project, eventually, watched
from tests.lab.hosts import Host, Lab

pytestmark = pytest.mark.fleet


def test_a_release_that_is_ill_on_one_host_once_live_is_taken_back_on_all(
    project: Project,
) -> None:
    before = project.all_serve()
    releases = {host.name: project.current(host) for host in project.hosts}
    project.commit(ill_when_live_on=["h2"])

    with watched(project):
        finished = project.fab("deploy", expected=ExitStatus.ROLLED_BACK)

    assert project.all_serve() == before
    assert {host.name: project.current(host) for host in project.hosts} == releases
    assert "every host that had switched is back on its previous release" in finished.last_words
    assert "✗ switch on h2: after the switch: not healthy" in finished.last_words
    assert f"back on {releases['h1']}" in finished.last_words
    for host in project.hosts:
        assert project.journal(host)[-1] == ("live", releases[host.name])
        assert not project.is_locked(host)
        assert host.exec("systemctl is-active small@staged", check=False).stdout != "active\n"


def test_a_release_that_falls_ill_while_watched_is_taken_back_on_all(project: Project) -> None:
    before = project.all_serve()
    project.configure(bake="20s")
    project.commit(ill_when_live_on=["h3"], ill_after=2)

    finished = project.fab("deploy", expected=ExitStatus.ROLLED_BACK)

    assert "✗ watch on h3: while watching: no longer healthy" in finished.last_words
    assert project.all_serve() == before


@pytest.mark.slow
def test_a_first_release_that_fails_leaves_nothing_live(lab: Lab, tmp_path: Path) -> None:
    project = Project(lab, tmp_path / "first", app="first", port=8100)
    project.set_up()
    project.commit(ill_when_live_on=["h1"])

    finished = project.fab("deploy", expected=ExitStatus.ROLLED_BACK)

    assert "nothing is live, as before" in finished.last_words
    for host in project.hosts:
        assert project.current(host) == ""
        assert host.exec("systemctl is-active first@live", check=False).stdout == "inactive\n"
    project.deploy()


def test_a_host_that_cannot_go_back_is_named_and_the_others_do(project: Project) -> None:
    before = project.served(project.hosts[0])
    broken = project.hosts[1]
    place = f"{project.root}/releases/{project.current(broken)}/.aideploy/serve"
    project.configure(bake="20s")
    project.commit(ill_when_live_on=["h3"], ill_after=3)

    command = project.start("deploy")
    command.wait_for_phase("watch")
    broken.exec(f"mv {place} {place}.gone")
    finished = command.finish()
    broken.exec(f"mv {place}.gone {place}; systemctl restart small@live")

    assert finished.status == ExitStatus.NEEDS_PERSON
    assert "h2 could not be brought back" in finished.last_words
    assert "✗ revert on h2: " in finished.last_words
    assert eventually(lambda: project.all_serve() == {before})


def lose_power(host: Host) -> None:
    host.power_off()


def lose_line(host: Host) -> None:
    host.drop()


def restore(host: Host, loss: object) -> None:
    if loss is lose_power:
        host.boot()
    else:
        host.undrop()


@pytest.mark.parametrize(
    ("phase", "loss", "status"),
    [
        pytest.param("fetch", lose_power, ExitStatus.NOT_READY, marks=pytest.mark.slow),
        pytest.param("stage", lose_power, ExitStatus.NOT_READY),
        pytest.param("stage", lose_line, ExitStatus.NOT_READY, marks=pytest.mark.slow),
        pytest.param("switch", lose_power, ExitStatus.NEEDS_PERSON, marks=pytest.mark.slow),
        pytest.param("watch", lose_power, ExitStatus.NEEDS_PERSON, marks=pytest.mark.slow),
        pytest.param("watch", lose_line, ExitStatus.NEEDS_PERSON, marks=pytest.mark.slow),
    ],
)
def test_a_host_that_is_lost_is_noticed_within_half_a_minute_and_the_others_keep_what_they_serve(
    project: Project, phase: str, loss: object, status: ExitStatus
) -> None:
    before = project.served(project.hosts[0])
    lost, *others = reversed(project.hosts)
    slow = {"h3": 60}
    project.configure(bake="60s" if phase == "watch" else "1s")
    project.commit(
        staged_starts_after=slow if phase == "stage" else {},
        live_starts_after=slow if phase == "switch" else {},
    )
    project.slow_git(lost, seconds=60 if phase == "fetch" else 0)

    command = project.start("deploy")
    command.wait_for_phase(phase)
    assert callable(loss)
    loss(lost)
    try:
        command.wait_for(rf"{phase} +h3 +failed", within=32)
        finished = command.finish()
        # Nothing went live on the others, or it is gone again.
        assert eventually(lambda: {project.served(host) for host in others} == {before})
    finally:
        restore(lost, loss)
        project.slow_git(lost, seconds=0)

    assert finished.status == status
    assert f"{phase} on h3: lost the connection to h3" in finished.last_words
    project.configure(bake="1s")
    if loss is lose_line:
        # It heard nothing from us for half a minute: it went back by itself.
        assert eventually(lambda: project.served(lost) == before, within=60)
        assert eventually(lambda: not project.is_locked(lost), within=60)
    project.deploy()
    assert len(project.all_serve()) == 1
