"""Canary against baseline in the report: what the analyses of a rollout found, look by look.

Pure. It reads the verdicts as they stand in the stream of a run, and takes nothing for granted: a
stream may be of another version, and what it does not say is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aideploy.report.safe_text import first_line

EVENT = "Analysed"

_TOP, _BOTTOM = 6.0, 58.0


@dataclass(frozen=True)
class Look:
    """One look at one analysis: numbers of both arms, where there are any."""

    at: datetime | None
    verdict: str
    why: str
    canary: float | None
    baseline: float | None


@dataclass(frozen=True)
class Dot:
    """A point of a chart: percent from the left, pixels from the top; `kind` is a class."""

    x: float
    y: float
    kind: str


@dataclass(frozen=True)
class Analysis:
    """All looks of one analysis, oldest first."""

    name: str
    looks: tuple[Look, ...]
    queries: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The last one."""
        return self.looks[-1].verdict

    @property
    def why(self) -> str:
        """The reason of the last one."""
        return self.looks[-1].why

    @property
    def chart(self) -> tuple[Dot, ...]:
        """The numbers of both arms, each look a step to the right; nothing without numbers."""
        numbers = [n for look in self.looks for n in (look.canary, look.baseline) if n is not None]
        if not numbers:
            return ()
        low, high = min(0.0, *numbers), max(numbers)
        span = (high - low) or 1.0
        dots = []
        for index, look in enumerate(self.looks):
            x = round(100 * (index + 0.5) / len(self.looks), 2)
            for kind, value in (("baseline", look.baseline), ("canary", look.canary)):
                if value is not None:
                    y = round(_BOTTOM - (_BOTTOM - _TOP) * (value - low) / span, 1)
                    dots.append(Dot(x, y, kind))
        return tuple(dots)

    @property
    def scale(self) -> tuple[str, str]:
        """The numbers at the bottom and the top of the chart."""
        numbers = [n for look in self.looks for n in (look.canary, look.baseline) if n is not None]
        return (f"{min(0.0, *numbers):.4g}", f"{max(numbers):.4g}") if numbers else ("", "")


def analyses(events: Iterable[Mapping[str, Any]]) -> tuple[Analysis, ...]:
    """Return what was analysed, from the plain values of the events of the kind `EVENT`."""
    looks: dict[str, list[tuple[object, Look]]] = {}
    queries: dict[str, tuple[str, ...]] = {}
    for event in events:
        findings = _mapping(event.get("findings"))
        watched = findings.get("what")
        for one in map(_mapping, _list(findings.get("found"))):
            name = _name(one)
            some = looks.setdefault(name, [])
            # What came of a watch is its last look, said once more.
            if event.get("final") and some and some[-1][0] == watched:
                some.pop()
            some.append((watched, _look(event.get("at"), one)))
            queries[name] = tuple(_queries(one.get("asked"))) or queries.get(name, ())
    return tuple(
        Analysis(name, tuple(look for _, look in some), queries[name])
        for name, some in looks.items()
    )


def kept_analyses(document: bytes) -> tuple[Analysis, ...]:
    """Return what a host keeps of the analyses of a release: what came of each watch."""
    try:
        watches = _list(_mapping(json.loads(document)).get("watches"))
    except (ValueError, RecursionError):
        return ()
    return analyses(
        {
            "at": watch.get("until"),
            "findings": {
                "what": watch.get("watched"),
                "found": [
                    {**_mapping(one), "asked": _mapping(one).get("queries")}
                    for one in _list(watch.get("checks"))
                ],
            },
        }
        for watch in map(_mapping, watches)
    )


def _name(values: Mapping[str, Any]) -> str:
    name = first_line(str(values.get("name") or "analysis"))
    return f"{name} (only shown)" if values.get("dry_run") else name


def _look(at: object, values: Mapping[str, Any]) -> Look:
    return Look(
        at=_moment(at),
        verdict=first_line(str(values.get("verdict") or "")),
        why=first_line(str(values.get("why") or "")),
        canary=_number(values.get("canary")),
        baseline=_number(values.get("baseline")),
    )


def _queries(asked: object) -> Iterable[str]:
    for one in _list(asked):
        query = one if isinstance(one, str) else _mapping(one).get("query")
        if query:
            yield first_line(str(query))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _moment(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
