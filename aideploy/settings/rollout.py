"""`[rollout]`: how a switched fleet is watched."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import Field

from aideploy.settings.table import Table, default
from aideploy.settings.values import Duration, Timeout

_CONFIRM = timedelta(minutes=10)


def _longer_than_the_bake(fields: dict[str, Any]) -> Any:
    # It is written as in the file, and read like that.
    # The bake is absent when it is itself refused; then nothing is built from this.
    bake: timedelta = fields.get("bake", timedelta(0))
    return f"{max(_CONFIRM, 2 * bake).total_seconds():.0f}s"


class Rollout(Table):
    """How a switched fleet is watched."""

    bake: Duration = default("10s")
    """How long the new release has to stay healthy before the deploy is done."""

    confirm: Timeout = Field(default_factory=_longer_than_the_bake)
    """A host on its own goes back by itself after so long; 10m, or twice the bake by default."""
