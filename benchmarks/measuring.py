"""What is measured, kept as numbers: seconds of each round, their median, and what was promised.

Pure. Made by the measurements, read by `table`.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from enum import StrEnum


class Mark(StrEnum):
    """Whether a promise was kept."""

    KEPT = "pass"
    BROKEN = "FAIL"
    NONE = ""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
        who: what was measured.
        rounds: what each round took, in `unit`.
        ratio: to the first row of the table, or None.
        note: counts, and what else there is to say.
        promise: the limit in words; empty where nothing is promised.
        mark: whether it was kept.
    """

    who: str
    rounds: tuple[float, ...]
    ratio: float | None = None
    note: str = ""
    promise: str = ""
    mark: Mark = Mark.NONE
    unit: str = "s"

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


@dataclass(frozen=True)
class Table:
    """The rows of one cell, in the order they were measured in."""

    title: str
    rows: tuple[Row, ...]


def mark(kept: bool) -> Mark:
    """Return the mark of a promise that was made."""
    return Mark.KEPT if kept else Mark.BROKEN
