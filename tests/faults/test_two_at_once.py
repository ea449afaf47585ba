"""Several people deploy at once: one does, the others are told or wait for their turn."""

from __future__ import annotations

import re

import pytest

from aideploy.errors import ExitStatus
from tests.fleet.project import Project

pytestmark = pytest.mark.fleet


def test_the_second_is_told_who_holds_the_lock_and_since_when(project: Project) -> None:
    revision = project.commit(trains_for=4)
    first = project.start("deploy")
    first.wait_for_phase("train")

    second = project.fab("deploy", expected=ExitStatus.LOCKED)
    waiting = project.start("deploy", "--wait-lock")
    waiting.wait_for("h[123]: waiting: h[123] is locked by ")

    assert re.search(
        r"is locked by \S+@\S+ \(deploy\) since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", second.last_words
    )
    assert "--wait-lock" in second.last_words
    assert first.finish().status == ExitStatus.DONE
    assert waiting.finish().status == ExitStatus.DONE
    assert project.all_serve() == {revision}


def test_a_first_that_is_killed_lets_the_second_in(project: Project) -> None:
    project.slow_git(project.hosts[0], seconds=60)
    project.commit()
    first = project.start("deploy")
    first.wait_for_phase("fetch")
    second = project.start("deploy", "--wait-lock")
    second.wait_for("h[123]: waiting: ")
    project.slow_git(project.hosts[0], seconds=0)
    revision = project.commit()

    first.kill()

    assert second.finish().status == ExitStatus.DONE
    assert project.all_serve() == {revision}


@pytest.mark.slow
def test_five_at_once_all_get_their_turn(project: Project) -> None:
    revision = project.commit()
    commands = [project.start("deploy", "--wait-lock") for _ in range(5)]

    assert [command.finish(within=180).status for command in commands] == [ExitStatus.DONE] * 5
    assert project.all_serve() == {revision}
    assert len({project.current(host) for host in project.hosts}) == 1
