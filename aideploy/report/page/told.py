"""What the events of a run tell, put in order: its phases in time, its hosts, its log. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from aideploy.events import (
    ALL_AT_ONCE,
    Batch,
    Evaluated,
    Event,
    HostFinished,
    Notice,
    Outcome,
    OutputReceived,
    Phase,
    PhaseFinished,
    PhaseStarted,
    ReleaseKnown,
    RunFinished,
    RunStarted,
    StepStarted,
)
from aideploy.report.safe_text import harmless

MOST_LINES = 400
"""So many lines of the log of one phase are in the page."""


@dataclass(frozen=True)
class HostTime:
    """One host in one phase, in seconds since the run began."""

    host: str
    start: float
    end: float
    outcome: Outcome
    message: str


@dataclass(frozen=True)
class LogLine:
    """A line of the log; `kind` is "step", "output", "warning", "info", or an outcome."""

    at: datetime
    host: str
    kind: str
    text: str


@dataclass(frozen=True)
class PhaseTime:
    """One phase, once: `start` and `end` in seconds since the run began; without outcome, unended.

    Args:
        words: what the hosts said of it, in few words.
        lines: the log, as far as it is in the page; `left_out` lines are not.
    """

    phase: Phase
    batch: Batch
    note: str
    start: float
    end: float
    outcome: Outcome | None
    asked: tuple[str, ...]
    hosts: tuple[HostTime, ...]
    lines: tuple[LogLine, ...] = ()
    left_out: int = 0

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start

    @property
    def failed(self) -> tuple[HostTime, ...]:
        """The hosts that failed in it."""
        return tuple(host for host in self.hosts if host.outcome is Outcome.FAILED)

    @property
    def words(self) -> str:
        """What the hosts said; of several answers the most common ones."""
        said = Counter(_first(host.message) for host in self.failed or self.hosts if host.message)
        if len(said) == 1:
            return next(iter(said))
        rest = len(said) - 2
        common = [f"{text} ({count})" for text, count in said.most_common(2)]
        return ", ".join(common) + (f", and {rest} more" if rest > 0 else "")


@dataclass(frozen=True)
class Told:
    """A whole run.

    Args:
        started, finished: its first and last word; a run that was killed has no last one.
        release, revision: what it was about, where that was known.
        phases: in the order in which they began.
        evaluated: the verdict of the model gate.
        notices: what was said besides.
        seconds: how long it took, as far as it is known.
    """

    started: RunStarted | None
    finished: RunFinished | None
    release: str
    revision: str
    phases: tuple[PhaseTime, ...]
    evaluated: Evaluated | None
    notices: tuple[Notice, ...]
    seconds: float


@dataclass
class _Phase:
    began: PhaseStarted
    ended: PhaseFinished | None = None
    hosts: list[HostFinished] = field(default_factory=list)
    lines: list[LogLine] = field(default_factory=list)


def told(events: Sequence[Event]) -> Told:
    """Put the events of one run in order."""
    phases: list[_Phase] = []
    running: dict[Phase, _Phase] = {}
    latest: dict[Phase, _Phase] = {}
    started: RunStarted | None = None
    finished: RunFinished | None = None
    known = ReleaseKnown(release="", revision="")
    evaluated: Evaluated | None = None
    notices: list[Notice] = []

    def of(event: StepStarted | OutputReceived | HostFinished | PhaseFinished) -> _Phase:
        found = running.get(event.phase) or latest.get(event.phase)
        if found is None:
            found = _Phase(PhaseStarted(phase=event.phase, hosts=(), at=event.at))
            phases.append(found)
            latest[event.phase] = found
        return found

    for event in events:
        match event:
            case RunStarted():
                started = event
            case RunFinished():
                finished = event
            case ReleaseKnown():
                known = event
            case Evaluated():
                evaluated = event
            case Notice():
                notices.append(event)
            case PhaseStarted():
                phase = _Phase(event)
                phases.append(phase)
                running[event.phase] = latest[event.phase] = phase
            case PhaseFinished():
                of(event).ended = event
                running.pop(event.phase, None)
            case HostFinished():
                phase = of(event)
                phase.hosts.append(event)
                words = f"{event.outcome}  {_first(event.message)}".rstrip()
                phase.lines.append(LogLine(event.at, event.host, event.outcome, words))
            case StepStarted():
                of(event).lines.append(LogLine(event.at, event.host, "step", harmless(event.text)))
            case OutputReceived():
                line = LogLine(event.at, event.host, "output", harmless(event.line))
                of(event).lines.append(line)
    first = started.at if started else (events[0].at if events else None)
    last = max((event.at for event in events), default=None)
    whole = 0.0 if first is None or last is None else (last - first).total_seconds()
    return Told(
        started=started,
        finished=finished,
        release=known.release or (evaluated.release if evaluated else ""),
        revision=known.revision,
        phases=tuple(_phase(one, first or one.began.at, whole) for one in phases),
        evaluated=evaluated,
        notices=tuple(notices),
        seconds=finished.seconds if finished else max(whole, 0.0),
    )


def _phase(phase: _Phase, first: datetime, whole: float) -> PhaseTime:
    start = max((phase.began.at - first).total_seconds(), 0.0)
    end = max(start, whole)
    if phase.ended:
        end = max((phase.ended.at - first).total_seconds(), start)
    hosts = tuple(_host(one, first) for one in phase.hosts)
    bad = {one.host for one in hosts if one.outcome is Outcome.FAILED}
    lines = _chosen(phase.lines, bad)
    return PhaseTime(
        phase=phase.began.phase,
        batch=phase.began.batch or ALL_AT_ONCE,
        note=harmless(phase.began.note),
        start=start,
        end=end,
        outcome=phase.ended.outcome if phase.ended else None,
        asked=phase.began.hosts or tuple(one.host for one in hosts),
        hosts=hosts,
        lines=lines,
        left_out=len(phase.lines) - len(lines),
    )


def _host(event: HostFinished, first: datetime) -> HostTime:
    end = max((event.at - first).total_seconds(), 0.0)
    return HostTime(
        host=event.host,
        start=max(end - max(event.seconds, 0.0), 0.0),
        end=end,
        outcome=event.outcome,
        message=event.message,
    )


def _chosen(lines: Sequence[LogLine], bad: set[str]) -> tuple[LogLine, ...]:
    """Return the lines that are in the page: the last ones, first of all of hosts that failed."""
    if len(lines) <= MOST_LINES:
        return tuple(lines)
    order: Iterable[tuple[int, LogLine]] = reversed(list(enumerate(lines)))
    first = sorted(order, key=lambda pair: pair[1].host not in bad)[:MOST_LINES]
    return tuple(line for _, line in sorted(first, key=lambda pair: pair[0]))


def _first(text: str) -> str:
    return harmless(text.strip().partition("\n")[0])
