"""A simulated Prometheus for the benchmark of the analysis: services, traffic and scrapes.

It is handed to the real checks in place of the client and says so by its name. Requests arrive by
chance in ticks of five seconds, each host is scraped every 15 s at a moment of its own, and
`increase` is computed as Prometheus does, with its extrapolation, its resets and series that begin
with their first value. tests/monitoring/test_analysis.py compares it with a real one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from aideploy.analysis.source import Series

TICK = 5
SCRAPE = 15
LATENCY_EDGES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, math.inf)
PREDICTION_EDGES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 1.0)
# So many predictions has every request; those of one request are alike.
_PREDICTIONS = 10

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Behaviour:
    """How a release behaves.

    Args:
        errors: which part of the requests fails.
        seconds: the median time of a request.
        spread: the standard deviation of its logarithm.
        prediction: the median odds' logarithm of a prediction.
    """

    errors: float = 0.005
    seconds: float = 0.02
    spread: float = 0.5
    prediction: float = -3.0


@dataclass(frozen=True)
class Traffic:
    """How the requests come.

    Args:
        rate: requests a second, of all hosts together.
        bursts: whether for some of the time there are four times as many, which are slower.
        clusters: the intra-class correlation of errors within `TICK` seconds of a host.
        hosts: the standard deviation of how fast hosts are.
    """

    rate: float = 100.0
    bursts: bool = False
    clusters: float = 0.0
    hosts: float = 0.02


@dataclass
class World:
    """Hosts that serve, and what a Prometheus knows of them: a simulated one.

    Args:
        traffic: what comes.
        old, new: how the releases behave.
        switched: when each host switched to the new one; inf for those that have not.
        seconds: for how long there is anything.
        seed: of the chance.
    """

    traffic: Traffic
    old: Behaviour
    new: Behaviour
    switched: dict[str, float]
    seconds: int
    seed: int
    _scraped: dict[str, tuple[Numbers, dict[str, Numbers]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        chance = np.random.default_rng(self.seed)
        ticks = self.seconds // TICK
        load = np.ones(ticks)
        if self.traffic.bursts:
            # Bursts begin by chance and last half a minute on average.
            busy = False
            for tick in range(ticks):
                busy = chance.random() < (5 / 6 if busy else 1 / 24)
                load[tick] = 4.0 if busy else 0.4
        for host, switch in self.switched.items():
            self._scraped[host] = self._serve(chance, load, switch)

    def windows(self, query: str, end: float, step: float, count: int) -> Sequence[Series]:
        """Evaluate a query of the preset "generic"; see `aideploy.analysis.source.Source`."""
        hosts = re.search(r'host=~"([^"]*)"', query)
        length = re.search(r"\[(\d+)s\]", query)
        assert hosts
        assert length
        names = [name.replace("\\", "") for name in hosts[1].split("|")]
        ends = [end - step * (count - 1 - place) for place in range(count)]
        window = int(length[1])
        if "le)" in query:
            edges = PREDICTION_EDGES if "prediction_" in query else LATENCY_EDGES
            kind = "predictions" if "prediction_" in query else "latency"
            cumulated = self._increase(names, [kind], window, ends)
            shown = [*edges[:-1], math.inf]
            return [
                Series({"le": str(edge)}, _present(cumulated[:, place]))
                for place, edge in enumerate(shown)
            ]
        if "_sum" in query:
            kinds = ["seconds"]
        elif "code=~" in query:
            kinds = ["bad"]
        else:
            kinds = ["good", "bad"]
        values = _present(self._increase(names, kinds, window, ends)[:, 0])
        return [Series({}, values)] if values else []

    def openmetrics(self, begun: float) -> str:
        """Return what was scraped as OpenMetrics text, for a real Prometheus.

        Args:
            begun: the moment that is 0 here, in seconds since 1970.
        """
        lines = []
        for host, (moments, counters) in self._scraped.items():
            labels = f'app="ranker",env="production",host="{host}"'
            for name, values in counters.items():
                for place in range(values.shape[1]):
                    series = _openmetrics_name(name, place, labels)
                    lines += [
                        f"{series} {value:.6f} {begun + moment:.3f}"
                        for moment, value in zip(moments, values[:, place], strict=True)
                        if not math.isnan(value)
                    ]
        return "\n".join([*lines, "# EOF", ""])

    def _serve(
        self, chance: np.random.Generator, load: Numbers, switch: float
    ) -> tuple[Numbers, dict[str, Numbers]]:
        """Let one host answer; returns when it was scraped and what its counters said then."""
        ticks = len(load)
        speed = float(np.exp(chance.normal(0, self.traffic.hosts)))
        rate = self.traffic.rate / len(self.switched) * TICK
        asked = chance.poisson(rate * load)
        new = np.arange(ticks) * TICK >= switch
        share = np.where(new, self.new.errors, self.old.errors)
        if self.traffic.clusters:
            a = share * (1 / self.traffic.clusters - 1)
            share = chance.beta(a, (1 - share) * (1 / self.traffic.clusters - 1))
        bad = chance.binomial(asked, share)
        latency = np.zeros((ticks, len(LATENCY_EDGES)))
        predictions = np.zeros((ticks, len(PREDICTION_EDGES)))
        seconds = np.zeros(ticks)
        for is_new, how in ((False, self.old), (True, self.new)):
            for is_busy in (False, True):
                rows = (new == is_new) & ((load > 1) == is_busy)
                if not rows.any():
                    continue
                median = how.seconds * speed * (1.15 if is_busy else 1.0)
                latency[rows] = chance.multinomial(
                    asked[rows], _parts(LATENCY_EDGES, math.log(median), how.spread, np.log)
                )
                mean = median * math.exp(how.spread**2 / 2)
                deviation = mean * math.sqrt(math.exp(how.spread**2) - 1)
                noise = chance.normal(0, 1, rows.sum())
                seconds[rows] = asked[rows] * mean + np.sqrt(asked[rows]) * deviation * noise
                odds = _parts((*PREDICTION_EDGES[:-1], 1.0), how.prediction, 1.0, _logit)
                predictions[rows] = chance.multinomial(asked[rows], odds) * _PREDICTIONS
        counted = {
            "good": (asked - bad).astype(float)[:, None],
            "bad": bad.astype(float)[:, None],
            "latency": np.cumsum(latency, axis=1),
            "predictions": np.cumsum(predictions, axis=1),
            "seconds": np.maximum(seconds, 0)[:, None],
        }
        phase = int(chance.integers(0, SCRAPE // TICK)) * TICK
        moments = np.arange(phase + TICK, ticks * TICK, SCRAPE)
        return moments.astype(float), {
            name: _counter(values, moments, switch, name) for name, values in counted.items()
        }

    def _increase(
        self, hosts: Sequence[str], kinds: Sequence[str], window: int, ends: Sequence[float]
    ) -> Numbers:
        """The sum over all hosts; NaN where no series has two values in the window."""
        parts = []
        for host in hosts:
            moments, counters = self._scraped[host]
            for kind in kinds:
                values = counters[kind]
                parts.append(_increased(moments, values, np.array(ends) - window, np.array(ends)))
        whole = np.stack(parts)
        there = ~np.isnan(whole)
        total: Numbers = np.where(there, whole, 0.0).sum(axis=0)
        total[~there.any(axis=0)] = np.nan
        return total


def _counter(values: Numbers, moments: NDArray[np.int64], switch: float, name: str) -> Numbers:
    """What the counters of one host say at each scrape: from zero again after a switch."""
    place = moments // TICK - 1
    cumulated = np.cumsum(values, axis=0)
    said: Numbers = cumulated[place].astype(float)
    # It has served for long: series of before are there from the beginning.
    said += 1000.0
    after = moments > switch
    if after.any():
        at = int(switch // TICK) - 1
        said[after] = cumulated[place[after]] - cumulated[at]
        if name in ("good", "bad"):
            # Labelled: a series begins with its first value.
            said[after] = np.where(said[after] == 0, np.nan, said[after])
    return said


def _increased(moments: Numbers, values: Numbers, begins: Numbers, ends: Numbers) -> Numbers:
    """Prometheus' extrapolatedRate (promql/functions.go) for counters, in each window.

    Returns:
        a row for each window, a column for each series; NaN where it has fewer than two values.
    """
    known = ~np.isnan(values[:, 0])
    when, some = moments[known], values[known]
    result = np.full((len(ends), values.shape[1]), np.nan)
    first = np.searchsorted(when, begins, side="right")
    last = np.searchsorted(when, ends, side="right") - 1
    rows = last > first
    if not rows.any():
        return result
    first, last = first[rows], last[rows]
    steps = np.diff(some, axis=0)
    whole = np.cumsum(np.where(steps < 0, some[1:], steps), axis=0)
    whole = np.vstack([np.zeros(some.shape[1]), whole])
    gained = whole[last] - whole[first]
    sampled = (when[last] - when[first])[:, None]
    average = sampled / (last - first)[:, None]
    to_start = (when[first] - begins[rows])[:, None]
    to_end = (ends[rows] - when[last])[:, None]
    to_start = np.where(to_start >= average * 1.1, average / 2, to_start)
    to_end = np.where(to_end >= average * 1.1, average / 2, to_end)
    with np.errstate(divide="ignore", invalid="ignore"):
        to_zero = np.where(gained > 0, sampled * some[first] / gained, np.inf)
    result[rows] = gained * (sampled + np.minimum(to_zero, to_start) + to_end) / sampled
    return result


def _parts(edges: Sequence[float], centre: float, spread: float, scale: object) -> Numbers:
    """The part of each bucket of what is normal on this scale."""
    below = [
        1.0
        if edge in (math.inf, 1.0) and place == len(edges) - 1
        else 0.5 * (1 + math.erf((float(scale(edge)) - centre) / spread / math.sqrt(2)))  # type: ignore[operator]
        for place, edge in enumerate(edges)
    ]
    return np.diff([0.0, *below])


def _openmetrics_name(name: str, place: int, labels: str) -> str:
    match name:
        case "good" | "bad":
            code = 200 if name == "good" else 500
            return f'inference_requests_total{{endpoint="predict",code="{code}",{labels}}}'
        case "seconds":
            return f'inference_request_duration_seconds_sum{{endpoint="predict",{labels}}}'
        case "latency":
            edge = "+Inf" if math.isinf(LATENCY_EDGES[place]) else str(LATENCY_EDGES[place])
            metric = "inference_request_duration_seconds_bucket"
            return f'{metric}{{endpoint="predict",le="{edge}",{labels}}}'
    last = place == len(PREDICTION_EDGES) - 1
    edge = "+Inf" if last else str(PREDICTION_EDGES[place])
    return f'prediction_probability_bucket{{le="{edge}",{labels}}}'


def _logit(value: float) -> float:
    return math.log(value / (1 - value))


def _present(values: Numbers) -> dict[int, float]:
    return {place: float(one) for place, one in enumerate(values) if not math.isnan(one)}


def worse(behaviour: Behaviour, **changes: float) -> Behaviour:
    """The same with these changes."""
    return replace(behaviour, **changes)
