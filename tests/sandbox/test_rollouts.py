"""A release spreads over the hosts batch by batch, and is steered from another terminal.

The deploy runs as a process of its own; every other command is a second terminal's.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import pytest

from aideploy.errors import ExitStatus
from tests.waiting import eventually

from .small_project import Ran, SmallProject, program

ONE_BY_ONE = {"canary": 1, "batch": 1}

# Answers as the small project's service does, but is ill on some hosts, once it is live there, as
# soon as there is a certain file.
_ILL_ON = """\
ILL = os.environ["SLOT"] == "live" and os.environ["BIND"] in {addresses!r}

def answer(request):
    request.say(IS, 500 if ILL and os.path.exists({when!r}) else 200)
"""


class Terminal:
    """A terminal in which `fab deploy` runs, for the length of a `with` block."""

    def __init__(self, project: SmallProject) -> None:
        self._file = project.folder / "terminal"
        with self._file.open("wb") as output:
            self.process = subprocess.Popen(
                project.command("deploy"),
                cwd=project.folder,
                env=project.environment({"PYTHONUNBUFFERED": "1"}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def text(self) -> str:
        return self._file.read_text(errors="replace")

    def wait_for(self, words: str) -> None:
        assert eventually(lambda: words in self.text, within=30), self.text

    def finish(self) -> Ran:
        return Ran(self.process.wait(60), self.text)


@contextmanager
def deploying(project: SmallProject, **rollout: object) -> Iterator[Terminal]:
    """A deploy of a new commit, one host after the other; it is gone when the block is left."""
    project.settle(rollout={**ONE_BY_ONE, **rollout})
    try:
        with Terminal(project) as terminal:
            yield terminal
    finally:
        assert project.frees_the_locks()


def live(project: SmallProject) -> list[str | None]:
    return [project.on_host(host.name).current for host in project.hosts]


def rollout_status(project: SmallProject) -> dict[str, Any]:
    ran = project.fab("rollout.status", "--json")
    assert ran.status == ExitStatus.DONE, ran.text
    document: dict[str, Any] = json.loads(ran.text)
    return document


def ill_on(project: SmallProject, *hosts: str, when: str = "/") -> dict[str, str]:
    """The service that is ill on these hosts once it is live, and there is this file."""
    addresses = [project.host(name).address for name in hosts]
    return {"service.py": program(_ILL_ON.format(addresses=addresses, when=when))}


@pytest.fixture
def healthy(project: SmallProject) -> Iterator[SmallProject]:
    """The project with one release on all hosts, and a healthy service on its branch afterwards."""
    if len(set(live(project))) != 1:
        assert project.fab("deploy").status == ExitStatus.DONE
    head = project.git("rev-parse", "HEAD")
    yield project
    project.git("reset", "--quiet", "--hard", head)


@pytest.mark.slow
def test_a_paused_rollout_waits_before_its_next_batch_until_it_is_resumed(
    healthy: SmallProject,
) -> None:
    before = live(healthy)
    with deploying(healthy, bake="2s") as terminal:
        terminal.wait_for("watch       host1  batch 1 of 3 (canary)")
        paused = healthy.fab("rollout.pause")
        # Longer than the bake time.
        time.sleep(3)

        assert paused.status == ExitStatus.DONE, paused.text
        assert "✓ pause: heard by the rollout of " in paused.text
        assert live(healthy)[1:] == before[1:]
        status = rollout_status(healthy)
        assert (status["doing"], status["batch"], status["of"]) == ("paused", 1, 3)
        assert status["by"] in terminal.text
        assert [host["state"] for host in status["hosts"]] == ["switched", "waiting", "waiting"]
        assert "paused the rollout; it goes on with: fab rollout.resume" in terminal.text

        assert healthy.fab("rollout.resume").status == ExitStatus.DONE
        again = healthy.fab("rollout.resume")
        assert again.status == ExitStatus.USAGE
        assert "is not paused" in again.text
        finished = terminal.finish()

    assert finished.status == ExitStatus.DONE, finished.text
    assert "switch      host3  batch 3 of 3" in finished.text
    assert len(set(live(healthy))) == 1
    assert live(healthy) != before


def test_an_aborted_rollout_takes_all_hosts_back_and_says_who_wanted_it(
    healthy: SmallProject,
) -> None:
    before = live(healthy)
    with deploying(healthy, bake="0s", pause="60s") as terminal:
        terminal.wait_for("watch       host1")
        aborted = healthy.fab("rollout.abort")
        finished = terminal.finish()

    assert aborted.status == ExitStatus.DONE, aborted.text
    assert finished.status == ExitStatus.ROLLED_BACK, finished.text
    assert re.search(r"✗ \S+@\S+ aborted the rollout; every host that had switched", finished.text)
    assert live(healthy) == before


@pytest.mark.slow
def test_a_promoted_rollout_skips_what_there_is_to_wait_for(healthy: SmallProject) -> None:
    began = time.monotonic()
    with deploying(healthy, bake="60s", pause="60s") as terminal:
        terminal.wait_for("watch       host1")
        promoted = healthy.fab("rollout.promote")
        finished = terminal.finish()

    assert promoted.status == ExitStatus.DONE, promoted.text
    assert finished.status == ExitStatus.DONE, finished.text
    assert time.monotonic() - began < 50
    assert len(set(live(healthy))) == 1


@pytest.mark.parametrize("wish", ["pause", "resume", "promote", "abort"])
def test_where_no_rollout_is_under_way_nothing_can_be_asked_of_one(
    healthy: SmallProject, wish: str
) -> None:
    healthy.refuses(
        f"rollout.{wish}", status=ExitStatus.USAGE, says=f"nothing to {wish}: no rollout is under"
    )


@pytest.mark.slow
def test_with_its_controller_a_rollout_is_gone(healthy: SmallProject) -> None:
    before = live(healthy)
    with deploying(healthy, bake="60s") as terminal:
        terminal.wait_for("watch       host1")
        assert rollout_status(healthy)["doing"] == "watching"
        terminal.process.kill()
        terminal.process.wait()
        assert eventually(lambda: live(healthy) == before)
        assert healthy.frees_the_locks()

    assert rollout_status(healthy)["doing"] is None
    assert "no rollout is under way" in healthy.fab("rollout.status").text
    assert healthy.fab("rollout.abort").status == ExitStatus.USAGE
    # What it left is in nobody's way.
    healthy.settle(rollout={**ONE_BY_ONE, "bake": "0s"})
    ran = healthy.fab("deploy")
    assert ran.status == ExitStatus.DONE, ran.text


@pytest.mark.slow
def test_as_many_hosts_as_may_fail_go_back_alone_and_are_named(healthy: SmallProject) -> None:
    before = live(healthy)
    healthy.commit(ill_on(healthy, "host2"))
    healthy.settle(rollout={**ONE_BY_ONE, "bake": "0s", "max_failures": 1})

    ran = healthy.fab("deploy")

    assert ran.status == ExitStatus.NEEDS_PERSON, ran.text
    assert "✗ the release is live, but not on host2" in ran.text
    assert "✗ switch on host2: after the switch: not healthy" in ran.text
    assert f"host2         back on {before[1]}, healthy" in ran.text
    now = live(healthy)
    assert now[1] == before[1]
    assert now[0] == now[2] != before[0]
    assert b'"good"' not in healthy.on_host("host2").journal.splitlines()[-1]


@pytest.mark.slow
def test_more_failures_than_may_be_take_all_hosts_back(healthy: SmallProject) -> None:
    before = live(healthy)
    healthy.commit(ill_on(healthy, "host2", "host3"))
    healthy.settle(rollout={**ONE_BY_ONE, "bake": "0s", "max_failures": 1})

    ran = healthy.fab("deploy")

    assert ran.status == ExitStatus.ROLLED_BACK, ran.text
    assert live(healthy) == before


@pytest.mark.slow
def test_a_host_that_falls_ill_after_its_own_batch_is_noticed(healthy: SmallProject) -> None:
    before = live(healthy)
    falls_ill = healthy.home("host1") / "ill"
    healthy.commit(ill_on(healthy, "host1", when=str(falls_ill)))
    with deploying(healthy, bake="5s") as terminal:
        terminal.wait_for("watch       2 hosts  batch 2 of 3")
        falls_ill.touch()
        finished = terminal.finish()

    assert finished.status == ExitStatus.ROLLED_BACK, finished.text
    assert "✗ watch on host1: while watching: no longer healthy" in finished.text
    assert live(healthy) == before


@pytest.fixture
def held(healthy: SmallProject) -> tuple[SmallProject, list[str | None]]:
    """A rollout that stopped in its second batch, and what was live before it."""
    before = live(healthy)
    healthy.commit(ill_on(healthy, "host2"))
    healthy.settle(rollout={**ONE_BY_ONE, "bake": "0s", "on_failure": "hold"})
    ran = healthy.fab("deploy")
    assert ran.status == ExitStatus.HELD, ran.text
    assert "! held in batch 2 of 3: the new release is on 1 of 3 hosts" in ran.text, ran.text
    assert f"host2  back on {before[1]}, healthy" in ran.text
    assert healthy.frees_the_locks()
    return healthy, before


def test_a_held_rollout_stays_as_it_is_until_it_is_aborted(
    held: tuple[SmallProject, list[str | None]],
) -> None:
    project, before = held
    now = live(project)
    assert now[0] != before[0]
    assert now[1:] == before[1:]
    status = rollout_status(project)
    assert status["doing"] == "held"
    assert [host["state"] for host in status["hosts"]] == ["switched", "failed", "waiting"]
    assert "part of a rollout that is held" in project.fab("status").text
    paused = project.fab("rollout.pause")
    assert paused.status == ExitStatus.USAGE
    assert "is held: it cannot pause" in paused.text
    assert live(project) == now

    aborted = project.fab("rollout.abort")

    assert aborted.status == ExitStatus.DONE, aborted.text
    assert live(project) == before
    assert rollout_status(project)["doing"] is None


def test_a_held_rollout_that_is_promoted_goes_on_where_it_stopped(
    held: tuple[SmallProject, list[str | None]],
) -> None:
    project, before = held
    release = live(project)[0]
    still_ill = project.fab("rollout.promote")
    assert still_ill.status == ExitStatus.HELD, still_ill.text
    assert "held in batch 1 of 2: the new release is on 1 of 3 hosts" in still_ill.text
    assert live(project) == [release, *before[1:]]

    # Somebody puts the release itself right, on that host.
    service = project.root("host2") / f"releases/{release}/service.py"
    service.write_text(service.read_text().replace('"live"', '"nowhere"'))
    promoted = project.fab("rollout.promote")

    assert promoted.status == ExitStatus.DONE, promoted.text
    assert f"✓ {release} is live" in promoted.text
    assert "switch      host1" not in promoted.text
    assert "switch      host3  batch 2 of 2" in promoted.text
    assert live(project) == [release] * 3
    assert rollout_status(project)["doing"] is None


@pytest.mark.slow
def test_a_plan_names_the_hosts_of_every_batch(healthy: SmallProject) -> None:
    healthy.settle(rollout={**ONE_BY_ONE, "bake": "5s"})

    planned = json.loads(healthy.fab("plan", "--json").text)["phases"]

    switches = [phase for phase in planned if phase["phase"] == "switch"]
    assert [phase["hosts"] for phase in switches] == [["host1"], ["host2"], ["host3"]]
    assert switches[0]["what"].startswith("batch 1 of 3 (canary), ")
    ran = healthy.fab("deploy")
    assert "switch the canary host1 then 2 batches of 1 host, watch 5s after each" in ran.text
