"""`[serve]`: how a release answers requests."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from aideploy.settings.table import Table, default
from aideploy.settings.values import (
    Command,
    ControllerPath,
    Environment,
    LinkedPath,
    LinuxUser,
    ListenAddress,
    Percent,
    Port,
    Size,
    Timeout,
    VariableName,
    Whole,
)

_HIGHEST_PORT = 65535
_SLOT_DISTANCE = 10000


class Strategy(StrEnum):
    """How a new release takes over from the one that runs."""

    RECREATE = "recreate"
    SOCKET = "socket"


class Manager(StrEnum):
    """Who keeps the service running on a host."""

    SYSTEMD = "systemd"
    SYSTEMD_USER = "systemd-user"
    SUPERVISOR = "supervisor"


def _beside_port(fields: dict[str, Any]) -> int:
    # The port is absent when it is itself refused; then nothing is built from this.
    port: int = fields.get("port", 8000)
    above = port + _SLOT_DISTANCE
    return above if above <= _HIGHEST_PORT else port - _SLOT_DISTANCE


class Serve(Table):
    """How a release answers requests."""

    command: Command
    """The command that serves; it gets $PORT, $BIND, $RELEASE_DIR, $MODEL_DIR and $SLOT."""

    strategy: Strategy = Strategy.RECREATE
    """With "recreate" the service stops and starts; with "socket" systemd holds connections."""

    manager: Manager = Manager.SYSTEMD
    """Who keeps the service running."""

    port: Port = 8000
    """The port that the service listens on."""

    bind: ListenAddress = "127.0.0.1"
    """The address that the service listens on."""

    slot_port: Port = Field(default_factory=_beside_port)
    """The port on which a staged release is proven; port + 10000 (or - 10000) by default."""

    environment: Environment = Field(default_factory=dict, repr=False)
    """Environment variables of the service."""

    secrets: tuple[VariableName, ...] = ()
    """Variables whose values come from this machine: its environment, a file or a command."""

    secrets_file: ControllerPath | None = None
    """A dotenv file on this machine, relative to the folder of hosts.toml."""

    secrets_command: Command | None = None
    """A command on this machine that prints dotenv lines; it cannot ask questions."""

    linked: tuple[LinkedPath, ...] = ()
    """Files, and folders with a "/" at the end, that all releases share."""

    user: LinuxUser | None = None
    """The Linux user that the service runs as, under systemd; by default the name of the app."""

    memory_max: Size | None = None
    """The memory that the service may use, under systemd."""

    cpu_quota: Percent | None = None
    """The CPU time that the service may use, under systemd; 100% is one core."""

    gpus: Annotated[Whole, Field(ge=0)] = 0
    """How many GPUs the service needs."""

    stop_timeout: Timeout = default("30s")
    """How long a stopping service may finish its requests before it is killed."""
