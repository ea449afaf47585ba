"""Readers for commands whose result is not how they went: tables of facts, or what programs print.

A person who asks for the status wants the status. These stay silent while all is well; warnings
and the last word of a run that failed go to standard error.
"""

from __future__ import annotations

from collections.abc import Callable

from aideploy.errors import ExitStatus
from aideploy.events import Event, Notice, OutputReceived, Phase, RunFinished, RunStarted
from aideploy.report.last_word import last_word
from aideploy.report.progress import Progress
from aideploy.report.safe_text import first_line, harmless


class Troubles:
    """Prints warnings, and the last word when the run failed.

    Args:
        say: prints one line and sends it at once.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._progress = Progress()

    def __call__(self, event: Event) -> None:
        self._progress.take(event)
        match event:
            case Notice(level="warning"):
                host = f"{harmless(event.host)}: " if event.host else ""
                self._say(f"warning: {host}{first_line(event.text)}")
            case RunFinished() if event.status != ExitStatus.DONE:
                for line in last_word(self._progress.with_tails(event)):
                    self._say(line.text.rstrip())


class Streamed:
    """Prints every line that a program on a host writes in the phase RUN: `host | line`.

    Args:
        say: prints one line and sends it at once.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._width = 0

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._width = max(map(len, event.hosts), default=0)
            case OutputReceived(phase=Phase.RUN):
                self._say(f"{event.host:<{self._width}} | {harmless(event.line)}")
