"""What services write: when, how bad it is, and whether somebody wants to see it.

Pure. `fab logs` sends every line of a host through a sieve of that host, in their order: a line
without a time or a level of its own belongs to the line before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from aideploy.errors import UsageError
from aideploy.records.live import period
from aideploy.report.safe_text import harmless


class Level(IntEnum):
    """How bad a line is, as services say it."""

    DEBUG = 1
    INFO = 2
    WARNING = 3
    ERROR = 4
    CRITICAL = 5


_LEVELS = {
    **dict.fromkeys(("trace", "debug"), Level.DEBUG),
    **dict.fromkeys(("info", "information", "notice"), Level.INFO),
    **dict.fromkeys(("warn", "warning"), Level.WARNING),
    **dict.fromkeys(("err", "error", "exception"), Level.ERROR),
    **dict.fromkeys(("critical", "crit", "fatal", "panic", "alert", "emerg"), Level.CRITICAL),
}
_WORDS = "|".join(sorted(_LEVELS, key=len, reverse=True))
# level=error, "severity": "ERROR"; then [error] or <error>; then ERROR or ERROR: as a word.
_NAMED = re.compile(
    rf"""(?ix) \b(?:level|levelname|severity|lvl)["']?\s*[=:]\s*["']?({_WORDS})\b"""
)
_IN_BRACKETS = re.compile(rf"(?i)[\[<(]({_WORDS})[\])>]")
_WORD = re.compile(rf"(?<![\w/.-])({_WORDS.upper()})(?![\w/-])")
_LOOKED_AT = 400

_TRACEBACK = "Traceback (most recent call last)"
# What journalctl puts before each line: time, host, program.
_JOURNAL = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.+-]+Z? \S+ \S+?(?:\[\d+\])?: ")
_MOMENT = re.compile(
    r"""^[\[({\s]{0,3}(?:"?\w{1,12}"?\s?[:=]\s?)?"?
    (\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?\s?(Z|[+-]\d\d:?\d\d)(?!\d)""",
    re.VERBOSE,
)
_AGO = re.compile(r"(\d{1,6})\s*([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class LogLine:
    """A line of a service; `at` is None where its log has no times."""

    host: str
    at: datetime | None
    line: str


@dataclass(frozen=True)
class Wanted:
    """Which lines are shown; by default all.

    Args:
        pattern: that has to be found in the line, as it is shown.
        since: when it was written, at the earliest.
        level: how bad it is, at least; a line without a level is not shown then.
    """

    pattern: re.Pattern[str] | None = None
    since: datetime | None = None
    level: Level | None = None

    @property
    def everything(self) -> bool:
        """Whether no line is left out."""
        return self.pattern is None and self.since is None and self.level is None


def wanted(
    grep: str | None, since: str | None, level: str | None, *, now: datetime | None = None
) -> Wanted:
    """Return what was typed.

    Raises:
        UsageError: it is no pattern, no time or no level.
    """
    return Wanted(
        pattern=None if grep is None else _pattern(grep),
        since=None if since is None else _since(since, now or datetime.now(UTC)),
        level=None if level is None else _level(level),
    )


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(
            f"--grep takes a regular expression of Python, not {text!r}",
            why=str(error),
            next_step="write a \\ before a character that means itself",
        ) from None


def _since(text: str, now: datetime) -> datetime:
    if ago := _AGO.fullmatch(text.strip()):
        try:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)
    try:
        return period("--since", text).start
    except UsageError as error:
        raise UsageError(error.what, next_step=f"{error.next_step}; or 10m, 2h, 1d") from None


def _level(text: str) -> Level:
    try:
        return Level[text.upper()]
    except KeyError:
        names = ", ".join(level.name.lower() for level in Level)
        raise UsageError(f"--level takes one of {names}, not {text!r}") from None


class Sieve:
    """Takes the lines of one host in their order, and keeps those that are wanted."""

    def __init__(self, host: str, want: Wanted) -> None:
        self._host = host
        self._want = want
        self._at: datetime | None = None
        self._level: Level | None = None
        self._in_traceback = False

    @property
    def timed(self) -> bool:
        """Whether any line had a time so far."""
        return self._at is not None

    def take(self, line: str) -> LogLine | None:
        """Return the line with its time; None where it is not wanted."""
        self._at = moment(line) or self._at
        level = self._level_of(line)
        want = self._want
        if want.since is not None and self._at is not None and self._at < want.since:
            return None
        if want.level is not None and (level is None or level < want.level):
            return None
        if want.pattern is not None and not want.pattern.search(harmless(line)):
            return None
        return LogLine(self._host, self._at, line)

    def _level_of(self, line: str) -> Level | None:
        if self._want.level is None:
            return None
        message = _JOURNAL.sub("", line[:_LOOKED_AT], count=1)
        if message.startswith(_TRACEBACK):
            self._in_traceback = True
            self._level = max(self._level or Level.ERROR, Level.ERROR)
        elif message[:1].isspace() or not message:
            # It goes on with what the line before began.
            pass
        elif self._in_traceback:
            # The last line of a traceback names the exception.
            self._in_traceback = False
            self._level = level_named(message) or self._level
        else:
            self._level = level_named(message)
        return self._level


def level_named(message: str) -> Level | None:
    """Return the level that a message names; None where it names none."""
    found = _NAMED.search(message) or _IN_BRACKETS.search(message) or _WORD.search(message)
    return _LEVELS[found[1].lower()] if found else None


def moment(line: str) -> datetime | None:
    """Return the time that a line begins with, where it says of which zone it is."""
    found = _MOMENT.match(line[:100])
    if found is None:
        return None
    day, clock, fraction, zone = found.groups()
    try:
        at = datetime.fromisoformat(f"{day}T{clock}{zone}")
    except ValueError:
        return None
    return at + timedelta(microseconds=int((fraction or "0").ljust(6, "0")[:6]))
