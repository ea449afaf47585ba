"""`[test]` and `[train]`: what runs on the train hosts before a release is staged."""

from __future__ import annotations

from pydantic import Field

from aideploy.settings.table import Table, default
from aideploy.settings.values import Command, Environment, ProjectPath, Timeout


class ProjectTests(Table):
    """The project's own tests, run on the first train host in the release's environment."""

    command: Command
    """The command that runs the tests; any status but 0 refuses the release."""

    timeout: Timeout = default("15m")
    """How long the tests may take."""


class Train(Table):
    """How the model of a release is made."""

    command: Command
    """The command that trains the model."""

    outputs: ProjectPath = default("model")
    """The file or folder that the command writes the model to."""

    metrics: ProjectPath = default("metrics.json")
    """The file that the command writes the model's metrics to, if it does."""

    timeout: Timeout = default("6h")
    """How long the training may take."""

    environment: Environment = Field(default_factory=dict, repr=False)
    """Environment variables while training."""
