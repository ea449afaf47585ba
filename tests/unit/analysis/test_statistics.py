"""Promises of the statistics: as the literature has them, and quiet where nothing differs."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy.stats import fisher_exact, mannwhitneyu

from aideploy.analysis.statistics import design_effect, fisher_greater, greater, stability


@pytest.mark.parametrize("counts", [(3, 300, 1, 900), (0, 10, 0, 10), (30, 1000, 5, 1000)])
def test_the_tail_is_that_of_fishers_exact_test(counts: tuple[int, int, int, int]) -> None:
    bad, total, before, all_before = counts
    table = np.array([[bad, total - bad], [before, all_before - before]])
    expected = fisher_exact(table, alternative="greater").pvalue
    assert fisher_greater(*counts) == pytest.approx(expected)


def test_counts_that_came_by_chance_are_taken_for_what_they_are() -> None:
    chance = random.Random(1)
    windows = []
    for _ in range(60):
        bad = sum(chance.random() < 0.02 for _ in range(1000))
        windows.append((bad, 1000 - bad))
    assert design_effect(windows) < 1.5


def test_errors_that_come_in_bursts_count_for_less() -> None:
    # 20 of 1000 on average, all of them in one window of four.
    windows = [(80, 920) if place % 4 == 0 else (0, 1000) for place in range(12)]
    assert design_effect(windows) > 20


@pytest.mark.parametrize("windows", [[], [(0, 0)], [(1, 5)], [(0, 5), (0, 7)], [(0, 0), (0, 0)]])
def test_too_little_tells_nothing_of_bursts(windows: list[tuple[int, int]]) -> None:
    assert design_effect(windows) == 1


def test_the_noise_of_the_stability_index_is_what_small_samples_have() -> None:
    chance = random.Random(2)
    parts = [0.3, 0.25, 0.2, 0.15, 0.1]
    above = 0
    for _ in range(300):
        new, old = (
            [chance.choices(range(5), parts, k=400).count(bin_) for bin_ in range(5)]
            for _ in range(2)
        )
        found = stability(new, old, 0.05, 1)
        above += found.index > found.noise
    # 5 % of 300, and what chance allows.
    assert 3 <= above <= 30


def test_the_stability_index_of_a_known_shift() -> None:
    found = stability([50_000, 50_000], [25_000, 75_000], 0.01, 1)
    expected = 0.25 * math.log(0.5 / 0.25) + (0.5 - 0.75) * math.log(0.5 / 0.75)
    assert found.index == pytest.approx(expected, rel=1e-3)
    assert stability([5, 5], [5, 5], 0.01, 1).index == 0
    assert stability([9], [7], 0.01, 1).index == 0


def test_samples_are_compared_as_mann_and_whitney_do() -> None:
    new, old = [3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 3.0, 4.0]
    found = greater(new, old)
    assert found.p == pytest.approx(mannwhitneyu(new, old, alternative="greater").pvalue)
    # Of 16 pairs 13 are won, and two are ties.
    assert found.effect == 14 / 16


def test_values_that_are_all_the_same_say_nothing() -> None:
    assert greater([1.0] * 30, [1.0] * 30).p > 0.4
