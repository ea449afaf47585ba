"""`[[gate]]`: what the metrics of a model must be like before it may take traffic."""

from __future__ import annotations

from typing import Annotated

from pydantic import Strict, model_validator

from aideploy.settings.table import Table
from aideploy.settings.values import Allowance, MetricName, Number, Share


class Gate(Table):
    """What one metric must be like; of all rows, or of one slice of them. Bounds are inclusive."""

    metric: MetricName
    """The name of the metric, as it stands in the file of [train] metrics."""

    slice: MetricName | None = None
    """The slice that is judged, as it stands under "slices" in that file; without one: all rows."""

    greater_is_better: Annotated[bool, Strict()] = True
    """Whether a greater number is a better one: true for an accuracy, false for a loss."""

    min: Number | None = None
    """The least that the metric may be."""

    max: Number | None = None
    """The most that the metric may be."""

    max_drop: Allowance | None = None
    """How much worse than in the last good release it may be."""

    max_drop_rel: Share | None = None
    """The same as a share of what it was there: 0.05 is 5 %."""

    max_gain: Allowance | None = None
    """How much better than in the last good release it may be; more is too good to be true."""

    @model_validator(mode="after")
    def _limits(self) -> Gate:
        limits = (self.min, self.max, self.max_drop, self.max_drop_rel, self.max_gain)
        if all(limit is None for limit in limits):
            raise ValueError("a limit at least: min, max, max_drop, max_drop_rel or max_gain")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"a min that is not above max, and not {self.min:g} and {self.max:g}")
        return self
