"""`[drift]`: how far what the service sees now is from what its model was trained on."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from aideploy.settings.table import Table, default
from aideploy.settings.values import Command, ProjectPath, Timeout, Whole


class Method(StrEnum):
    """How a distance is measured; all are 0 where nothing has changed."""

    PSI = "psi"
    JS = "js"
    WASSERSTEIN = "wasserstein"


class Drift(Table):
    """How far what the service sees now is from what its model was trained on."""

    reference: ProjectPath = default("model/reference.json")
    """The file that the training writes beside the model; see docs/drift.md for what is in it."""

    log: ProjectPath | None = None
    """The file, in a folder of [serve] linked, that the service appends its rows to."""

    command: Command | None = None
    """Instead of a log: a command of the project that prints the rows of the last
    $WINDOW_SECONDS."""

    timeout: Timeout = default("1m")
    """How long that command may take."""

    window: Timeout = default("1h")
    """How far back rows count."""

    schedule: Timeout = default("15m")
    """How often the hosts look."""

    methods: tuple[Method, ...] = default(("psi", "js", "wasserstein"))
    """How the distance is measured: "psi", "js" (Jensen-Shannon), "wasserstein" (in standard
    deviations; numbers only)."""

    min_rows: Annotated[Whole, Field(ge=1)] = 500
    """With fewer rows nothing is said: chance alone would look like drift."""
