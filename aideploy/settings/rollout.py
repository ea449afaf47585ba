"""`[rollout]`: how a switched fleet is watched."""

from __future__ import annotations

from aideploy.settings.table import Table, default
from aideploy.settings.values import Duration


class Rollout(Table):
    """How a switched fleet is watched."""

    bake: Duration = default("10s")
    """How long the new release has to stay healthy before the deploy is done."""
