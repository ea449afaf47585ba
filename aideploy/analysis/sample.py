"""What one check is judged by: numbers of both sides, window by window. Pure data."""

from __future__ import annotations

from dataclasses import dataclass

from aideploy.analysis.findings import Asked

Windows = tuple[tuple[float, ...], ...]
"""For each window the counts of its categories."""


@dataclass(frozen=True)
class Sample:
    """What one check is judged by.

    Args:
        canary, baseline: the counts of each window, by category: bad and good, or by bucket; of a
            value the one number of the window, or of each group of hosts that was asked for.
        usual: windows of the baseline that tell how much its counts vary.
        edges: the upper bounds of the buckets, where the categories are some; of a quantile the
            largest one.
        sums: of both sides, the sum of what was put into buckets; None where nobody knows.
        requests: how many there were on both sides; None where nobody knows.
        opposed: whether there is a baseline at all.
        asked: the queries.
    """

    canary: Windows
    baseline: Windows = ()
    usual: Windows = ()
    edges: tuple[float, ...] = ()
    sums: tuple[float, float] | None = None
    requests: tuple[float, float] | None = None
    opposed: bool = True
    asked: tuple[Asked, ...] = ()
