"""The whole log of a run in a file: every event, every line of output, with its time in UTC.

It is what the last word points to, so nothing is left out or cut here; control characters are
written out, because people read it on a terminal. Only its owner may read it.
"""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path

from aideploy.errors import UsageError
from aideploy.events import (
    Analysed,
    Evaluated,
    Event,
    Failure,
    HostFinished,
    Notice,
    OutputReceived,
    Phase,
    PhaseFinished,
    PhaseStarted,
    ReleaseKnown,
    RunFinished,
    RunStarted,
    SessionEnded,
    StepStarted,
)
from aideploy.report.analysis import findings_lines, queries_lines
from aideploy.report.event_file import stream_beside
from aideploy.report.safe_text import visible
from aideploy.report.verdict import verdict_lines
from aideploy.report.verdict_file import beside
from aideploy.report.wording import duration, joined

KEPT_LOGS = 50

_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z-.*\.log")


def log_path(base: Path, command: str, environment: str, now: datetime) -> Path:
    """Where the log of a run goes.

    Args:
        base: the folder of hosts.toml.
        command: the command that runs.
        environment: the environment it runs on.
        now: the moment it began, in UTC; the name sorts by it.
    """
    what = re.sub(r"[^\w.-]", "_", f"{command}-{environment}", flags=re.ASCII)[:100]
    moment = f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}Z"
    return log_folder(base) / f"{moment}-{what}.log"


def log_folder(base: Path) -> Path:
    """Return the folder of all logs beside the hosts.toml in this folder."""
    return base / ".aideploy" / "logs"


class LogFile:
    """Writes every event as it comes; the newest `KEPT_LOGS` logs in the folder are kept.

    Raises:
        UsageError: the file cannot be made. Nothing has been touched then.
    """

    def __init__(self, path: Path) -> None:
        try:
            if not path.parent.exists():
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                # Logs are not for the repository that they lie in.
                (path.parent / ".gitignore").write_text("*\n")
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise UsageError(
                f"the log {path} cannot be written",
                why=error.strerror or str(error),
                next_step=f"make the folder {path.parent} writable",
            ) from error
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
        _prune(path.parent)

    def __call__(self, event: Event) -> None:
        if self._file.closed:
            return
        moment = event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._file.write("".join(f"{moment} {line}\n" for line in _lines(event)))
        self._file.flush()
        if isinstance(event, RunFinished):
            self._file.close()


def _prune(folder: Path) -> None:
    logs = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    for old in logs[:-KEPT_LOGS]:
        old.unlink(missing_ok=True)
        beside(old).unlink(missing_ok=True)
        stream_beside(old).unlink(missing_ok=True)


def _lines(event: Event) -> list[str]:
    match event:
        case OutputReceived():
            return [_columns(event.phase, event.host, f"| {visible(event.line)}")]
        case StepStarted():
            return [_columns(event.phase, event.host, f"> {visible(event.text)}")]
        case HostFinished():
            outcome = f"{event.outcome} {duration(event.seconds)}"
            return _several(event.phase, event.host, f"{outcome}  {event.message}".rstrip())
        case PhaseStarted():
            begins = f"begins on {', '.join(event.hosts)}"
            more = joined(event.batch, event.note)
            return [_columns(event.phase, "-", visible(f"{begins}  {more}".rstrip()))]
        case PhaseFinished():
            return [_columns(event.phase, "-", f"{event.outcome} {duration(event.seconds)}")]
        case ReleaseKnown():
            return _several("-", "-", f"release {event.release} of {event.revision}")
        case Notice():
            return _several("-", event.host or "-", f"{event.level}: {event.text}")
        case Evaluated():
            verdict = (line.text for line in verdict_lines(event.evaluation))
            return [_columns(Phase.EVALUATE, "-", line) for line in verdict]
        case Analysed():
            found = [line.text for line in findings_lines(event.findings)]
            asked = queries_lines(event.findings) if event.final else []
            return [_columns(Phase.WATCH, "-", line) for line in (*found, *asked)]
        case SessionEnded():
            cost = (
                f"{event.connections} connections, {event.channels} channels, "
                f"{event.round_trips} round trips"
            )
            return [_columns("-", event.host, f"session over: {cost}")]
        case RunStarted():
            what = f"{event.command} {event.app} in {event.environment} by {event.who}"
            return _several("-", "-", f"{what} on {', '.join(event.hosts)}")
        case RunFinished():
            return _last_word(event)
    return [_columns("-", "-", visible(repr(event)))]


def _last_word(finished: RunFinished) -> list[str]:
    headline = f"{finished.headline} (exit status {int(finished.status)})"
    lines = _several("-", "-", f"{headline} after {duration(finished.seconds)}")
    for failure in finished.failures:
        lines += _failure(failure)
    for host in finished.hosts:
        health = {True: "healthy", False: "not healthy", None: ""}[host.healthy]
        state = ", ".join(part for part in (host.state, host.release, health) if part)
        lines += _several("-", host.host, f"now: {state}")
    return lines + _several("-", "-", f"next: {finished.next_step}")


def _failure(failure: Failure) -> list[str]:
    phase, host = failure.phase or "-", failure.host or "-"
    text = f"failure: {failure.what}\n{failure.why}".rstrip()
    tail = (f"| {visible(line)}" for line in failure.tail)
    return _several(phase, host, text) + [_columns(phase, host, line) for line in tail]


def _several(phase: str, host: str, text: str) -> list[str]:
    return [_columns(phase, host, visible(line)) for line in text.split("\n")]


def _columns(phase: str, host: str, text: str) -> str:
    return f"{phase:<10} {visible(host)}  {text}"
