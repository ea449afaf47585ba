"""What the hosts of one training know of each other when they train together. Pure.

The first host names the attempt and says where all meet; the others join in (`jobs/scripts.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aideploy.remote.result import Result
from aideploy.settings.hosts import Role
from aideploy.settings.train import Engine

if TYPE_CHECKING:
    from aideploy.settings import Settings

_JOB = re.compile(r"[0-9a-f]{16}")
_INPUTS = re.compile(r"[0-9a-f]{64}")
_MEETING = re.compile(r"[0-9a-f]{16} \d{1,9} [^\s]+ \d{1,9}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Gang:
    """What the first host told of a training that it does with others.

    Attributes:
        job: its id.
        meeting: the name of the attempt, how many hosts, and where they meet; as the host put it.
        inputs: the sha256 over everything that the job depends on.
        data_version: what the project's own command said of the data there, or empty.
    """

    job: str
    meeting: str
    inputs: str
    data_version: str


def read(submitted: Result) -> Gang | None:
    """Return what the first host told; None where there is nothing to do for the others.

    Args:
        submitted: of `job_submit.sh`.
    """
    if not submitted.text("gang"):
        return None
    return Gang(
        job=submitted.exact("job", _JOB),
        meeting=submitted.exact("gang", _MEETING),
        inputs=submitted.exact("inputs", _INPUTS),
        data_version=submitted.text("data"),
    )


def trainers_of(settings: Settings) -> tuple[str, ...]:
    """Return the names of the hosts that train: with most engines the first that has the role."""
    if settings.train is None:
        return ()
    names = tuple(host.name for host in settings.with_role(Role.TRAIN))
    return names if settings.train.engine is Engine.TORCHRUN else names[:1]
