"""A bad release under load, found at each place where one can be: how soon the fleet is back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from aideploy.errors import ExitStatus
from tests.faults.bench import Bench
from tests.faults.table import WriteRow
from tests.fleet.project import ALL_AT_ONCE, Command, eventually
from tests.fleet.traffic import Users
from tests.lab.hosts import SSH_PORT, Host

pytestmark = [pytest.mark.fleet, pytest.mark.slow]

TITLE = "A bad release on three hosts under 100 requests a second, blue_green"
ONE_BY_ONE = "canary = 1\nbatch = 1"
# The service's own start costs nothing: the release before still runs, in the other slot.
BACK_SECONDS = 5.0
# A host that cannot be reached is back by itself, when the silence has ended its session.
SILENT_SECONDS = 45.0


@pytest.fixture
def bench(behind_haproxy: Bench) -> Bench:
    behind_haproxy.be_clean()
    return behind_haproxy


@contextmanager
def made_ill(bench: Bench, host: Host) -> Iterator[float]:
    """The live release on a host answers with 500 as long as this lasts; since when."""
    word = f"{bench.project.root}/shared/be-ill"
    began = time.time()
    host.exec(f"touch {word}")
    try:
        yield began
    finally:
        host.exec(f"rm {word}")


@pytest.mark.parametrize("by", ["health", "golden requests"])
def test_one_that_is_found_at_stage_never_gets_a_request(
    bench: Bench, write_row: WriteRow, by: str
) -> None:
    [before] = bench.project.all_serve()
    behaviour: dict[str, object] = {"ill_when_live_on": ["h3"]}
    golden = bench.project.source / "golden.jsonl"
    if by == "golden requests":
        behaviour = {"model_megabytes": 1}
        golden.write_text('{"method": "GET", "path": "/healthz", "expected": {"model": 40}}\n')
        bench.project.configure(more="[golden]\nfile = 'golden.jsonl'\npath = '/healthz'")
    bench.project.commit(**behaviour)

    with bench.load() as users:
        bench.project.fab("deploy", expected=ExitStatus.REFUSED)
        time.sleep(0.5)

    golden.unlink(missing_ok=True)
    tell(write_row, f"{by}, at stage", ExitStatus.REFUSED, 0.0, users)
    assert set(users.by_revision()) == {before}
    assert bench.deploy_plainly() == ""


@pytest.mark.parametrize("batch", [1, 3])
def test_one_that_falls_ill_after_the_switch_is_gone_in_seconds(
    bench: Bench, write_row: WriteRow, batch: int
) -> None:
    project = bench.project
    [before] = project.all_serve()
    in_turn = batch == 3
    bake, rollout = ("4s", ONE_BY_ONE) if in_turn else ("10s", ALL_AT_ONCE)
    project.configure(bake=bake, rollout=rollout)
    bad = project.commit(ill_when_told=True)

    with bench.load() as users:
        command = project.start("deploy")
        wait_for_watch(command, f"batch {batch} of 3" if in_turn else "")
        assert bad in users.by_revision()
        with made_ill(bench, project.hosts[-1]) as since:
            finished = command.finish()
            time.sleep(1)

    found = f"in batch {batch} of 3" if in_turn else "after the switch, on all at once"
    back = last_of(users, bad, since)
    tell(write_row, found, finished.status, back, users)
    assert finished.status == ExitStatus.ROLLED_BACK, finished.output
    assert project.all_serve() == {before}
    assert back <= BACK_SECONDS
    assert {one.error[:3] for one in users.failed} <= {"500"}, "but for what the ill one answered"
    assert bench.deploy_plainly() == ""


def test_a_host_that_cannot_be_reached_is_named_and_comes_back_by_itself(
    bench: Bench, write_row: WriteRow
) -> None:
    project = bench.project
    [before] = project.all_serve()
    project.configure(bake="30s", rollout=ALL_AT_ONCE)
    bad = project.commit(ill_when_told=True)
    ill, _, silent = project.hosts

    with bench.load() as users:
        command = project.start("deploy")
        wait_for_watch(command, "")
        silent.drop(SSH_PORT)
        try:
            with made_ill(bench, ill) as since:
                finished = command.finish()
                assert eventually(lambda: project.all_serve() == {before}, within=60)
        finally:
            silent.undrop()
        time.sleep(0.5)

    back = last_of(users, bad, since, of=(ill.name,))
    by_itself = last_of(users, bad, since)
    tell(write_row, "after the switch, one unreachable", finished.status, back, users, by_itself)
    assert finished.status == ExitStatus.NEEDS_PERSON, finished.output
    assert f"{silent.name} could not be brought back" in finished.last_words
    assert back <= BACK_SECONDS
    assert by_itself <= SILENT_SECONDS
    assert bench.deploy_plainly() == ""


def wait_for_watch(command: Command, batch: str) -> None:
    command.wait_for(rf"watch +\w+( hosts)? *{batch}")
    # Users have met it.
    time.sleep(0.5)


def last_of(users: Users, bad: str, since: float, of: tuple[str, ...] = ()) -> float:
    """How long the bad release answered anybody, or with an error, from then on."""
    return max(
        one.at - since
        for one in users.answers
        if (one.error or one.revision == bad) and (not of or one.host in of)
    )


def tell(
    write_row: WriteRow,
    found: str,
    status: int,
    back: float,
    users: Users,
    by_itself: float | None = None,
) -> None:
    write_row(
        TITLE,
        {
            "found": found,
            "exit status": str(int(status)),
            "back after": f"{back:.1f} s",
            "unreachable host back after": "" if by_itself is None else f"{by_itself:.1f} s",
            "requests": str(len(users.answers)),
            "answered by the ill one, or not": str(len(users.failed)),
        },
    )
