"""`[test]` and `[train]`: what runs on the train hosts before a release is staged."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from aideploy.settings.table import Table, default
from aideploy.settings.values import (
    Command,
    Environment,
    FilePattern,
    ProjectPath,
    Size,
    Timeout,
    Whole,
)


class ProjectTests(Table):
    """The project's own tests, run on the first train host in the release's environment."""

    command: Command
    """The command that runs the tests; any status but 0 refuses the release."""

    timeout: Timeout = default("15m")
    """How long the tests may take."""


class Engine(StrEnum):
    """Who keeps a training job running."""

    LOCAL = "local"
    SLURM = "slurm"
    RAY = "ray"
    TORCHRUN = "torchrun"


class Resources(Table):
    """What a training job may use of its host."""

    cpus: Annotated[Whole, Field(ge=1)] | None = None
    """How many processors the training may use."""

    memory: Size | None = None
    """The memory that the training may use; more ends it."""

    gpus: Annotated[Whole, Field(ge=0)] = 0
    """How many GPUs the training needs; it gets those with the most free memory."""


class Train(Table):
    """How the model of a release is made."""

    command: Command
    """The command that trains the model."""

    inputs: tuple[FilePattern, ...] = ()
    """The files that the model depends on; by default all files of the commit."""

    data_version: Command | None = None
    """A command that prints the version of the data; another version means to train again."""

    schedule: Timeout | None = None
    """How often to train anew, where the data is new; fab train.schedule writes the timer."""

    outputs: ProjectPath = default("model")
    """The file or folder that the command writes the model to."""

    metrics: ProjectPath = default("metrics.json")
    """The file that the command writes the model's metrics to, if it does."""

    timeout: Timeout = default("6h")
    """How long the training may take."""

    environment: Environment = Field(default_factory=dict, repr=False)
    """Environment variables while training."""

    log_limit: Size = default("1G")
    """How much of what the training prints is kept; beyond that, its end alone."""

    engine: Engine = Engine.LOCAL
    """Who keeps the training running: the train host itself ("local"), "slurm", "ray", or
    "torchrun" on all train hosts together."""

    resources: Resources = Field(default_factory=Resources)
    """Limits of the training: cpus, memory, gpus."""
