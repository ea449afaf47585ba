"""Reads the stream of a run from its file: events again, as they were published.

A run that was killed left a file without an end; a disk that was full, a line without one. What can
be read is read, and it is counted what cannot: a later version may know more kinds of events.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation

from aideploy import events
from aideploy.errors import UsageError
from aideploy.events import Evaluated, Event, RunStarted
from aideploy.gates.model import Evaluation

_LONGEST_LINE = 4_000_000
_MOST_LINES = 2_000_000


@dataclass(frozen=True)
class Unknown:
    """An event of a kind that this version has no type for, as it stands in the file."""

    kind: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Stream:
    """What a file holds.

    Args:
        path: the file.
        events: in their order.
        unknown: those that have no type here.
        unreadable: how many lines say nothing.
    """

    path: Path
    events: tuple[Event, ...]
    unknown: tuple[Unknown, ...] = ()
    unreadable: int = 0

    @property
    def started(self) -> RunStarted | None:
        """Who began what."""
        return next((one for one in self.events if isinstance(one, RunStarted)), None)


def read_stream(path: Path) -> Stream:
    """Read a whole file.

    Raises:
        UsageError: it cannot be read.
    """
    known: list[Event] = []
    unknown: list[Unknown] = []
    unreadable = 0
    try:
        for one in _read(path):
            if isinstance(one, Event):
                known.append(one)
            elif isinstance(one, Unknown):
                unknown.append(one)
            else:
                unreadable += 1
    except OSError as error:
        raise UsageError(f"{path} cannot be read", why=error.strerror or str(error)) from None
    return Stream(path, tuple(known), tuple(unknown), unreadable)


def read_beginning(path: Path, kinds: tuple[type[Event], ...]) -> Iterator[Event]:
    """Yield the events of these kinds, without taking the trouble to understand the others."""
    marks = tuple(f'{{"event":"{kind.__name__}"'.encode() for kind in kinds)
    try:
        for line in _lines(path):
            if line.startswith(marks) and isinstance(found := _event(line), Event):
                yield found
    except OSError:
        return


def _read(path: Path) -> Iterator[Event | Unknown | None]:
    for line in _lines(path):
        yield _event(line)


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for _ in range(_MOST_LINES):
            line = file.readline(_LONGEST_LINE)
            if not line:
                return
            yield line


def _event(line: bytes) -> Event | Unknown | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kind = values.pop("event", None) if isinstance(values, dict) else None
    if not isinstance(kind, str):
        return None
    adapter = _adapter(kind)
    if adapter is None:
        return Unknown(kind, values)
    try:
        if kind == Evaluated.__name__:
            values["evaluation"] = _adapter_of(Evaluation).validate_python(values["evaluation"])
        else:
            values.pop("format", None)
        found: Event = adapter.validate_python(values)
    except (ValidationError, KeyError, TypeError, RecursionError):
        return None
    return found


@cache
def _adapter(kind: str) -> TypeAdapter[Any] | None:
    found = getattr(events, kind, None)
    if not (isinstance(found, type) and issubclass(found, Event)):
        return None
    try:
        # A type whose parts only other modules know stays a plain object.
        adapter = TypeAdapter(found)
        adapter.rebuild(_types_namespace={"Evaluation": Evaluation}, raise_errors=False)
    except PydanticUndefinedAnnotation:
        return None
    return adapter if adapter.pydantic_complete else None


@cache
def _adapter_of(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
