"""The statistics of the live analysis, by scipy.

Pure: counts in, numbers out. Used by `judging` alone. scipy is imported by the functions that need
it: it takes its time, and a command without an analysis must not wait for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Counts = Sequence[float]


def fisher_greater(bad: float, total: float, bad_before: float, total_before: float) -> float:
    """Return how likely at least so many bad ones are if both sides are the same.

    Fisher's exact test, one-sided: the tail of the hypergeometric distribution. Counts that
    Prometheus made of scrapes are no whole numbers; they are rounded.
    """
    from scipy.stats import hypergeom

    hits, drawn = round(bad), round(total)
    all_hits, everything = hits + round(bad_before), drawn + round(total_before)
    return float(hypergeom.sf(hits - 1, everything, all_hits, drawn))


def design_effect(windows: Sequence[Counts]) -> float:
    """Return how many times more the counts vary from window to window than by chance; at least 1.

    What comes in bursts tells less than its number says: it is divided by this (the first-order
    correction of Rao and Scott, 1984): Pearson's statistic of homogeneity over its degrees of
    freedom.

    Args:
        windows: for each window the counts of its categories.
    """
    whole = [sum(column) for column in zip(*windows, strict=True)]
    everything = sum(whole)
    used = [window for window in windows if sum(window) > 0]
    categories = [place for place, count in enumerate(whole) if count > 0]
    freedom = (len(used) - 1) * (len(categories) - 1)
    if freedom < 1:
        return 1.0
    statistic = 0.0
    for window in used:
        size = sum(window)
        for place in categories:
            expected = size * whole[place] / everything
            statistic += (window[place] - expected) ** 2 / expected
    return max(1.0, statistic / freedom)


@dataclass(frozen=True)
class Stability:
    """The population stability index of two histograms.

    Args:
        index: the sum over all bins of (p - q) ln(p / q).
        noise: what it stays below by chance, for samples of this size, as likely as was asked.
    """

    index: float
    noise: float


def stability(canary: Counts, baseline: Counts, alpha: float, effect: float) -> Stability:
    """Compare two histograms by the population stability index.

    With samples of n and m from the same distribution of B bins the index is about
    (1/n + 1/m) times a chi-square of B - 1 degrees of freedom (Yurdakul 2018, "Statistical
    properties of population stability index"): small samples have a great one. Every bin counts
    half a hit more than it has, so that none is empty.

    Args:
        canary, baseline: the counts in each bin.
        alpha: how likely the index of two samples of the same may be above `noise`.
        effect: the design effect; see `design_effect`.
    """
    from scipy.stats import chi2

    pairs = [pair for pair in zip(canary, baseline, strict=True) if sum(pair) > 0]
    bins = len(pairs)
    if bins < 2:
        return Stability(0.0, 0.0)
    new, old = sum(canary), sum(baseline)
    index = 0.0
    for mine, theirs in pairs:
        p = (mine + 0.5) / (new + 0.5 * bins)
        q = (theirs + 0.5) / (old + 0.5 * bins)
        index += (p - q) * math.log(p / q)
    noise = float(chi2.isf(alpha, bins - 1)) * (1 / new + 1 / old) * effect
    return Stability(index, noise)


@dataclass(frozen=True)
class Shift:
    """How two samples lie to each other.

    Args:
        p: how likely this is if both are the same (Mann-Whitney, one-sided).
        effect: how often one of the first is greater than one of the second (ties half).
    """

    p: float
    effect: float


def greater(canary: Sequence[float], baseline: Sequence[float]) -> Shift:
    """Compare two samples by the Mann-Whitney test: is the first one greater?"""
    from scipy.stats import mannwhitneyu

    result = mannwhitneyu(canary, baseline, alternative="greater")
    p = float(result.pvalue)
    effect = float(result.statistic) / (len(canary) * len(baseline))
    # Where all values are the same nothing can be said.
    return Shift(1.0 if math.isnan(p) else p, effect)
