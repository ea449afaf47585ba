"""Where the numbers of the live analysis come from: a Prometheus, or what stands for one.

Pure: what is asked for, and the shape of an answer. `aideploy.monitoring.windows` asks a real one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class NoAnswer(Exception):
    """Prometheus did not say what was asked for; the text says what it did say."""


@dataclass(frozen=True)
class Series:
    """One series of an answer.

    Args:
        labels: of the series.
        values: by the number of the window, from 0; a window without a value is left out.
    """

    labels: Mapping[str, str]
    values: Mapping[int, float]


class Source(Protocol):
    """Where the numbers come from: Prometheus."""

    def windows(self, query: str, end: float, step: float, count: int) -> Sequence[Series]:
        """Evaluate a query at `count` moments, `step` seconds apart, the last one at `end`.

        Raises:
            NoAnswer: it refuses the query, cannot be reached, or takes too long.
        """
        ...


def filled_in(template: str, selector: str, length: float) -> str:
    """Return the query of a template for one side, over so many seconds."""
    return template.replace("$SELECTOR", selector).replace("$RANGE", promql_duration(length))


def promql_duration(seconds: float) -> str:
    """Return a length of time as PromQL writes it."""
    milliseconds = round(seconds * 1000)
    if milliseconds % 1000 == 0:
        return f"{milliseconds // 1000}s"
    return f"{milliseconds}ms"
