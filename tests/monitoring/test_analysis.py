"""The simulated Prometheus of the benchmark says what a real one says of the same scrapes.

What the benchmark tells of false alarms and misses stands on that.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from aideploy.analysis.arms import arms
from aideploy.analysis.findings import Verdict
from aideploy.analysis.jury import Jury
from aideploy.analysis.source import Series
from aideploy.monitoring.prometheus_api import Prometheus
from aideploy.monitoring.windows import PrometheusWindows
from aideploy.settings.monitoring import PrometheusServer as Access
from benchmarks.analysis import HOSTS, USUAL, all_cases
from benchmarks.simulated_prometheus import Behaviour, Traffic, World, worse
from tests.prometheus import PrometheusServer

SINCE = 600.0
COUNTED = frozenset(
    f"{side}_{what}"
    for side in ("canary", "baseline")
    for what in ("bad", "requests", "predictions")
) | {"times_slower", "stability_index", "value"}


class Shifted:
    """A Prometheus whose time begins at another moment."""

    def __init__(self, source: PrometheusWindows, begun: float) -> None:
        self._source = source
        self._begun = begun

    def windows(self, query: str, end: float, step: float, count: int) -> Sequence[Series]:
        return self._source.windows(query, end + self._begun, step, count)


@pytest.mark.parametrize(
    ("new", "traffic", "verdict"),
    [
        (USUAL, Traffic(), Verdict.PASS),
        (worse(USUAL, errors=0.03), Traffic(), Verdict.FAIL),
        (worse(USUAL, seconds=0.03), Traffic(bursts=True), Verdict.FAIL),
        (worse(USUAL, prediction=-2.0), Traffic(), Verdict.FAIL),
        (USUAL, Traffic(rate=0.4), Verdict.INCONCLUSIVE),
    ],
)
def test_a_real_prometheus_judges_as_the_simulated_one(
    tmp_path: Path, new: Behaviour, traffic: Traffic, verdict: Verdict
) -> None:
    switched = dict.fromkeys(HOSTS, math.inf) | {HOSTS[0]: SINCE}
    world = World(traffic, USUAL, new, switched, seconds=780, seed=7)
    begun = float(int(time.time()) - 3600)
    server = PrometheusServer(tmp_path)
    # Not on the edge of a window, where a millisecond decides which one a scrape belongs to.
    server.blocks(world.openmetrics(begun - 0.3))
    both = arms("ranker", "production", HOSTS[:1], HOSTS[1:], since=SINCE, begun=SINCE)
    simulated, real = (Jury(all_cases(), both, "the canary") for _ in range(2))
    with server, Prometheus(Access(url=server.url), {}, tmp_path) as client:
        source = Shifted(PrometheusWindows(client), begun)
        for look in range(1, 5):
            for case in all_cases():
                expected = simulated.look(case, world, SINCE + 30 * look)
                found = real.look(case, source, SINCE + 30 * look)
                assert found.verdict is expected.verdict
                for name in COUNTED & expected.numbers.keys():
                    assert found.numbers[name] == pytest.approx(
                        expected.numbers[name], rel=0.02, abs=0.5
                    )
    assert real.findings.verdict is verdict
