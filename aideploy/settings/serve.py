"""`[serve]`: how a release answers requests."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from aideploy.settings.table import Table, default
from aideploy.settings.values import (
    Command,
    ControllerPath,
    Duration,
    Environment,
    HostVariable,
    ImageName,
    LinkedPath,
    LinuxUser,
    ListenAddress,
    Percent,
    Port,
    ProjectPath,
    Size,
    Timeout,
    Whole,
)

_HIGHEST_PORT = 65535
_SLOT_DISTANCE = 10000


class Strategy(StrEnum):
    """How a new release takes over from the one that runs."""

    BLUE_GREEN = "blue_green"
    RECREATE = "recreate"
    SOCKET = "socket"


class Manager(StrEnum):
    """Who keeps the service running on a host."""

    SYSTEMD = "systemd"
    SYSTEMD_USER = "systemd-user"
    SUPERVISOR = "supervisor"


class Runtime(StrEnum):
    """The program that runs containers on a host."""

    PODMAN = "podman"
    DOCKER = "docker"


# What another key decides is absent when that key is itself refused; then nothing is built from it.


def _beside_port(fields: dict[str, Any]) -> int:
    port: int = fields.get("port", 8000)
    above = port + _SLOT_DISTANCE
    return above if above <= _HIGHEST_PORT else port - _SLOT_DISTANCE


def _beside_ports(fields: dict[str, Any]) -> tuple[int, int]:
    first = _beside_port(fields)
    return first, first + 1 if first < _HIGHEST_PORT else first - 1


def _fitting_manager(fields: dict[str, Any]) -> Manager:
    """Whoever pulls an image runs it: that is the deploy user."""
    contained = fields.get("image") or fields.get("dockerfile")
    return Manager.SYSTEMD_USER if contained else Manager.SYSTEMD


def _fitting_strategy(fields: dict[str, Any]) -> Strategy:
    """Two releases beside each other where that can be: not where a GPU holds the model."""
    fits = fields.get("manager") is not Manager.SUPERVISOR and not fields.get("gpus")
    return Strategy.BLUE_GREEN if fits else Strategy.RECREATE


class Serve(Table):
    """How a release answers requests."""

    command: Command | None = None
    """The command that serves; it gets $PORT, $BIND, $RELEASE_DIR, $MODEL_DIR and $SLOT. May be
    left out with a container, whose image brings one."""

    image: ImageName | None = None
    """The image of the container that serves, with a tag or a digest; see docs/containers.md."""

    dockerfile: ProjectPath | None = None
    """The file in the project that the image is built from, instead of `image`."""

    runtime: Runtime = Runtime.PODMAN
    """What runs the container: "podman" (without root) or "docker"."""

    manager: Manager = Field(default_factory=_fitting_manager)
    """Who keeps the service running: "systemd", or "systemd-user" where a container serves."""

    gpus: Annotated[Whole, Field(ge=0)] = 0
    """How many GPUs the service needs."""

    strategy: Strategy = Field(default_factory=_fitting_strategy)
    """How a new release takes over: "blue_green" (two slots behind HAProxy, no request lost; the
    default with systemd and without GPUs), "socket" (systemd holds connections while the service
    restarts) or "recreate" (the service stops and starts)."""

    port: Port = 8000
    """The port that users reach."""

    bind: ListenAddress = "127.0.0.1"
    """The address that users reach."""

    slot_port: Port = Field(default_factory=_beside_port)
    """The port on which a staged release is proven, where no HAProxy stands in front; port + 10000
    (or - 10000) by default."""

    slot_ports: tuple[Port, Port] = Field(default_factory=_beside_ports)
    """With "blue_green" the ports of both slots, on 127.0.0.1; by default port + 10000 and the one
    after it."""

    keep_old: Duration = default("10m")
    """With "blue_green" how long the old release keeps running after a deploy, to take over at once
    if the new one dies and for a rollback without a start; "0s" stops it at the end."""

    retry: bool = True
    """With "blue_green" whether HAProxy sends a GET or HEAD again that a dying release left
    without an answer; no other request is ever sent twice."""

    environment: Environment = Field(default_factory=dict, repr=False)
    """Environment variables of the service."""

    secrets: tuple[HostVariable, ...] = ()
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

    stop_timeout: Timeout = default("30s")
    """How long a stopping service may finish its requests before it is killed."""

    @property
    def contained(self) -> bool:
        """Whether the service runs in a container."""
        return self.image is not None or self.dockerfile is not None
