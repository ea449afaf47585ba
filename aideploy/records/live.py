"""What was live when, from the journals. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    # In the order of the file, which no clock changes: a host that goes back writes its own time,
    # which may lie before the one that the controller gave to what it goes back from.
    entries = tuple(entry for entry in journal.entries if release_time(entry.release))
    return tuple(
        _span(entries[start:], until, journal, asked.end)
        for start, until in _lives(entries)
        if entries[start].at <= asked.end and (until is None or until > asked.start)
    )


def _lives(entries: Sequence[Entry]) -> Iterator[tuple[int, datetime | None]]:
    """Yield the place of each entry that put a release live, and when that ended."""
    live: int | None = None
    for place, entry in enumerate(entries):
        ends = entry.verdict is Verdict.LIVE or (
            # Where something was live before it, the next entry says so.
            entry.verdict is Verdict.REVERTED
            and live is not None
            and entries[live].release == entry.release
        )
        if not ends:
            continue
        if live is not None:
            yield live, max(entry.at, entries[live].at)
        live = place if entry.verdict is Verdict.LIVE else None
    if live is not None:
        yield live, None


def _span(
    entries: Sequence[Entry], until: datetime | None, journal: Journal, latest: datetime
) -> Span:
    """Return the span that the first of these entries begins."""
    first = entries[0]
    end = latest if until is None else min(until, latest)
    meanwhile = [one.verdict for one in entries if one.release == first.release and one.at <= end]
    prepared = [
        one.why
        for one in journal.entries
        if one.release == first.release and one.verdict is Verdict.PREPARED
    ]
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
