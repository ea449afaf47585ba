"""The result of a run as one JSON document, for `--json`.

Collects the phases while the run goes on and prints once, when it is over. The values are as they
were published: JSON itself escapes what a terminal could misread.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aideploy.events import (
    Analysed,
    Batch,
    Evaluated,
    Event,
    Failure,
    HostState,
    Outcome,
    Phase,
    RunFinished,
    RunStarted,
)
from aideploy.report.output import Output
from aideploy.report.progress import PhaseResult, Progress


@dataclass(frozen=True)
class _Host:
    host: str
    outcome: Outcome
    seconds: float
    message: str


@dataclass(frozen=True)
class _Phase:
    phase: Phase
    outcome: Outcome
    seconds: float
    batch: Batch
    hosts: tuple[_Host, ...]


@dataclass(frozen=True)
class _Document:
    """What `--json` prints; its keys are a promise to other programs."""

    status: int
    headline: str
    command: str | None
    app: str | None
    environment: str | None
    seconds: float
    phases: tuple[_Phase, ...]
    gate: dict[str, Any] | None
    analysis: tuple[dict[str, Any], ...]
    failures: tuple[Failure, ...]
    hosts: tuple[HostState, ...]
    next_step: str
    log: Path | None


class JsonResult:
    """Prints the document when the run is over."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._progress = Progress()
        self._started: RunStarted | None = None
        self._phases: list[_Phase] = []
        self._gate: dict[str, Any] | None = None
        self._analysis: list[dict[str, Any]] = []

    def __call__(self, event: Event) -> None:
        if result := self._progress.take(event):
            self._phases.append(_phase(result))
        match event:
            case RunStarted():
                self._started = event
            case Evaluated():
                self._gate = event.evaluation.record()
            case Analysed() if event.final:
                self._analysis.append(event.findings.record())
            case RunFinished():
                self._print(self._document(self._progress.with_tails(event)))

    def _document(self, finished: RunFinished) -> _Document:
        started = self._started
        return _Document(
            status=int(finished.status),
            headline=finished.headline,
            command=started.command if started else None,
            app=started.app if started else None,
            environment=started.environment if started else None,
            seconds=finished.seconds,
            phases=tuple(self._phases),
            gate=self._gate,
            analysis=tuple(self._analysis),
            failures=finished.failures,
            hosts=finished.hosts,
            next_step=finished.next_step,
            log=finished.log,
        )

    def _print(self, document: _Document) -> None:
        text = json.dumps(asdict(document), indent=2, default=str)
        # GitHub Actions takes "##[" anywhere in a log for a command; this is the same JSON.
        self._out.line(text.replace("##[", "#\\u0023["))


def _phase(result: PhaseResult) -> _Phase:
    hosts = tuple(
        _Host(host.host, host.outcome, host.seconds, host.message) for host in result.finished
    )
    return _Phase(result.phase, result.outcome, result.seconds, result.batch, hosts)
