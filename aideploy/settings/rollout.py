"""`[rollout]`: how a release spreads over the fleet, and what happens when it is not well."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from aideploy.settings.table import Table, default
from aideploy.settings.values import Duration, Hosts, SomeHosts, Timeout, Weight, Whole

_CONFIRM = timedelta(minutes=10)


class OnFailure(StrEnum):
    """What happens when more hosts fail than may."""

    ROLLBACK = "rollback"
    HOLD = "hold"


class OnInconclusive(StrEnum):
    """What happens when the analysis could not decide."""

    HOLD = "hold"
    ROLLBACK = "rollback"
    PROMOTE = "promote"


def _longer_than_the_bake(fields: dict[str, Any]) -> Any:
    # It is written as in the file, and read like that.
    # The bake is absent when it is itself refused; then nothing is built from this.
    bake: timedelta = fields.get("bake", timedelta(0))
    return f"{max(_CONFIRM, 2 * bake).total_seconds():.0f}s"


class Rollout(Table):
    """How a release spreads over the fleet, and what happens when it is not well."""

    canary: Hosts = default(1)
    """How many hosts take the release first, alone; 0 for none."""

    batch: SomeHosts = default("25%")
    """How many hosts take it at the same time after that."""

    bake: Duration = default("10s")
    """How long the new release has to stay healthy after each batch."""

    weights: tuple[Weight, ...] = ()
    """Which parts of the requests the first batch gives to the new release before it switches."""

    pause: Duration = default("0s")
    """How long to wait, after the bake time, before the next batch."""

    confirm: Timeout = Field(default_factory=_longer_than_the_bake)
    """How long a host on its own waits before it goes back; by default 10m, or twice the bake."""

    max_failures: Annotated[Whole, Field(ge=0)] = 0
    """How many hosts behind the canary may fail, and go back alone, before all go back."""

    on_failure: OnFailure = OnFailure.ROLLBACK
    """When more fail: "rollback" takes all hosts back, "hold" stops for a person to decide."""

    max_wait: Duration = default("10m")
    """How much longer than the bake an analysis that cannot decide yet is waited for."""

    on_inconclusive: OnInconclusive = OnInconclusive.HOLD
    """When it still cannot: "hold" stops for a person to decide, "rollback" takes all hosts back,
    "promote" goes on. Where Prometheus does not answer it is always held."""
