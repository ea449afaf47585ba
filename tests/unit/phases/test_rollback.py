"""What `fab rollback` chooses and says beforehand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

import pytest

from aideploy.errors import UsageError
from aideploy.phases import rollback
from aideploy.phases.condition import Change
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Entry, Journal, Verdict
from aideploy.phases.rollback import Choice, Looked, Made

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
OLDEST, OLDER, LIVE = (
    "20260101T090000Z-aaaaaaa",
    "20260101T100000Z-bbbbbbb",
    "20260101T110000Z-ccccccc",
)


def host(name: str, *good: str) -> HostFacts:
    entries = [
        Entry(verdict, release, NOON - timedelta(minutes=60 - number), "ann@laptop")
        for number, release in enumerate(good)
        for verdict in (Verdict.LIVE, Verdict.GOOD)
    ]
    return HostFacts(
        host=name,
        root=PurePosixPath("/srv/app"),
        current=good[-1] if good else None,
        releases=good,
        journal=Journal(tuple(entries)),
    )


def test_where_no_release_is_everywhere_the_command_for_most_hosts_is_offered() -> None:
    fleet = {
        "a": host("a", OLDEST, OLDER, LIVE),
        "b": host("b", OLDEST, OLDER, LIVE),
        "c": host("c", OLDEST, LIVE),
        "new": host("new", LIVE),
    }

    with pytest.raises(UsageError) as error:
        rollback.previous(fleet)

    assert error.value.next_step.startswith("fab rollback --only a,b,c;")
    assert f"{OLDEST}: a, b, c, and not new" in error.value.why
    del fleet["new"]
    assert rollback.previous(fleet) == OLDEST


def test_a_host_that_is_behind_does_not_take_the_fleet_further_back() -> None:
    assert rollback.previous({"a": host("a", OLDER, LIVE), "b": host("b", OLDER)}) == OLDER


def test_people_read_where_it_goes_and_what_is_lost() -> None:
    choice = Choice(
        live=Made("Try a new ranker", "Bob", "9" * 64, {"auc": 0.5}),
        releases={
            OLDER: Looked(
                made=Made("Tune it", "Ann", "8" * 64, {"auc": 0.9123, "loss": 1.0}),
                commits=("ccccccc Try a new ranker (Bob)",),
                count=3,
            )
        },
    )

    lines = rollback.lost(host("a", OLDER, LIVE), choice, OLDER, NOON)

    assert lines == (
        f'goes back to {OLDER}, 2h 00m old: "Tune it" (Ann), model 8888888 (auc 0.9123, loss 1)',
        f'leaves {LIVE}, live for 59m 00s by ann@laptop: "Try a new ranker" (Bob), '
        "model 9999999 (auc 0.5)",
        "3 commits are not live any more:",
        "  ccccccc Try a new ranker (Bob)",
        "  and 2 more",
    )


def test_of_releases_that_were_changed_the_next_that_was_not_is_offered() -> None:
    fleet = {"a": host("a", OLDEST, OLDER, LIVE), "b": host("b", OLDEST, OLDER, LIVE)}
    files = tuple(Change("release", f"file{number}") for number in range(5))
    choices = {
        "a": Choice(Made(), {OLDER: Looked(Made()), OLDEST: Looked(Made())}),
        "b": Choice(Made(), {OLDER: Looked(Made(), files), OLDEST: Looked(Made())}),
    }

    refused = rollback.changed(OLDER, fleet, choices)

    assert refused is not None
    assert "b: file0, file1, file2 and 2 more" in refused.what
    assert f"fab rollback --to {OLDEST}" in refused.next_step
    assert rollback.changed(OLDEST, fleet, choices) is None
    nobody_looked = {"a": choices["a"], "b": Choice(Made(), {OLDER: Looked(Made(), files)})}
    refused = rollback.changed(OLDER, fleet, nobody_looked)
    assert refused is not None and OLDEST not in refused.next_step
