"""`[ssh]`: how hosts are reached. What is left out is what ~/.ssh/config says."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from aideploy.settings.table import Table, default
from aideploy.settings.values import ControllerPath, Gateway, LoginUser, Port, Timeout, Whole


class SshOptions(Table):
    """The options of a connection that `[ssh]` and a single host may both set."""

    user: LoginUser | None = None
    """The user to log in as."""

    port: Port | None = None
    """The port of the SSH server."""

    key: ControllerPath | None = None
    """The private key on this machine; relative to the folder of hosts.toml, ~ is your home."""

    gateway: Gateway | None = None
    """The jump host on the way: "host", "user@host" or "user@host:port"."""

    known_hosts: ControllerPath | None = None
    """The file on this machine with the keys of the hosts; written like `key`."""

    connect_timeout: Timeout = default("10s")
    """How long to wait for a host to answer."""


class Ssh(SshOptions):
    """How hosts are reached, unless a host says otherwise."""

    max_connects: Annotated[Whole, Field(ge=1)] = 30
    """How many connections may be in the making at the same time."""
