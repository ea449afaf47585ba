"""The file of metrics that a training writes: read strictly, and what of it may be kept.

One shape: an object with a number for each metric, and under "slices" an object for each slice with
the same inside. Pure; what stands in the file was written by somebody else's program, and nothing
here trusts it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

SLICES = "slices"
_NAMED = 8
_LONGEST_ECHO = 40


class NoMetrics(ValueError):
    """The file as a whole cannot be used; the text says why."""


class NoNumber(ValueError):
    """A metric cannot be used; the text says why."""


def parse(data: bytes) -> dict[str, Any]:
    """Read the file. NaN and the infinities are taken as numbers: `number` refuses them by name.

    Raises:
        NoMetrics: it is no JSON object, or says the same name twice.
    """
    if not data.strip():
        raise NoMetrics("is empty")
    try:
        metrics = json.loads(data, object_pairs_hook=_object)
    except NoMetrics:
        raise
    except (ValueError, RecursionError) as error:
        raise NoMetrics(f"is not JSON: {error}") from None
    if not isinstance(metrics, dict):
        raise NoMetrics(f"holds {_kind(metrics)}, not an object with names and numbers")
    return metrics


def number(metrics: Mapping[str, Any], metric: str, slice_name: str | None) -> float:
    """Return a metric of a slice, or of all rows where no slice is named.

    Raises:
        NoNumber: it is not there, or is no finite number.
    """
    place: object = metrics
    if slice_name is not None:
        slices = metrics.get(SLICES)
        if not isinstance(slices, Mapping):
            raise NoNumber(f'there are no slices: "{SLICES}" is {_kind(slices)}')
        if slice_name not in slices:
            raise NoNumber(f"there is no such slice; {_hint(slice_name, slices)}")
        place = slices[slice_name]
    if not isinstance(place, Mapping):
        raise NoNumber(f"the slice holds {_kind(place)}, not an object with names and numbers")
    if metric not in place:
        names = [name for name in place if place is not metrics or name != SLICES]
        raise NoNumber(f"there is no such metric; {_hint(metric, names)}")
    return _number(place[metric])


def kept(metrics: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what JSON can hold, and the dotted names of what it cannot: NaN and the infinities."""
    lost: list[str] = []
    return _without(metrics, (), lost), tuple(lost)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            # Which of the two is meant nobody can say.
            raise NoMetrics(f"says {_short(name)!r} twice")
        found[name] = value
    return found


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NoNumber(f"it is {_kind(value)}, not a number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if math.isnan(found):
        raise NoNumber("it is NaN")
    if math.isinf(found):
        raise NoNumber("it is infinite")
    return found


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f"the text {_short(value)!r}"
        case int() | float():
            return "a number"
        case Mapping():
            return "an object"
        case _:
            return "a list"


def _hint(wanted: str, names: Iterator[str] | Sequence[str] | Mapping[str, Any]) -> str:
    known = list(names)
    if near := get_close_matches(wanted, known, n=1):
        return f"did you mean {_short(near[0])}?"
    if not known:
        return "there are none at all"
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return f"there are {', '.join(map(_short, known[:_NAMED]))}{more}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_ECHO else f"{text[:_LONGEST_ECHO]}…"


def _without(values: Mapping[str, Any], path: tuple[str, ...], lost: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found[name] = _without(value, (*path, name), lost)
        elif _is_json(value):
            found[name] = value
        else:
            lost.append(".".join((*path, name)))
    return found


def _is_json(value: object) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case list():
            return all(map(_is_json, value))
        case dict():
            return all(map(_is_json, value.values()))
    return True
