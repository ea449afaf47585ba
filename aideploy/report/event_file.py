"""The stream of a run in a file of its own beside the log: one JSON object a line, for programs.

`fab report` reads it; so may others, docs/report.md says what is in it. What the hosts' programs
write is bounded: behind the bound only the last lines of each phase are kept, and it is said how
many were left out. Everything else that happens is always kept.
"""

from __future__ import annotations

import json
import math
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

from aideploy.errors import UsageError
from aideploy.events import (
    Event,
    HostFinished,
    OutputReceived,
    RunFinished,
    RunStarted,
    StepStarted,
)
from aideploy.report.progress import TAIL_LINES

FORMAT = 1
"""Counts up when a key changes its meaning."""

MOST_OUTPUT = 8_000_000
"""So many characters of output are kept of one run, besides the last lines of each phase."""

LONGEST_TEXT = 4_000
"""A longer text is cut, and ends in an ellipsis; the log file has the whole of it."""


def stream_beside(log: Path) -> Path:
    """Return the place of the stream that belongs to a log."""
    return log.with_suffix(".events.jsonl")


class EventFile:
    """Writes every event as it comes.

    Args:
        path: where; there is no such file yet.
        most_output: how many characters of output are kept besides the last lines.

    Raises:
        UsageError: the file cannot be made. Nothing has been touched then.
    """

    def __init__(self, path: Path, *, most_output: int = MOST_OUTPUT) -> None:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise UsageError(
                f"the file {path} cannot be written",
                why=error.strerror or str(error),
                next_step=f"make the folder {path.parent} writable",
            ) from error
        self._file = os.fdopen(descriptor, "w", encoding="ascii")
        self._room = most_output
        self._waiting: dict[tuple[str, str], deque[OutputReceived]] = {}
        self._left_out: dict[tuple[str, str], int] = {}

    def __call__(self, event: Event) -> None:
        if self._file.closed:
            return
        if isinstance(event, OutputReceived):
            self._take_output(event)
            return
        if isinstance(event, HostFinished):
            self._write_waiting(event.phase, event.host)
        if isinstance(event, RunFinished):
            for phase, host in tuple(self._waiting):
                self._write_waiting(phase, host)
        self._write(event)
        if not isinstance(event, StepStarted):
            self._file.flush()
        if isinstance(event, RunFinished):
            self._file.close()

    def _take_output(self, event: OutputReceived) -> None:
        self._room -= len(event.line)
        if self._room >= 0:
            self._write(event)
            return
        last = self._waiting.setdefault((event.phase, event.host), deque())
        last.append(event)
        if len(last) > TAIL_LINES:
            last.popleft()
            key = event.phase, event.host
            self._left_out[key] = self._left_out.get(key, 0) + 1

    def _write_waiting(self, phase: str, host: str) -> None:
        last = self._waiting.pop((phase, host), None)
        if not last:
            return
        if count := self._left_out.pop((phase, host), 0):
            words = f"… {count} lines were left out here; the log has them"
            self._write(OutputReceived(phase=last[0].phase, host=host, line=words, at=last[0].at))
        for event in last:
            self._write(event)

    def _write(self, event: Event) -> None:
        kind = type(event).__name__
        version = {"format": FORMAT} if isinstance(event, RunStarted) else {}
        values = {"event": kind, **version, **_plain_fields(event)}
        self._file.write(json.dumps(values, separators=(",", ":"), allow_nan=False) + "\n")


def _plain_fields(value: Any) -> dict[str, Any]:
    return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}


def _plain(value: object) -> Any:
    """Return what JSON can hold of a value; a number that is none becomes null."""
    match value:
        case Enum():
            return value.value
        case str():
            return value if len(value) <= LONGEST_TEXT else value[: LONGEST_TEXT - 1] + "…"
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case datetime():
            return value.isoformat()
        case PurePath():
            return str(value)
        case Mapping():
            return {str(key): _plain(inside) for key, inside in value.items()}
        case tuple() | list() | set() | frozenset():
            return [_plain(inside) for inside in value]
    if is_dataclass(value):
        return _plain_fields(value)
    return _plain(str(value))
