"""`[rollout]`: how a release spreads over the fleet, and what happens when it is not well."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from aideploy.settings.table import Table, default
from aideploy.settings.values import Duration, Hosts, SomeHosts, Whole


class OnFailure(StrEnum):
    """What happens when more hosts fail than may."""

    ROLLBACK = "rollback"
    HOLD = "hold"


class Rollout(Table):
    """How a release spreads over the fleet, and what happens when it is not well."""

    canary: Hosts = default(1)
    """How many hosts take the release first, alone; 0 for none."""

    batch: SomeHosts = default("25%")
    """How many hosts take it at the same time after that."""

    bake: Duration = default("10s")
    """How long the new release has to stay healthy after each batch."""

    pause: Duration = default("0s")
    """How long to wait, after the bake time, before the next batch."""

    max_failures: Annotated[Whole, Field(ge=0)] = 0
    """How many hosts behind the canary may fail, and go back alone, before all go back."""

    on_failure: OnFailure = OnFailure.ROLLBACK
    """When more fail: "rollback" takes all hosts back, "hold" stops for a person to decide."""
