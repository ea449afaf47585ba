"""What was live when: the journals read backwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from aideploy.errors import UsageError
from aideploy.phases.journal import Entry, Journal, Verdict
from aideploy.records.live import Period, period, spans

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
OLD, NEW = "20260101T100000Z-aaaaaaa", "20260101T110000Z-bbbbbbb"


def entry(verdict: Verdict, release: str, minutes: float, why: str = "") -> Entry:
    return Entry(verdict, release, NOON + timedelta(minutes=minutes), "ann@laptop", why)


def live_at(minutes: float, *entries: Entry) -> list[str]:
    moment = NOON + timedelta(minutes=minutes)
    return [span.release for span in spans(Journal(entries), Period(moment, moment))]


def test_a_release_is_live_until_the_next_one_is() -> None:
    story = (
        entry(Verdict.PREPARED, OLD, 0),
        entry(Verdict.LIVE, OLD, 1),
        entry(Verdict.GOOD, OLD, 3),
        entry(Verdict.PREPARED, NEW, 10),
        entry(Verdict.LIVE, NEW, 11),
    )

    assert [live_at(minutes, *story) for minutes in (0, 1, 10.9, 11, 99)] == [
        [], [OLD], [OLD], [NEW], [NEW],
    ]  # fmt: skip


def test_a_host_that_went_back_serves_what_it_served() -> None:
    story = (
        entry(Verdict.LIVE, OLD, 1),
        entry(Verdict.LIVE, NEW, 11),
        entry(Verdict.REVERTED, NEW, 12, "it is not healthy"),
        entry(Verdict.LIVE, OLD, 12, "it is not healthy"),
    )

    assert [live_at(minutes, *story) for minutes in (11.5, 13)] == [[NEW], [OLD]]


def test_after_the_first_release_went_back_nothing_is_live() -> None:
    story = (entry(Verdict.LIVE, NEW, 1), entry(Verdict.REVERTED, NEW, 2))

    assert [live_at(minutes, *story) for minutes in (1.5, 3)] == [[NEW], []]


def test_a_revert_of_something_that_is_not_live_ends_nothing() -> None:
    story = (entry(Verdict.LIVE, OLD, 1), entry(Verdict.REVERTED, NEW, 2))

    assert live_at(3, *story) == [OLD]


def test_what_is_no_release_was_not_live() -> None:
    odd = entry(Verdict.LIVE, "../../etc/passwd", 2)

    assert live_at(3, entry(Verdict.LIVE, OLD, 1), odd) == [OLD]


def test_a_host_whose_clock_is_behind_does_not_serve_what_it_went_back_from() -> None:
    # Going back, a host writes its own time: here it is ten minutes behind the controller's.
    story = Journal(
        (
            entry(Verdict.LIVE, OLD, 1),
            entry(Verdict.LIVE, NEW, 20),
            entry(Verdict.REVERTED, NEW, 11, "it is not healthy"),
            entry(Verdict.LIVE, OLD, 11, "it is not healthy"),
        )
    )
    day = spans(story, Period(NOON, NOON + timedelta(hours=1)))

    assert live_at(25, *story.entries) == [OLD]
    assert [(one.release, one.verdict) for one in day] == [
        (OLD, Verdict.LIVE), (NEW, Verdict.REVERTED), (OLD, Verdict.LIVE),
    ]  # fmt: skip
    assert all(one.until is None or one.until >= one.since for one in day)


def test_a_host_whose_clock_is_ahead_serves_what_came_after() -> None:
    story = (
        entry(Verdict.LIVE, OLD, 1),
        entry(Verdict.LIVE, NEW, 20),
        entry(Verdict.REVERTED, NEW, 40),
        entry(Verdict.LIVE, OLD, 40),
        entry(Verdict.LIVE, NEW, 30, "deployed again"),
    )

    assert live_at(50, *story) == [NEW]


def test_the_verdict_is_that_of_then() -> None:
    story = Journal(
        (
            entry(Verdict.PREPARED, NEW, 0, "without a model gate, --no-gate"),
            entry(Verdict.LIVE, NEW, 1),
            entry(Verdict.GOOD, NEW, 5),
            entry(Verdict.LIVE, OLD, 10, "rolled back by hand"),
            entry(Verdict.BAD, NEW, 11),
        )
    )

    def then(minutes: float) -> tuple[Verdict, str]:
        moment = NOON + timedelta(minutes=minutes)
        [span] = spans(story, Period(moment, moment))
        return span.verdict, span.note or span.why

    overridden = "without a model gate, --no-gate"
    assert then(2) == (Verdict.LIVE, overridden)
    assert then(6) == (Verdict.GOOD, overridden)
    assert then(12) == (Verdict.LIVE, "rolled back by hand")


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-11-20 14:00", "2026-11-20T14:00:00", None),
        ("2026-11-20T14:00Z", "2026-11-20T14:00:00", None),
        (" 2026-11-20T14:00:30+01:00 ", "2026-11-20T13:00:30", None),
        ("2026-11-20", "2026-11-20T00:00:00", "2026-11-20T23:59:59"),
    ],
)
def test_a_time_is_utc_unless_it_says_otherwise(text: str, start: str, end: str | None) -> None:
    def utc(moment: str) -> datetime:
        return datetime.fromisoformat(moment).replace(tzinfo=UTC)

    assert period("--at", text) == Period(utc(start), utc(end or start))


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-02-30", "20.11.2026", "14:00", "0001-01-01T00:00+14:00", "1e9"]
)
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="--at takes a time") as refused:
        period("--at", text)
    assert "2026-11-20T14:00+01:00" in refused.value.next_step
