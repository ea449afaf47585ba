"""What was live when, from the journals. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from aideploy.errors import UsageError
from aideploy.phases.facts import release_time
from aideploy.phases.journal import Entry, Journal, Verdict

_EXAMPLES = (
    '"2026-11-20 14:00" (UTC), 2026-11-20T14:00+01:00, or 2026-11-20 for the whole day (UTC)'
)


@dataclass(frozen=True)
class Period:
    """From one moment to another, which is the same one where a moment is meant; UTC."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        first = f"{self.start:%Y-%m-%d %H:%M:%S} UTC"
        if self.start == self.end:
            return f"at {first}"
        return f"from {first} to {self.end:%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True)
class Span:
    """A release that was live on a host without a break.

    Args:
        release: its id.
        since, until: when; without an end it still is.
        by, why: who put it live, and the reason where one was given.
        verdict: what was said of it last while it was live, and within the period asked for.
        note: what was said of it when it was prepared, such as a gate that was overridden.
        revision, model: as far as the journal knows.
    """

    release: str
    since: datetime
    until: datetime | None
    by: str
    why: str
    verdict: Verdict
    note: str = ""
    revision: str = ""
    model: str = ""


def period(option: str, text: str) -> Period:
    """Return what was typed: a moment, or a day from its beginning to its end; UTC where it does
    not say otherwise.

    Raises:
        UsageError: it is neither.
    """
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        moment = _moment(option, text)
        return Period(moment, moment)
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    try:
        return Period(start, start + timedelta(days=1, seconds=-1))
    except OverflowError:
        raise _no_time(option, text) from None


def _moment(option: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _no_time(option, text) from None


def _no_time(option: str, text: str) -> UsageError:
    return UsageError(
        f"{option} takes a time, not {text!r}", next_step=f"for example: {option} {_EXAMPLES}"
    )


def spans(journal: Journal, asked: Period) -> tuple[Span, ...]:
    """Return what was live on a host in a period, oldest first.

    Args:
        journal: all of it.
        asked: the period; of what came after it only the end of a span is told.
    """
    named = (entry for entry in journal.entries if release_time(entry.release))
    # Clocks differ: what a host wrote by itself may stand before what the controller said later.
    entries = sorted(named, key=lambda entry: entry.at)
    lives = _lives(entries)
    return tuple(
        _span(first, until, entries, journal, asked.end)
        for first, until in lives
        if first.at <= asked.end and (until is None or until > asked.start)
    )


def _lives(entries: Iterable[Entry]) -> list[tuple[Entry, datetime | None]]:
    """Return the entry that put each release live, and when that ended."""
    ended: list[tuple[Entry, datetime | None]] = []
    live: Entry | None = None
    for entry in entries:
        ends = entry.verdict is Verdict.LIVE or (
            # Where something was live before it, the next entry says so.
            entry.verdict is Verdict.REVERTED and live and live.release == entry.release
        )
        if not ends:
            continue
        if live:
            ended.append((live, entry.at))
        live = entry if entry.verdict is Verdict.LIVE else None
    return [*ended, (live, None)] if live else ended


def _span(
    first: Entry,
    until: datetime | None,
    entries: Iterable[Entry],
    journal: Journal,
    latest: datetime,
) -> Span:
    end = latest if until is None else min(until, latest)
    said = [entry for entry in entries if entry.release == first.release]
    meanwhile = [entry.verdict for entry in said if first.at <= entry.at <= end]
    prepared = [entry.why for entry in said if entry.verdict is Verdict.PREPARED]
    return Span(
        release=first.release,
        since=first.at,
        until=until,
        by=first.who,
        why=first.why,
        verdict=meanwhile[-1] if meanwhile else Verdict.LIVE,
        note=next(filter(None, prepared), ""),
        revision=journal.revision(first.release),
        model=journal.model(first.release),
    )
