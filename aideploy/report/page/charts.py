"""The geometry of the charts in the report. Pure: numbers in, numbers out; the template draws.

Positions from left to right are percentages, so that a chart is as wide as there is room and its
text stays as large as other text; those from top to bottom are pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aideploy.events import Outcome
from aideploy.gates.model import Limit, Row
from aideploy.report.page.told import PhaseTime
from aideploy.report.wording import duration

_LEAST_WIDTH = 0.4
_EACH_HOST = 10
_GROUPS = 12
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    x: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True)
class Bar:
    """A line from `x` to `x2` at the height `y`; `kind` is a class of the style."""

    x: float
    x2: float
    y: float
    width: float
    kind: str


def ticks(seconds: float) -> tuple[Tick, ...]:
    """Return the marks of a time axis that is so long: about four, at round numbers."""
    if not math.isfinite(seconds) or seconds <= 0:
        return (Tick(0.0, "0", "start"),)
    step: float = next((one for one in _STEPS if seconds / one <= 5), math.ceil(seconds / 4))
    if seconds < 1:
        step = 0.25
    marks = [Tick(0.0, "0", "start")]
    marks += [
        Tick(_percent(number * step, seconds), _short(number * step))
        for number in range(1, int(seconds / step) + 1)
    ]
    return tuple(
        Tick(mark.x, mark.text, "end") if mark.x > 96 else mark for mark in marks if mark.x <= 100
    )


def phase_bars(phase: PhaseTime, seconds: float) -> tuple[tuple[Bar, ...], float]:
    """Return the lines of a phase in a timeline of so many seconds, and the height they need.

    One line for each host; of a large fleet one for each twelfth, as long as its slowest host
    took. The hosts that failed stand together below the others.
    """
    spans = [
        (host.start, host.end, host.outcome) for host in sorted(phase.hosts, key=lambda h: h.end)
    ]
    well = [span for span in spans if span[2] is not Outcome.FAILED]
    failed = [span for span in spans if span[2] is Outcome.FAILED]
    if len(spans) > _EACH_HOST:
        well, failed = _grouped(well, len(spans)), _grouped(failed, len(spans))
    lines = [*well, *failed]
    if not lines:
        lines = [(phase.start, phase.end, phase.outcome or Outcome.CANCELLED)]
    each = 4.0 if len(lines) <= 4 else 2.0
    gap = 1.5 if len(lines) <= 4 else 0.0
    bars = []
    for number, (start, end, outcome) in enumerate(lines):
        x, x2 = _span(start, end, seconds)
        y = 2 + number * (each + gap) + each / 2
        bars.append(Bar(x, x2, round(y, 2), round(each, 2), outcome.value))
    return tuple(bars), round(4 + len(lines) * (each + gap), 1)


def _grouped(
    spans: Sequence[tuple[float, float, Outcome]], of: int
) -> list[tuple[float, float, Outcome]]:
    size = max(1, math.ceil(of / _GROUPS))
    groups = [spans[at : at + size] for at in range(0, len(spans), size)]
    return [
        (min(one[0] for one in group), max(one[1] for one in group), group[-1][2])
        for group in groups
    ]


@dataclass(frozen=True)
class Change:
    """How much a metric changed, as a line from the middle of a common scale; `kind` says whether
    that is good."""

    x: float
    x2: float
    kind: str


def change_bars(
    pairs: Sequence[tuple[float | None, float | None, bool | None]],
) -> tuple[tuple[Change | None, ...], float]:
    """Return the lines of several changes on one scale, and the share at its ends.

    Args:
        pairs: before, after, and whether more is better, where that is known.
    """
    shares = [_share(before, after) for before, after, _ in pairs]
    top = max((abs(one) for one in shares if one is not None), default=0.0) or 0.01
    return tuple(
        None if share is None else _change(share, top, greater)
        for share, (_, _, greater) in zip(shares, pairs, strict=True)
    ), top


def _share(before: float | None, after: float | None) -> float | None:
    if before is None or after is None or abs(before) < 1e-12:
        return None
    share = (after - before) / abs(before)
    return share if math.isfinite(share) else None


def _change(share: float, top: float, greater: bool | None) -> Change:
    kind = "even"
    if greater is not None and share:
        kind = "better" if (share > 0) is greater else "worse"
    end = 50 + 48 * share / top
    return Change(round(min(50.0, end), 2), round(max(50.0, end), 2), kind)


@dataclass(frozen=True)
class Bullet:
    """A value against its limit and its baseline: positions, and the part that is allowed."""

    value: float
    baseline: float | None
    bound: float
    allowed_from: float
    allowed_to: float


def bullet(row: Row) -> Bullet | None:
    """Return how a limit of the model gate and the numbers lie to each other."""
    bound = _bound(row)
    if bound is None or row.value is None:
        return None
    there = [one for one in (row.value, row.baseline, bound[0]) if one is not None]
    if not all(map(math.isfinite, there)):
        return None
    low, high = min(there), max(there)
    room = (high - low) * 0.3 or abs(high) * 0.1 or 1.0
    low, high = low - room, high + room
    if not math.isfinite(high - low):
        return None

    def at(number: float) -> float:
        return _percent(number - low, high - low)

    limit, upward = bound
    return Bullet(
        value=at(row.value),
        baseline=None if row.baseline is None else at(row.baseline),
        bound=at(limit),
        allowed_from=at(limit) if upward else 0.0,
        allowed_to=100.0 if upward else at(limit),
    )


def _bound(row: Row) -> tuple[float, bool] | None:
    """Return the number that must not be passed, and whether what lies above it is allowed."""
    worse = -1 if row.greater_is_better else 1
    if row.limit is Limit.MIN:
        return row.bound, True
    if row.limit is Limit.MAX:
        return row.bound, False
    if row.baseline is None:
        return None
    if row.limit is Limit.MAX_DROP:
        return row.baseline + worse * row.bound, row.greater_is_better
    if row.limit is Limit.MAX_DROP_REL:
        return row.baseline + worse * abs(row.baseline) * row.bound, row.greater_is_better
    return row.baseline - worse * row.bound, not row.greater_is_better


def _span(start: float, end: float, seconds: float) -> tuple[float, float]:
    x, x2 = _percent(start, seconds), _percent(end, seconds)
    if x2 - x < _LEAST_WIDTH:
        x = min(x, 100 - _LEAST_WIDTH)
        x2 = x + _LEAST_WIDTH
    return x, round(x2, 2)


def _percent(part: float, whole: float) -> float:
    if whole <= 0 or not math.isfinite(part):
        return 0.0
    return round(min(max(100 * part / whole, 0.0), 100.0), 2)


def _short(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds:g}s"
    if seconds < 60:
        return f"{seconds:g}s"
    if seconds < 3600:
        whole, rest = divmod(round(seconds), 60)
        return f"{whole}m" if not rest else f"{whole}m {rest:02d}s"
    text = duration(seconds)
    return text.removesuffix(" 00m")
