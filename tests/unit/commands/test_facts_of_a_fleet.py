"""What the hosts say, put together: releases, history, logs, and which release is the good one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

import pytest

from aideploy.commands.asking import named
from aideploy.commands.history import folded
from aideploy.commands.logs import EVERYTHING, sifted
from aideploy.commands.logs import merged as merged_logs
from aideploy.commands.releases import merged
from aideploy.errors import UsageError
from aideploy.phases.drift import last_good
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Entry, Journal, Verdict
from aideploy.tasks.common import whole_number

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
OLD, NEW = "20260101T100000Z-aaaaaaa", "20260101T110000Z-bbbbbbb"


def entry(verdict: Verdict, release: str, minutes: float, why: str = "") -> Entry:
    return Entry(verdict, release, NOON + timedelta(minutes=minutes), "ann@laptop", why)


def host(name: str, *entries: Entry, current: str | None = NEW) -> HostFacts:
    return HostFacts(
        host=name,
        root=PurePosixPath("/srv/app"),
        home=PurePosixPath("/root"),
        current=current,
        releases=(OLD, NEW),
        journal=Journal(entries),
    )


def test_the_same_event_on_several_hosts_is_told_once() -> None:
    journals = {
        name: Journal((entry(Verdict.LIVE, NEW, lag), entry(Verdict.GOOD, NEW, lag + 1)))
        for name, lag in (("a", 0.1), ("b", 0.0), ("c", 0.2))
    }

    events = folded(journals)

    assert [(event.verdict, event.hosts) for event in events] == [
        (Verdict.LIVE, ("a", "b", "c")),
        (Verdict.GOOD, ("a", "b", "c")),
    ]
    assert events[0].at == NOON


def test_what_happened_twice_is_told_twice() -> None:
    twice = Journal((entry(Verdict.LIVE, NEW, 0, "again"), entry(Verdict.LIVE, NEW, 1, "again")))

    assert [event.hosts for event in folded({"a": twice, "b": twice})] == [("a", "b"), ("a", "b")]


def test_the_same_words_hours_later_are_another_event() -> None:
    early, late = Journal((entry(Verdict.LIVE, NEW, 0),)), Journal((entry(Verdict.LIVE, NEW, 300),))

    assert [event.hosts for event in folded({"a": early, "b": late})] == [("a",), ("b",)]


def test_what_a_host_with_a_slow_clock_went_back_to_stands_last() -> None:
    # Going back, a host writes its own time.
    slow = Journal(
        (
            entry(Verdict.LIVE, NEW, 20),
            entry(Verdict.REVERTED, NEW, 11),
            entry(Verdict.LIVE, OLD, 11, "it is not healthy"),
        )
    )

    assert [event.verdict for event in folded({"a": slow})] == [
        Verdict.LIVE, Verdict.REVERTED, Verdict.LIVE,
    ]  # fmt: skip
    assert folded({"a": slow})[-1].release == OLD


def test_after_a_rollback_the_good_release_is_the_older_one() -> None:
    rolled_back = (
        entry(Verdict.GOOD, OLD, 0),
        entry(Verdict.GOOD, NEW, 1),
        entry(Verdict.GOOD, OLD, 2),
        entry(Verdict.BAD, NEW, 2),
    )

    assert last_good({"a": host("a", *rolled_back)}) == OLD
    assert last_good({"a": host("a")}) is None


def test_the_last_judgement_of_a_release_counts_whoever_made_it() -> None:
    facts = {
        "a": host("a", entry(Verdict.GOOD, OLD, 0), entry(Verdict.GOOD, NEW, 1)),
        "b": host("b", entry(Verdict.GOOD, OLD, 0), entry(Verdict.BAD, NEW, 2), current=OLD),
    }

    newest, older = merged(facts, facts)

    assert (newest.release, newest.verdict, newest.live) == (NEW, Verdict.BAD, ("a",))
    assert (older.release, older.verdict, older.live) == (OLD, Verdict.GOOD, ("b",))
    assert older.rollback_goes_here


def test_a_release_that_no_journal_knows_is_shown() -> None:
    facts = {"a": host("a", current=None)}

    assert [(one.release, one.verdict, one.at) for one in merged(facts, facts)] == [
        (NEW, None, None),
        (OLD, None, None),
    ]


def test_logs_of_several_hosts_come_in_the_order_of_time_and_stay_whole() -> None:
    lines = {
        "a": sifted("a", ["2026-01-01T12:00:00+0000 first", "  of two lines"], EVERYTHING),
        "b": sifted(
            "b", ["2026-01-01T12:59:59+0100 before", "2026-01-01T12:00:01+0000 last"], EVERYTHING
        ),
    }

    assert [one.line.split()[-1] for one in merged_logs(lines)] == [
        "before",
        "first",
        "lines",
        "last",
    ]


def test_logs_without_times_come_host_by_host() -> None:
    lines = {
        "a": sifted("a", ["2026-01-01T12:00:00+0000 late"], EVERYTHING),
        "b": sifted("b", ["no time", "2026-01-01T11:00:00+0000 early"], EVERYTHING),
    }

    assert [one.host for one in merged_logs(lines)] == ["a", "b", "b"]


@pytest.mark.parametrize("text", ["0", "-1", "101", "1.5", "many", "", "\uff11", "9" * 5000])
def test_what_is_no_number_in_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="from 1 to 100"):
        whole_number("--limit", text, most=100)


def test_hosts_are_named_while_they_are_few() -> None:
    assert named(("a",), 1) == "a"
    assert named(("a", "b"), 2) == "all 2 hosts"
    assert named(tuple("abcdefg"), 9) == "a, b, c, d, e and 2 more"
