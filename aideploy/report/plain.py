"""Plain lines for an output that is not a terminal: no colour, no cursor movement.

Each line stands for itself and starts with the seconds since the run began. What the programs
write is left to the log file, except in the phases that people read a CI log for.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from aideploy.events import (
    Analysed,
    Evaluated,
    Event,
    HostFinished,
    Notice,
    Outcome,
    OutputReceived,
    Phase,
    PhaseFinished,
    PhaseStarted,
    RunFinished,
    RunStarted,
    StepStarted,
)
from aideploy.report.analysis import findings_lines
from aideploy.report.last_word import last_word
from aideploy.report.progress import PhaseResult, Progress
from aideploy.report.safe_text import first_line, harmless
from aideploy.report.verdict import verdict_lines
from aideploy.report.wording import duration, joined, one_or_count

_STREAMED = (Phase.TEST, Phase.TRAIN)


class Plain:
    """Prints every event that matters as one line.

    Args:
        say: prints one line and sends it at once.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._progress = Progress()
        self._began: datetime | None = None

    def __call__(self, event: Event) -> None:
        self._began = self._began or event.at
        result = self._progress.take(event)
        match event:
            case OutputReceived():
                if event.phase in _STREAMED:
                    self._say(f"{harmless(event.host)} | {harmless(event.line)}")
            case Evaluated():
                for line in verdict_lines(event.evaluation):
                    self._say(line.text)
            case Analysed():
                for line in findings_lines(event.findings) if event.final else ():
                    self._say(line.text)
            case RunFinished():
                for line in last_word(self._progress.with_tails(event)):
                    self._say(line.text.rstrip())
            case PhaseFinished() if result and len(result.hosts) == 1:
                pass  # the host's own line said it
            case _:
                if text := _result(result) if result else _text(event):
                    elapsed = (event.at - self._began).total_seconds()
                    self._say(f"[{elapsed:6.1f}s] {text}")


def _text(event: Event) -> str:
    match event:
        case RunStarted():
            text = (
                f"{event.command} {event.app} in {event.environment}"
                f" ({one_or_count(event.hosts)}) by {event.who}"
            )
            return harmless(f"{text}, log {event.log}" if event.log else text)
        case PhaseStarted():
            text = joined(event.batch, harmless(event.note))
            return _columns(event.phase, one_or_count(event.hosts), text)
        case StepStarted():
            return _columns(event.phase, harmless(event.host), f"… {harmless(event.text)}")
        case HostFinished():
            return _outcome(event.phase, harmless(event.host), event.outcome, event.seconds) + (
                f"  {first_line(event.message)}" if event.message else ""
            )
        case Notice():
            mark = "warning: " if event.level == "warning" else ""
            host = f"{harmless(event.host)}: " if event.host else ""
            return f"{mark}{host}{first_line(event.text)}"
    return ""


def _result(result: PhaseResult) -> str:
    line = _outcome(result.phase, one_or_count(result.hosts), result.outcome, result.seconds)
    return f"{line}  {result.words}".rstrip()


def _outcome(phase: Phase, who: str, outcome: Outcome, seconds: float) -> str:
    return _columns(phase, who, f"{outcome} {duration(seconds)}")


def _columns(phase: Phase, who: str, text: str) -> str:
    return f"{phase:<10}  {who}  {text}".rstrip()
