"""The one stream of events that a run is.

Whatever happens is published here as a frozen event, once. The screen, the log file, the JSON
output and later the report and the metrics are readers of this stream and of nothing else. This
module imports nothing of the project, so that everything may import it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aideploy.analysis.findings import Findings
    from aideploy.gates.model import Evaluation


class Phase(StrEnum):
    """The phases of a deploy, in their order (docs/design.md section 2)."""

    SETUP = "setup"
    OPEN = "open"
    FETCH = "fetch"
    REVIEW = "review"
    INSTALL = "install"
    TEST = "test"
    TRAIN = "train"
    MODEL = "model"
    EVALUATE = "evaluate"
    DISTRIBUTE = "distribute"
    STAGE = "stage"
    SWITCH = "switch"
    WATCH = "watch"
    HOLD = "hold"
    CONFIRM = "confirm"
    REVERT = "revert"
    FINISH = "finish"
    # What the commands beside deploy do on a host.
    LOOK = "look"
    LOCK = "lock"
    ASK = "ask"
    RUN = "run"
    # A command of [hooks], on this machine.
    HOOK = "hook"


class Outcome(StrEnum):
    """How one host came out of one phase."""

    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Batch:
    """Which batch of a rollout it is: its number, from 1, of how many. One of one is none."""

    number: int = 1
    of: int = 1
    is_canary: bool = False

    def __str__(self) -> str:
        if self.of == 1:
            return ""
        return f"batch {self.number} of {self.of}" + (" (canary)" if self.is_canary else "")


ALL_AT_ONCE = Batch()


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Event:
    """What all events have: the moment, in UTC."""

    at: datetime = field(default_factory=_now)


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """A command began. `log` is where the whole log goes."""

    command: str
    app: str
    environment: str
    hosts: tuple[str, ...]
    who: str
    log: Path | None = None


@dataclass(frozen=True, kw_only=True)
class PhaseStarted(Event):
    """A phase began on these hosts. `note` says why when that is not plain.

    In a rollout a phase comes once, or more often, for each `batch`.
    """

    phase: Phase
    hosts: tuple[str, ...]
    note: str = ""
    batch: Batch = ALL_AT_ONCE


@dataclass(frozen=True, kw_only=True)
class ReleaseKnown(Event):
    """It is known which release the run is about, and of which commit (in full)."""

    release: str
    revision: str


@dataclass(frozen=True, kw_only=True)
class StepStarted(Event):
    """A script on a host says what it is doing now, in a few words."""

    phase: Phase
    host: str
    text: str


@dataclass(frozen=True, kw_only=True)
class OutputReceived(Event):
    """One line that a program on a host wrote, without its end of line.

    Undecodable bytes are replaced, a very long line comes in pieces; control characters are still
    in it: a reader that shows it on a terminal has to make them harmless.
    """

    phase: Phase
    host: str
    line: str


@dataclass(frozen=True, kw_only=True)
class HostFinished(Event):
    """One host is through one phase. `message` is the result in a few words, or the error."""

    phase: Phase
    host: str
    outcome: Outcome
    seconds: float
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class PhaseFinished(Event):
    """All hosts are through the phase, well or not."""

    phase: Phase
    outcome: Outcome
    seconds: float


@dataclass(frozen=True, kw_only=True)
class SessionEnded(Event):
    """A session with a host is over; what it cost."""

    host: str
    connections: int
    channels: int
    round_trips: int


@dataclass(frozen=True, kw_only=True)
class Notice(Event):
    """Something worth a line on the screen. Level is "info" or "warning"."""

    text: str
    level: str = "info"
    host: str | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluated(Event):
    """The model gate has judged the model of a release."""

    app: str
    environment: str
    release: str
    evaluation: Evaluation


@dataclass(frozen=True, kw_only=True)
class Analysed(Event):
    """The live analysis has looked; `final` is what came of one watch, the last look of it."""

    app: str
    environment: str
    release: str
    findings: Findings
    final: bool


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What went wrong on one host (or, without a host, on the controller)."""

    what: str
    host: str | None = None
    phase: str | None = None
    why: str = ""
    tail: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HostState:
    """The state that one host is in at the end: what it runs, in words that need no context."""

    host: str
    state: str
    release: str | None = None
    healthy: bool | None = None


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """The last word: exit status, headline, what failed, the state now, what to type next."""

    status: int
    headline: str
    seconds: float
    failures: tuple[Failure, ...] = ()
    hosts: tuple[HostState, ...] = ()
    next_step: str = ""
    log: Path | None = None


Reader = Callable[[Event], None]


class Events:
    """The stream itself: whoever subscribes is called with every event, in order, one at a time."""

    def __init__(self, *readers: Reader) -> None:
        self._readers = list(readers)
        self._lock = threading.RLock()

    def subscribe(self, reader: Reader) -> None:
        """Add a reader; it sees events from now on."""
        with self._lock:
            self._readers.append(reader)

    def subscribe_first(self, reader: Reader) -> None:
        """Add a reader that sees each event before all others do.

        For one that has something to say of the last event, after which nobody listens any more.
        """
        with self._lock:
            self._readers.insert(0, reader)

    def publish(self, event: Event) -> None:
        """Hand the event to every reader. May be called from any thread.

        A reader that fails is told nothing more and the others are told why: a full disk under the
        log must not leave a fleet half switched.
        """
        with self._lock:
            broken: list[Notice] = []
            for reader in tuple(self._readers):
                try:
                    reader(event)
                except Exception as error:
                    self._readers.remove(reader)
                    broken.append(_broken(reader, error))
            for notice in broken:
                self.publish(notice)


def _broken(reader: Reader, error: Exception) -> Notice:
    name = getattr(reader, "__name__", type(reader).__name__)
    return Notice(text=f"{name} stopped: {type(error).__name__}: {error}", level="warning")
