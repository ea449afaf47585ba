"""The metrics of a record as a list of numbers: of all rows, then of each slice. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aideploy.gates.metrics import SLICES


@dataclass(frozen=True)
class Measured:
    """One metric; without a slice, of all rows."""

    name: str
    slice: str | None
    value: float


def measured(metrics: Mapping[str, Any]) -> tuple[Measured, ...]:
    """Return what is a number in the metrics of a training, in its order."""
    slices = metrics.get(SLICES)
    of_slices = slices.items() if isinstance(slices, Mapping) else ()
    return (
        *_numbers(metrics, None),
        *(one for name, inside in of_slices for one in _numbers(inside, str(name))),
    )


def _numbers(values: object, slice_name: str | None) -> Iterator[Measured]:
    for name, value in values.items() if isinstance(values, Mapping) else ():
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                yield Measured(str(name), slice_name, float(value))
            except OverflowError:
                continue
