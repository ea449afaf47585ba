"""`[[analysis]]`: what Prometheus is asked about a release while it is watched, and what of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, Strict, model_validator

from aideploy.settings.table import Table, default
from aideploy.settings.values import Allowance, Matches, MetricName, Number, Timeout, Whole

# PromQL over several lines is fine; what it says is for Prometheus to judge.
PromQL = Annotated[
    str,
    Matches(
        r"(?=[\s\S]*\S)[^\x00-\x08\x0b-\x1f\x7f]{1,4000}",
        "a PromQL expression of at most 4000 characters",
    ),
]


class Kind(StrEnum):
    """How a check judges."""

    SLO = "slo"
    RATIO = "ratio"
    DISTRIBUTION = "distribution"
    DRIFT = "drift"


class Signal(StrEnum):
    """What of a preset is judged."""

    ERRORS = "errors"
    LATENCY = "latency"
    SATURATION = "saturation"
    PREDICTIONS = "predictions"


class Worse(StrEnum):
    """Which way a distribution gets worse."""

    HIGHER = "higher"
    LOWER = "lower"
    BOTH = "both"


SIGNALS = {
    Kind.SLO: (Signal.ERRORS, Signal.LATENCY, Signal.SATURATION),
    Kind.RATIO: (Signal.ERRORS, Signal.LATENCY),
    Kind.DISTRIBUTION: (Signal.LATENCY, Signal.SATURATION),
    Kind.DRIFT: (Signal.PREDICTIONS,),
}
"""The signals of each kind; the first one is meant where none is named."""

_LIMITS = {
    Kind.SLO: ("min", "max"),
    Kind.RATIO: ("margin", "effect"),
    Kind.DISTRIBUTION: ("margin", "effect"),
    Kind.DRIFT: ("max",),
}


class Limits(Table):
    """From where on it is too bad."""

    min: Number | None = None
    """Of "slo": the least that the value may be."""

    max: Number | None = None
    """Of "slo": the most that the value may be; of "drift" the population stability index (0.2)."""

    margin: Allowance | None = None
    """Of "ratio": how much greater the share may be (0.005, of slow requests 0.05); of
    "distribution": how much worse the median, as a part of it (0.1)."""

    effect: Allowance | None = None
    """Of "ratio" with latency: how many times slower the mean (1.25); of "distribution": how often
    a window of the new release has to be the worse one (0.65)."""


class CheckQueries(Table):
    """Queries of one's own, in place of a preset's. $SELECTOR stands for the label matchers of the
    hosts, without braces, $RANGE for the time that is looked at."""

    value: PromQL | None = None
    """Of "slo" and "distribution": what is judged, one number."""

    requests: PromQL | None = None
    """How many requests there were."""

    bad: PromQL | None = None
    """Of "ratio": how many of them were bad."""

    buckets: PromQL | None = None
    """Of "drift" and of latencies: a histogram, summed up by (le)."""

    sum: PromQL | None = None
    """Of latencies: the sum of the seconds, so that the mean is exact."""


class Analysis(Table):
    """One check of the new release, against limits or against the hosts without it."""

    name: MetricName
    """What the check is called, as "errors"."""

    kind: Kind
    """How it judges: "slo", "ratio", "distribution" or "drift"."""

    signal: Signal | None = None
    """What is judged: "errors", "latency", "saturation" or "predictions"; by default the first one
    that the kind can judge."""

    queries: CheckQueries | None = None
    """Queries of one's own, in place of those of [monitoring] preset."""

    limits: Limits = Field(default_factory=Limits)
    """From where on it is too bad: min, max, margin, effect."""

    worse: Worse = Worse.HIGHER
    """Of "distribution": which way is worse: "higher", "lower" or "both"."""

    min_requests: Annotated[Whole, Field(ge=1)] = 300
    """So many requests both sides must have had before anything is judged."""

    interval: Timeout = default("30s")
    """How often it looks, and the time that one window counts: at least twice the
    scrape interval."""

    failure_limit: Annotated[Whole, Field(ge=0, le=100)] = 1
    """So many failing looks in a row are borne; one more and the release fails."""

    critical: Annotated[bool, Strict()] = True
    """Whether a failure takes all hosts back; otherwise a person decides."""

    dry_run: Annotated[bool, Strict()] = False
    """Whether it is only shown, and never counts."""

    @property
    def judged(self) -> Signal:
        """What is judged."""
        return self.signal or SIGNALS[self.kind][0]

    @model_validator(mode="after")
    def _fits_the_kind(self) -> Analysis:
        if self.signal and self.signal not in SIGNALS[self.kind]:
            known = ", ".join(f'"{one}"' for one in SIGNALS[self.kind])
            raise ValueError(f'for "{self.kind}" a signal out of {known}, not "{self.signal}"')
        limits = self.limits.model_dump(exclude_none=True)
        for key in limits:
            if key not in _LIMITS[self.kind]:
                known = " or ".join(_LIMITS[self.kind])
                raise ValueError(f'for "{self.kind}" the limits {known}, not {key}')
        if self.kind is Kind.SLO and not limits:
            raise ValueError('for "slo" a limit: limits = { max = … } or { min = … }')
        least, most = self.limits.min, self.limits.max
        if least is not None and most is not None and least > most:
            raise ValueError("a min that is not above max in limits")
        if self.kind is Kind.DISTRIBUTION and (self.limits.effect or 0.65) >= 1:
            raise ValueError("for a distribution an effect from 0.5 to 1, as 0.65")
        if self.kind is Kind.RATIO and self.judged is Signal.ERRORS and self.limits.effect:
            raise ValueError("an effect only with latencies; of errors the margin")
        if self.kind is not Kind.DISTRIBUTION and self.worse is not Worse.HIGHER:
            raise ValueError('"worse" only with kind = "distribution"')
        if self.queries:
            self._own_queries(self.queries)
        return self

    def _own_queries(self, queries: CheckQueries) -> None:
        match self.kind:
            case Kind.SLO:
                needed: tuple[str, ...] = ("value", "requests")
            case Kind.DISTRIBUTION:
                needed = ("value",)
            case Kind.RATIO if self.judged is Signal.ERRORS:
                needed = ("bad", "requests")
            case _:
                needed = ("buckets",)
        allowed = {*needed}
        if self.kind is Kind.DISTRIBUTION:
            allowed.add("requests")
        if self.kind is Kind.RATIO and self.judged is Signal.LATENCY:
            allowed.add("sum")
        named = queries.model_dump(exclude_none=True)
        for key in needed:
            if key not in named:
                raise ValueError(f'for this kind of check the query "{key}" in queries')
        for key, query in named.items():
            if key not in allowed:
                raise ValueError(f"in queries {', '.join(sorted(allowed))}, not {key}")
            if "$SELECTOR" not in query:
                raise ValueError(f'$SELECTOR in the query "{key}": it stands for the hosts')
