"""One check, judged: a sample in, a finding out.

Pure. Used by `jury`, which looks again and again; what is said here is of one look. A look fails
only if the difference is no chance (at a level that is divided over all looks and checks), is
large enough to matter, and the newest window shows it as well: what came and went is over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from aideploy.analysis.findings import Verdict
from aideploy.analysis.sample import Sample, Windows
from aideploy.analysis.statistics import design_effect, fisher_greater, greater, stability
from aideploy.settings.analysis import Analysis, Kind, Signal, Worse

_MARGIN_OF_ERRORS = 0.005
_MARGIN_OF_SLOW = 0.05
_SLOWER = 1.25
_MARGIN_OF_MEDIANS = 0.1
_CLES = 0.65
_STABILITY = 0.2
_LEAST_WINDOWS = 20
_CONFIDENT_WINDOWS = 50
# Which part of the baseline's requests is slow, as near as its buckets allow.
_SLOW = 0.25


@dataclass(frozen=True)
class Look:
    """What one look at one check says."""

    verdict: Verdict
    why: str
    canary: float | None = None
    baseline: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)


def judge(check: Analysis, sample: Sample, alpha: float) -> Look:
    """Judge one check.

    Args:
        check: what is asked for, and its limits.
        sample: what Prometheus said.
        alpha: how likely this one look may fail where nothing is different.
    """
    match check.kind:
        case Kind.SLO:
            return _slo(check, sample)
        case Kind.DISTRIBUTION:
            return _distribution(check, sample, alpha)
        case _ if not sample.opposed:
            return Look(Verdict.PASS, "there is nothing to compare with yet")
        case Kind.DRIFT:
            return _drift(check, sample, alpha)
        case Kind.RATIO if check.judged is Signal.LATENCY:
            return _slower(check, sample, alpha)
        case _:
            return _ratio(check, sample, alpha)


def _slo(check: Analysis, sample: Sample) -> Look:
    if sample.requests is None:
        bad, good = _totals(sample.canary)
        total, values = bad + good, [bad / (bad + good) if bad + good else 0.0]
    else:
        # One of each group of hosts, as they are asked for in groups: the worst of them counts.
        total, values = sample.requests[0], [group[0] for group in sample.canary]
    odd = next((value for value in values if not math.isfinite(value)), None)
    low, high = min(values), max(values)
    if few := _too_few(check, total):
        # Of no requests there is no latency: that is no error.
        return _limited(Verdict.INCONCLUSIVE, few, high if odd is None else None, total)
    if odd is not None:
        return _limited(Verdict.ERROR, f"{odd} instead of a number", None, total)
    limits = check.limits
    if limits.max is not None and high > limits.max:
        return _limited(Verdict.FAIL, f"{high:.4g} is above {limits.max:g}", high, total)
    if limits.max is not None and sample.edges and _reaches(high, sample.edges[0]):
        # What lies beyond the largest bucket Prometheus calls by its bound.
        why = f"it is above {sample.edges[0]:g}, where the histogram ends"
        if _reaches(sample.edges[0], limits.max):
            return _limited(Verdict.FAIL, why, high, total)
        why += f": whether it is above {limits.max:g} nobody can tell"
        return _limited(Verdict.ERROR, why, high, total)
    if limits.min is not None and low < limits.min:
        return _limited(Verdict.FAIL, f"{low:.4g} is below {limits.min:g}", low, total)
    return _limited(Verdict.PASS, f"{high:.4g} of {total:.0f} requests", high, total)


def _reaches(value: float, bound: float) -> bool:
    return value >= bound or math.isclose(value, bound)


def _limited(verdict: Verdict, why: str, value: float | None, requests: float) -> Look:
    numbers = {"requests": requests} | ({} if value is None else {"value": value})
    return Look(verdict, why, value, numbers=numbers)


def _ratio(check: Analysis, sample: Sample, alpha: float) -> Look:
    margin = _or(check.limits.margin, _MARGIN_OF_ERRORS)
    return _shares(check, sample.canary, sample.baseline, sample.usual, alpha, margin, "bad")


def _slower(check: Analysis, sample: Sample, alpha: float) -> Look:
    """Compare the shares of requests beyond one bucket, and the means."""
    edge = _divide(sample)
    canary, baseline, usual = (
        tuple((sum(window[edge + 1 :]), sum(window[: edge + 1])) for window in windows)
        for windows in (sample.canary, sample.baseline, sample.usual)
    )
    margin = _or(check.limits.margin, _MARGIN_OF_SLOW)
    words = f"slower than {sample.edges[edge]:g}"
    look = _shares(check, canary, baseline, usual, alpha, margin, words)
    new, old = _mean(sample.canary, sample, 0), _mean(sample.baseline, sample, 1)
    if new is None or old is None or old <= 0:
        return look
    times = new / old
    numbers = {**look.numbers, "edge": sample.edges[edge], "times_slower": times}
    effect = _or(check.limits.effect, _SLOWER)
    if look.verdict is Verdict.FAIL and times < effect:
        why = f"{look.why}; but the mean is only {times:.2f} times as long, less than {effect:g}"
        return Look(Verdict.PASS, why, look.canary, look.baseline, numbers)
    why = look.why
    if look.verdict is not Verdict.INCONCLUSIVE:
        why += f"; the mean is {times:.2f} times as long"
    return Look(look.verdict, why, look.canary, look.baseline, numbers)


def _shares(
    check: Analysis,
    canary: Windows,
    baseline: Windows,
    usual: Windows,
    alpha: float,
    margin: float,
    words: str,
) -> Look:
    """Compare the shares of bad ones by Fisher's exact test."""
    (bad, good), (bad_before, good_before) = _totals(canary), _totals(baseline)
    total, before = bad + good, bad_before + good_before
    numbers = {
        "canary_bad": bad,
        "canary_requests": total,
        "baseline_bad": bad_before,
        "baseline_requests": before,
    }
    new = bad / total if total else None
    old = bad_before / before if before else None
    if few := _too_few(check, total) or _too_few(check, before, " with the old release"):
        return Look(Verdict.INCONCLUSIVE, few, new, old, numbers)
    assert new is not None
    assert old is not None
    bursts = design_effect(usual)
    p = fisher_greater(bad / bursts, total / bursts, bad_before / bursts, before / bursts)
    latest = _latest(canary)
    numbers |= {
        "difference": new - old,
        "margin": margin,
        "p": p,
        "alpha": alpha,
        "design_effect": bursts,
        "latest_window": latest,
    }
    shown = (
        f"{new:.2%} {words} ({bad:.0f} of {total:.0f}) against {old:.2%} "
        f"({bad_before:.0f} of {before:.0f})"
    )
    if p >= alpha or new - old < margin:
        return Look(Verdict.PASS, shown, new, old, numbers)
    if latest - old < margin:
        return Look(Verdict.PASS, f"{shown}, which is over", new, old, numbers)
    why = f"{shown}: more by {new - old:.2%}, p = {p:.2g} below {alpha:.2g}"
    return Look(Verdict.FAIL, why, new, old, numbers)


def _drift(check: Analysis, sample: Sample, alpha: float) -> Look:
    canary, baseline = _totals(sample.canary), _totals(sample.baseline)
    new, old = sum(canary), sum(baseline)
    clusters = design_effect(sample.usual)
    numbers = {
        "canary_predictions": new,
        "baseline_predictions": old,
        "design_effect": clusters,
    }
    # Of few that come together it is not known what chance alone does.
    what = "predictions" if clusters == 1 else "independent predictions"
    few = _too_few(check, new / clusters, what=what) or _too_few(
        check, old / clusters, " of the old release", what=what
    )
    if few:
        return Look(Verdict.INCONCLUSIVE, few, numbers=numbers)
    limit = _or(check.limits.max, _STABILITY)
    found = stability(canary, baseline, alpha, clusters)
    numbers |= {
        "stability_index": found.index,
        "limit": limit,
        "noise": found.noise,
        "alpha": alpha,
    }
    shown = f"stability index {found.index:.3f} over {new:.0f} and {old:.0f} predictions"
    if found.index < limit:
        return Look(Verdict.PASS, shown, found.index, None, numbers)
    if found.index < found.noise:
        why = f"{shown}: above {limit:g}, but chance alone reaches {found.noise:.3f}"
        return Look(Verdict.INCONCLUSIVE, why, found.index, None, numbers)
    return Look(Verdict.FAIL, f"{shown}: above {limit:g}", found.index, None, numbers)


def _distribution(check: Analysis, sample: Sample, alpha: float) -> Look:
    canary = [window[0] for window in sample.canary]
    baseline = [window[0] for window in sample.baseline]
    if not sample.opposed:
        return Look(Verdict.PASS, "there is nothing to compare with yet")
    numbers = {"canary_windows": float(len(canary)), "baseline_windows": float(len(baseline))}
    if sample.requests is not None:
        new, old = sample.requests
        numbers |= {"canary_requests": new, "baseline_requests": old}
        few = _too_few(check, new) or _too_few(check, old, " with the old release")
        if few:
            return Look(Verdict.INCONCLUSIVE, few, numbers=numbers)
    least = min(len(canary), len(baseline))
    if least < _LEAST_WINDOWS:
        why = f"{least} windows with a value on a side, {_LEAST_WINDOWS} are needed"
        return Look(Verdict.INCONCLUSIVE, why, numbers=numbers)
    middle, before = median(canary), median(baseline)
    ways = [greater(canary, baseline)] if check.worse is not Worse.LOWER else []
    if check.worse is not Worse.HIGHER:
        ways.append(greater(baseline, canary))
    shift = min(ways, key=lambda way: way.p)
    change = _change(middle, before)
    p = min(shift.p * len(ways), 1.0)
    margin, effect = _or(check.limits.margin, _MARGIN_OF_MEDIANS), _or(check.limits.effect, _CLES)
    numbers |= {"p": p, "alpha": alpha, "effect": shift.effect, "median_change": change}
    sparse = "; fewer than 50 windows: low confidence" if least < _CONFIDENT_WINDOWS else ""
    shown = f"median {middle:.4g} against {before:.4g} in {least} windows or more"
    if p < alpha and shift.effect >= effect and abs(change) >= margin:
        why = f"{shown}: p = {p:.2g} below {alpha:.2g}, the worse one in {shift.effect:.0%}"
        return Look(Verdict.FAIL, why + sparse, middle, before, numbers)
    return Look(Verdict.PASS, shown + sparse, middle, before, numbers)


def _totals(windows: Windows) -> tuple[float, ...]:
    if not windows:
        return (0.0, 0.0)
    return tuple(sum(column) for column in zip(*windows, strict=True))


def _latest(windows: Windows) -> float:
    """The share of bad ones in the newest window that has any requests."""
    bad, good = next(((b, g) for b, g in reversed(windows) if b + g > 0), (0.0, 1.0))
    return bad / (bad + good)


def _divide(sample: Sample) -> int:
    """Return the place of the bucket behind which a request of the baseline is a slow one."""
    counts = _totals(sample.baseline)
    total = sum(counts)
    if len(counts) != len(sample.edges) or not total:
        return 0
    beyond = [sum(counts[place + 1 :]) / total for place in range(len(counts) - 1)]
    return min(range(len(beyond)), key=lambda place: abs(beyond[place] - _SLOW))


def _mean(windows: Windows, sample: Sample, side: int) -> float | None:
    """Return the mean; without a sum, as if everything lay in the middle of its bucket."""
    counts = _totals(windows)
    total = sum(counts)
    if not total or len(counts) != len(sample.edges):
        return None
    if sample.sums is not None:
        return sample.sums[side] / total
    edges = [0.0, *sample.edges[:-1], sample.edges[-2]]
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    return sum(c * m for c, m in zip(counts, middles, strict=True)) / total


def _too_few(check: Analysis, found: float, where: str = "", what: str = "requests") -> str:
    if found >= check.min_requests:
        return ""
    return f"{found:.0f} {what}{where} so far, {check.min_requests} are needed"


def _change(new: float, old: float) -> float:
    if old == 0:
        return 0.0 if new == 0 else math.copysign(math.inf, new)
    return (new - old) / abs(old)


def _or(value: float | None, usual: float) -> float:
    return usual if value is None else value
