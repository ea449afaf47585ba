"""`[environments.E.hosts.H]`: the hosts of an environment, and what each of them is for."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field

from aideploy.settings.ssh import Ssh, SshOptions
from aideploy.settings.table import default
from aideploy.settings.values import Address, LabelName, Line, ListenAddress, Name, Whole


class Role(StrEnum):
    """What a host is for."""

    TRAIN = "train"
    SERVE = "serve"
    MONITOR = "monitor"


class HostTable(SshOptions):
    """A host as it is written in the file."""

    address: Address
    """Its name, its IP address, or an alias of ~/.ssh/config."""

    roles: Annotated[frozenset[Role], Field(min_length=1)] = default(("train", "serve"))
    """What the host is for."""

    labels: Mapping[LabelName, Line] = Field(default_factory=dict)
    """Labels of your own; they go to Prometheus with the host's targets."""

    gpus: Annotated[Whole, Field(ge=0)] = 0
    """How many GPUs the host has to have."""

    bind: ListenAddress | None = None
    """The address that the service listens on, on this host; without it that of [serve]."""


class Host(HostTable):
    """A host with its name, and with the options of `[ssh]` that it does not set itself."""

    name: Name


def resolve(name: str, table: HostTable, ssh: Ssh, folder: Path) -> Host:
    """Fill in from `[ssh]` what the host leaves open.

    Args:
        name: the name of the host.
        table: the host as it is written in the file.
        ssh: the `[ssh]` table of the environment.
        folder: what relative paths of keys are relative to.
    """
    shared = {
        option: getattr(ssh, option)
        for option in SshOptions.model_fields
        if option not in table.model_fields_set
    }
    values = {**dict(table), **shared, "name": name}
    for file in ("key", "known_hosts"):
        if values[file] is not None:
            values[file] = folder / values[file].expanduser()
    return Host.model_construct(**values)
