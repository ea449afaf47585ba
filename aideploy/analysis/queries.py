"""Which PromQL a check asks: that of the preset, or the user's own.

Pure. Each query has `$SELECTOR` where the matchers of one side belong, `$RANGE` where the window
does.
"""

from __future__ import annotations

from dataclasses import dataclass

from aideploy.monitoring.presets import Signals
from aideploy.settings.analysis import Analysis, Kind, Signal

_QUANTILE = 0.99


@dataclass(frozen=True)
class Templates:
    """The queries of one check; those that it does not need are empty.

    Args:
        requests: how many requests there were.
        bad: how many of them were bad.
        value: one number.
        buckets: a histogram, by `le`; beside a value, the one that it is a quantile of.
        sum: the sum of what was put into it.
        unit: how many seconds the unit of the histogram is.
        preset: whether they are those of a preset, where no series of errors means no errors.
    """

    requests: str = ""
    bad: str = ""
    value: str = ""
    buckets: str = ""
    sum: str = ""
    unit: float = 1.0
    preset: bool = True

    @property
    def all(self) -> tuple[str, ...]:
        """Every query that is asked."""
        named = (self.requests, self.bad, self.value, self.buckets, self.sum)
        return tuple(query for query in named if query)


class NoSignal(ValueError):
    """The serving software does not tell what the check asks for; the text says what."""


def templates(check: Analysis, signals: Signals) -> Templates:
    """Return the queries of a check.

    Raises:
        NoSignal: the preset has no such metric, and the check no queries of its own.
    """
    if own := check.queries:
        return Templates(
            requests=own.requests or "",
            bad=own.bad or "",
            value=own.value or "",
            buckets=own.buckets or "",
            sum=own.sum or "",
            preset=False,
        )
    match check.kind, check.judged:
        case ((Kind.SLO | Kind.RATIO), Signal.ERRORS):
            if not signals.errors:
                raise NoSignal("no errors")
            return Templates(requests=signals.requests, bad=signals.errors)
        case Kind.RATIO, Signal.LATENCY:
            if not signals.latency_bucket:
                raise NoSignal('no histogram of latencies, only kind = "distribution" can judge')
            return Templates(
                buckets=signals.latency_bucket,
                sum=signals.latency_sum or "",
                unit=signals.latency_unit,
            )
        case Kind.SLO, Signal.LATENCY if signals.latency_bucket:
            quantile = f"histogram_quantile({_QUANTILE}, {signals.latency_bucket})"
            return Templates(
                requests=signals.requests,
                value=_scaled(quantile, signals.latency_unit),
                buckets=signals.latency_bucket,
                unit=signals.latency_unit,
            )
        case _, Signal.LATENCY:
            if not (signals.latency_sum and signals.latency_count):
                raise NoSignal("no latencies")
            mean = f"({signals.latency_sum}) / ({signals.latency_count})"
            return Templates(requests=signals.requests, value=_scaled(mean, signals.latency_unit))
        case _, Signal.SATURATION:
            if not signals.waiting:
                raise NoSignal("no saturation")
            return Templates(requests=signals.requests, value=signals.waiting)
        case _:
            if not signals.prediction_bucket:
                raise NoSignal("no histogram of predictions")
            return Templates(buckets=signals.prediction_bucket)


def _scaled(query: str, unit: float) -> str:
    return query if unit == 1 else f"({query}) * {unit:g}"
