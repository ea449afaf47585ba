"""What the events so far mean: which phases run now, and where each host is in them.

Kept up to date by the readers that show progress (screen, plain lines, JSON result). It takes
thousands of output lines a second, so it remembers and never formats while an event is taken.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from aideploy.events import (
    ALL_AT_ONCE,
    Batch,
    Event,
    Failure,
    HostFinished,
    Outcome,
    OutputReceived,
    Phase,
    PhaseFinished,
    PhaseStarted,
    RunFinished,
    StepStarted,
)
from aideploy.report.safe_text import first_line, kept
from aideploy.report.wording import host_names

TAIL_LINES = 20
"""As many lines of a failed phase are shown (docs/design.md section 8)."""

_MANY_RESULTS = 3


@dataclass
class HostProgress:
    """Where one host is in a phase."""

    host: str
    step: str = ""
    line: str = ""
    finished: HostFinished | None = None


@dataclass
class PhaseProgress:
    """A phase that runs now."""

    phase: Phase
    since: datetime
    note: str = ""
    hosts: dict[str, HostProgress] = field(default_factory=dict)
    batch: Batch = ALL_AT_ONCE

    def seconds(self, now: datetime) -> float:
        """How long the phase has been running."""
        return (now - self.since).total_seconds()


@dataclass(frozen=True)
class PhaseResult:
    """A phase that is over, and how each host came out of it."""

    phase: Phase
    outcome: Outcome
    seconds: float
    hosts: tuple[str, ...]
    finished: tuple[HostFinished, ...]
    batch: Batch = ALL_AT_ONCE

    @property
    def words(self) -> str:
        """The result in few words: what failed, or what the hosts say that they did."""
        failed = [host for host in self.finished if host.outcome is Outcome.FAILED]
        if failed:
            return _failures_in_words(failed, len(self.hosts))
        said = Counter(first_line(host.message) for host in self.finished if host.message)
        if len(said) == 1 and said.total() == len(self.finished):
            return next(iter(said))
        if 0 < len(said) <= _MANY_RESULTS:
            return ", ".join(f"{text} ({count})" for text, count in said.most_common())
        return "" if self.outcome is Outcome.DONE else self.outcome


def _failures_in_words(failed: Sequence[HostFinished], hosts: int) -> str:
    names = host_names([host.host for host in failed], _MANY_RESULTS)
    reasons = {first_line(host.message) for host in failed}
    who = names if hosts == 1 or len(failed) <= _MANY_RESULTS else f"{len(failed)} of {hosts} hosts"
    if reasons == {""}:
        return f"failed on {who}"
    return f"{who}: {first_line(failed[0].message)}" + (
        f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    )


class Progress:
    """The phases that run now, in the order in which they began."""

    def __init__(self) -> None:
        self.running: dict[Phase, PhaseProgress] = {}
        self._tails: dict[tuple[str, str], deque[str]] = {}

    def take(self, event: Event) -> PhaseResult | None:
        """Learn from an event; the end of a phase gives its result."""
        match event:
            case OutputReceived():
                self._take_line(event)
            case StepStarted():
                if host := self._host(event.phase, event.host):
                    host.step, host.line = event.text, ""
            case HostFinished():
                if host := self._host(event.phase, event.host):
                    host.finished = event
                if event.outcome in (Outcome.DONE, Outcome.SKIPPED):
                    self._tails.pop((event.phase, event.host), None)
            case PhaseStarted():
                self._begin(event)
            case PhaseFinished():
                return self._end(event)
        return None

    def with_tails(self, finished: RunFinished) -> RunFinished:
        """The same last word; a failure without last lines gets those seen in its phase."""
        return replace(finished, failures=tuple(map(self._with_tail, finished.failures)))

    def _with_tail(self, failure: Failure) -> Failure:
        seen = self._tails.get((failure.phase or "", failure.host or ""), ())
        return replace(failure, tail=(failure.tail or tuple(seen))[-TAIL_LINES:])

    def _take_line(self, event: OutputReceived) -> None:
        line = kept(event.line)
        if host := self._host(event.phase, event.host):
            host.line = line
        tail = self._tails.get((event.phase, event.host))
        if tail is None:
            tail = self._tails[event.phase, event.host] = deque(maxlen=TAIL_LINES)
        tail.append(line)

    def _host(self, phase: Phase, name: str) -> HostProgress | None:
        """The host in a running phase; none when the phase is over, as for a late line."""
        running = self.running.get(phase)
        if running is None:
            return None
        if name not in running.hosts:
            running.hosts[name] = HostProgress(name)
        return running.hosts[name]

    def _begin(self, event: PhaseStarted) -> None:
        hosts = {name: HostProgress(name) for name in event.hosts}
        self.running[event.phase] = PhaseProgress(
            event.phase, event.at, event.note, hosts, event.batch
        )
        for name in event.hosts:
            self._tails.pop((event.phase, name), None)

    def _end(self, event: PhaseFinished) -> PhaseResult:
        phase = self.running.pop(event.phase, PhaseProgress(event.phase, event.at))
        return PhaseResult(
            phase=event.phase,
            outcome=event.outcome,
            seconds=event.seconds,
            hosts=tuple(phase.hosts),
            finished=tuple(host.finished for host in phase.hosts.values() if host.finished),
            batch=phase.batch,
        )
