"""The model gate: the metrics of a new model against its limits and against the last good release.

Pure: gates, the file of metrics and the baseline in, an evaluation out. What it means follows the
Evaluator of TFX (tensorflow_model_analysis/evaluators/metrics_validator.py): bounds are
inclusive; what is missing fails; a relative limit over a baseline of about 0 fails; without a
baseline only the absolute limits judge, and the evaluation says so; without any limit nothing is
blessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aideploy.gates.metrics import NoMetrics, NoNumber, number, parse

if TYPE_CHECKING:
    from aideploy.settings.gate import Gate

# Below this a baseline is as good as 0, and a share of it means nothing.
_LEAST_BASELINE = 1e-9


class Limit(StrEnum):
    """The kinds of limits; each is a key of [[gate]]."""

    MIN = "min"
    MAX = "max"
    MAX_DROP = "max_drop"
    MAX_DROP_REL = "max_drop_rel"
    MAX_GAIN = "max_gain"


_ABSOLUTE = (Limit.MIN, Limit.MAX)


class RowVerdict(StrEnum):
    """What came of one limit."""

    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    UNOPPOSED = "unopposed"
    """There was nothing to compare with."""

    MISSING = "missing"
    """There is no such number, which refuses the model as a failure does."""


class Judgement(StrEnum):
    """What came of all limits together."""

    BLESSED = "blessed"
    REFUSED = "refused"
    UNJUDGED = "unjudged"
    """There are no limits."""


@dataclass(frozen=True)
class Baseline:
    """What a model is compared with: a release that was live and good, and its metrics."""

    release: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One limit and what came of it.

    Args:
        metric, slice: what is judged; without a slice, all rows.
        limit, bound: the kind of the limit and its number.
        greater_is_better: which way is worse.
        value, baseline: the metric now and in the baseline; None where there is no number.
        verdict: what came of it.
        reason: why, for people; empty when the limit holds.
    """

    metric: str
    slice: str | None
    limit: Limit
    bound: float
    greater_is_better: bool
    value: float | None
    baseline: float | None
    verdict: RowVerdict
    reason: str = ""

    @property
    def holds(self) -> bool:
        """Whether it does not speak against the model."""
        return self.verdict in (RowVerdict.PASS, RowVerdict.UNOPPOSED)

    @property
    def judged(self) -> str:
        """What is judged, in words."""
        return self.metric if self.slice is None else f"{self.metric} of {self.slice}"

    @property
    def limit_in_words(self) -> str:
        """The limit as a person would say it."""
        match self.limit:
            case Limit.MIN:
                return f"at least {self.bound:g}"
            case Limit.MAX:
                return f"at most {self.bound:g}"
            case Limit.MAX_DROP:
                return f"worse by at most {self.bound:g}"
            case Limit.MAX_DROP_REL:
                return f"worse by at most {100 * self.bound:g} %"
            case Limit.MAX_GAIN:
                return f"better by at most {self.bound:g}"


@dataclass(frozen=True)
class Evaluation:
    """The verdict on a model.

    Args:
        judgement: blessed, refused, or unjudged without any limit.
        rows: one for each limit.
        baseline: the release that it was compared with, if there was one.
        overridden_by: who lets it pass although it is not blessed; empty where nobody does.
    """

    judgement: Judgement
    rows: tuple[Row, ...] = ()
    baseline: str | None = None
    overridden_by: str = ""

    @property
    def blessed(self) -> bool:
        """Whether there are limits and all of them hold."""
        return self.judgement is Judgement.BLESSED

    @property
    def may_pass(self) -> bool:
        """Whether the model may go to the hosts that serve."""
        return self.blessed or bool(self.overridden_by)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What speaks against the model: each reason once, after what it is about."""
        about: dict[str, dict[str, None]] = {}
        for row in self.rows:
            if not row.holds:
                about.setdefault(row.reason, {})[row.judged] = None
        return tuple(f"{', '.join(judged)}: {reason}" for reason, judged in about.items())

    def __str__(self) -> str:
        """The verdict in a few words."""
        if self.judgement is Judgement.UNJUDGED:
            return "unjudged: there is no gate"
        broken = sum(not row.holds for row in self.rows)
        if broken:
            words = f"refused: {broken} of {_limits(len(self.rows))} broken"
            return f"{words}; overridden" if self.overridden_by else words
        if self.baseline is None:
            return f"blessed, unopposed: {_limits(len(self.rows))}"
        return f"blessed: {_limits(len(self.rows))}, against {self.baseline}"

    def record(self) -> dict[str, Any]:
        """Return it as release.json and `--json` have it; a promise to other programs."""
        return {
            "judgement": self.judgement.value,
            "blessed": self.blessed,
            "baseline": self.baseline,
            "overridden_by": self.overridden_by or None,
            "rows": [asdict(row) for row in self.rows],
        }


def evaluate(
    gates: Sequence[Gate],
    metrics: bytes | None,
    baseline: Baseline | None,
    *,
    file: str = "metrics.json",
) -> Evaluation:
    """Judge a model.

    Args:
        gates: the limits.
        metrics: what the training wrote; None where it wrote nothing.
        baseline: what to compare with; None for the first release.
        file: what the metrics are called, for people.
    """
    if not gates:
        return Evaluation(Judgement.UNJUDGED)
    try:
        found = _parsed(metrics, file)
    except NoMetrics as error:
        rows = tuple(_missing(gate, str(error)) for gate in gates)
    else:
        rows = tuple(_rows(gate, found, baseline) for gate in gates)
    flat = tuple(row for some in rows for row in some)
    judgement = Judgement.BLESSED if all(row.holds for row in flat) else Judgement.REFUSED
    return Evaluation(judgement, flat, baseline.release if baseline else None)


def _parsed(metrics: bytes | None, file: str) -> Mapping[str, Any]:
    if metrics is None:
        raise NoMetrics(f"the training wrote no {file}")
    try:
        return parse(metrics)
    except NoMetrics as error:
        raise NoMetrics(f"{file} {error}") from None


def _rows(gate: Gate, metrics: Mapping[str, Any], baseline: Baseline | None) -> tuple[Row, ...]:
    try:
        value = number(metrics, gate.metric, gate.slice)
    except NoNumber as error:
        return _missing(gate, str(error))
    before: float | None = None
    unopposed = "there is no good release to compare with yet"
    if baseline is not None:
        try:
            before = number(baseline.metrics, gate.metric, gate.slice)
        except NoNumber:
            unopposed = f"{baseline.release} has no such number"
    return tuple(
        _judged(gate, limit, bound, value, before, unopposed) for limit, bound in _bounds(gate)
    )


def _missing(gate: Gate, reason: str) -> tuple[Row, ...]:
    return tuple(
        _row(gate, limit, bound, None, None, RowVerdict.MISSING, reason)
        for limit, bound in _bounds(gate)
    )


def _bounds(gate: Gate) -> Iterator[tuple[Limit, float]]:
    for limit in Limit:
        bound: float | None = getattr(gate, limit)
        if bound is not None:
            yield limit, bound


def _judged(
    gate: Gate, limit: Limit, bound: float, value: float, before: float | None, unopposed: str
) -> Row:
    if limit in _ABSOLUTE:
        reason = _against_bound(limit, bound, value)
    elif before is None:
        return _row(gate, limit, bound, value, None, RowVerdict.UNOPPOSED, unopposed)
    else:
        reason = _against_baseline(gate, limit, bound, value, before)
    verdict = RowVerdict.FAIL if reason else RowVerdict.PASS
    return _row(gate, limit, bound, value, before, verdict, reason)


def _row(
    gate: Gate,
    limit: Limit,
    bound: float,
    value: float | None,
    before: float | None,
    verdict: RowVerdict,
    reason: str,
) -> Row:
    return Row(
        metric=gate.metric,
        slice=gate.slice,
        limit=limit,
        bound=bound,
        greater_is_better=gate.greater_is_better,
        value=value,
        baseline=before,
        verdict=verdict,
        reason=reason,
    )


def _against_bound(limit: Limit, bound: float, value: float) -> str:
    """Return why the limit does not hold; nothing when it does."""
    if limit is Limit.MIN and value < bound:
        return f"{value!r} is below {bound:g}"
    if limit is Limit.MAX and value > bound:
        return f"{value!r} is above {bound:g}"
    return ""


def _against_baseline(gate: Gate, limit: Limit, bound: float, value: float, before: float) -> str:
    """Return why the limit does not hold; nothing when it does.

    In decimal numbers, as they are written: in binary ones 0.76 - 0.75 is more than 0.01.
    """
    gain = Decimal(repr(value)) - Decimal(repr(before))
    if not gate.greater_is_better:
        gain = -gain
    allowed = Decimal(repr(bound))
    change = f"{value!r} after {before!r}"
    if limit is Limit.MAX_GAIN:
        if gain <= allowed:
            return ""
        return (
            f"{change} is better by {float(gain):.6g}; above {bound:g} that is too good to be true"
        )
    if limit is Limit.MAX_DROP:
        return (
            "" if -gain <= allowed else f"{change} is worse by {-float(gain):.6g}, above {bound:g}"
        )
    if abs(before) < _LEAST_BASELINE:
        return f"{change}: of a baseline of about 0 no share can be taken; use max_drop"
    whole = abs(Decimal(repr(before)))
    if -gain <= whole * allowed:
        return ""
    return f"{change} is worse by {-100 * float(gain / whole):.4g} %, above {100 * bound:g} %"


def _limits(count: int) -> str:
    return f"{count} limit" + "s" * (count != 1)
