"""The questions about a service that several dashboards ask, as PromQL made of its signals.

Where the serving software has no such metric there is no question, and the panel is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aideploy.monitoring.presets import Signals, query

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


@dataclass(frozen=True)
class Arm:
    """Some of the service: all of it, or one side of a comparison.

    Args:
        selector: label matchers without braces.
        over: the window that rates are taken over.
        by: labels to tell apart.
    """

    selector: str
    over: str = "$__rate_interval"
    by: Sequence[str] = ()


class Questions:
    """What can be asked of a service with these signals."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    @property
    def has_errors(self) -> bool:
        """Whether failed requests are counted."""
        return self._signals.errors is not None

    @property
    def recorded_latency(self) -> tuple[str, str] | None:
        """What the recorded latency is, and the end of its name: the mean without a histogram."""
        if self._signals.latency_bucket is not None:
            return "p99", "inference_latency_seconds:p99_5m"
        if self._signals.latency_sum is not None and self._signals.latency_count is not None:
            return "Mean time", "inference_latency_seconds:mean_5m"
        return None

    def requests(self, arm: Arm) -> str:
        """How many requests there are per second."""
        return _filled(self._signals.requests, arm, per_second=True)

    def count(self, arm: Arm) -> str:
        """How many requests there were in the window."""
        return _filled(self._signals.requests, arm)

    def errors_per_request(self, arm: Arm) -> str | None:
        """How many of the requests failed; 0 where there was never an error."""
        if self._signals.errors is None:
            return None
        errors = _filled(self._signals.errors, arm, per_second=True)
        requests = self.requests(arm)
        return f"(({errors}) or 0 * ({requests})) / ({requests})"

    def latencies(self, arm: Arm) -> dict[str, str]:
        """How long requests take, in seconds: quantiles, or the mean where there is no histogram.

        Returns:
            PromQL by the name of what it gives.
        """
        found = {name: self.quantile(arm, share) for name, share in _QUANTILES.items()}
        known = {name: asked for name, asked in found.items() if asked is not None}
        if not known and (mean := self.mean(arm)) is not None:
            return {"mean": mean}
        return known

    def quantile(self, arm: Arm, share: float) -> str | None:
        """In how many seconds this share of the requests is answered."""
        if (buckets := self.buckets(arm)) is None:
            return None
        return _in_seconds(f"histogram_quantile({share:g}, {buckets})", self._signals.latency_unit)

    def mean(self, arm: Arm) -> str | None:
        """How many seconds a request takes on average."""
        if self._signals.latency_sum is None or self._signals.latency_count is None:
            return None
        seconds = _filled(self._signals.latency_sum, arm, per_second=True)
        requests = _filled(self._signals.latency_count, arm, per_second=True)
        return _in_seconds(f"(({seconds}) / ({requests}))", self._signals.latency_unit)

    def buckets(self, arm: Arm) -> str | None:
        """How long requests took, as a histogram in the server's own unit."""
        if self._signals.latency_bucket is None:
            return None
        return _filled(self._signals.latency_bucket, arm)

    @property
    def bucket_unit(self) -> str:
        """What Grafana calls the unit of `buckets`."""
        return {1.0: "s", 1e-3: "ms", 1e-6: "µs"}.get(self._signals.latency_unit, "short")

    def waiting(self, arm: Arm) -> str | None:
        """How many requests wait, or are at work, at this moment."""
        return _filled(self._signals.waiting, arm) if self._signals.waiting else None

    def predictions(self, arm: Arm) -> str | None:
        """What was predicted, as a histogram."""
        if self._signals.prediction_bucket is None:
            return None
        return _filled(self._signals.prediction_bucket, arm)

    def predicted(self, arm: Arm, share: float) -> str | None:
        """Below which value this share of the predictions is."""
        buckets = self.predictions(arm)
        return f"histogram_quantile({share:g}, {buckets})" if buckets else None


def _filled(expression: str, arm: Arm, *, per_second: bool = False) -> str:
    return query(expression, selector=arm.selector, over=arm.over, by=arm.by, per_second=per_second)


def _in_seconds(expression: str, unit: float) -> str:
    return expression if unit == 1 else f"{expression} * {unit:g}"
