"""`[hooks]`: commands that this machine runs before and after the phases of a deploy.

Its keys are before_PHASE and after_PHASE, made from the list of phases, so that a wrong one is met
with the nearest that there is.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field, create_model

from aideploy.events import Phase
from aideploy.settings.table import Table, default
from aideploy.settings.values import Command, Timeout

# In the order in which a deploy goes through them.
PHASES = (
    Phase.OPEN,
    Phase.FETCH,
    Phase.REVIEW,
    Phase.INSTALL,
    Phase.TEST,
    Phase.TRAIN,
    Phase.MODEL,
    Phase.EVALUATE,
    Phase.DISTRIBUTE,
    Phase.STAGE,
    Phase.SWITCH,
    Phase.WATCH,
    Phase.CONFIRM,
    Phase.FINISH,
)


class When(StrEnum):
    """On which side of its phase a hook runs."""

    BEFORE = "before"
    AFTER = "after"


class Hooks(Table):
    """Commands that this machine runs before and after the phases of a deploy."""

    timeout: Timeout = default("10m")
    """How long each of them may take."""

    def command(self, when: When, phase: Phase) -> str | None:
        """Return the command of this moment, if there is one."""
        found: str | None = getattr(self, f"{when}_{phase}", None)
        return found

    def commands(self) -> dict[str, str]:
        """Return all commands by their keys, in the order in which they run."""
        keys = (f"{when}_{phase}" for phase in PHASES for when in When)
        return {key: command for key in keys if (command := getattr(self, key, None))}


def _fields() -> dict[str, Any]:
    said = {
        When.BEFORE: "A command that runs before the phase {}; one that fails refuses the deploy.",
        When.AFTER: "A command that runs after the phase {}.",
    }
    return {
        f"{when}_{phase}": (Command | None, Field(None, description=said[when].format(phase)))
        for phase in PHASES
        for when in When
    }


HooksTable = create_model("HooksTable", __base__=Hooks, **_fields())
