"""Where everything of a sandbox lies, and the record that one process leaves for the next.

Read by every module of this room; it starts nothing and opens no connection.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from pydantic import BaseModel, ConfigDict

_LOOPBACK = IPv4Address("127.0.0.1")


class Host(BaseModel):
    """One sandbox host. A port of 0 means that none was picked yet."""

    model_config = ConfigDict(frozen=True)

    name: str
    address: str
    port: int = 0


class Record(BaseModel):
    """What is remembered in `sandbox.json`: the hosts, and the folder of their sockets."""

    model_config = ConfigDict(frozen=True)

    hosts: tuple[Host, ...]
    sockets: Path | None = None


@dataclass(frozen=True)
class Layout:
    """The paths below the sandbox's folder, which is absolute and free of symbolic links."""

    folder: Path

    @property
    def record(self) -> Path:
        return self.folder / "sandbox.json"

    @property
    def change_lock(self) -> Path:
        """Held while something goes up or down."""
        return self.folder / "change.lock"

    @property
    def server_lock(self) -> Path:
        """Held by the SSH server for as long as it lives; removed when the sandbox is down."""
        return self.folder / "server.lock"

    @property
    def server_log(self) -> Path:
        return self.folder / "server.log"

    @property
    def client_key(self) -> Path:
        return self.folder / "client_key"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        return self.folder / "ssh_config"

    def home(self, host: Host) -> Path:
        """The home of the host's only user: all that the host has of its own."""
        return self.folder / "hosts" / host.name

    def host_key(self, host: Host) -> Path:
        return self.folder / "host_keys" / host.name


def hosts_of(folder: Path, count: int) -> tuple[Host, ...]:
    """The first `count` hosts of the sandbox in this folder, without their ports.

    On Linux all of 127.0.0.0/8 is loopback, so every host gets an address of its own and services
    of one port live side by side. The network is derived from the folder: it stays the same from
    one day to the next, and two sandboxes do not get in each other's way.
    """
    return tuple(
        Host(name=f"host{number}", address=str(_address(folder, number)))
        for number in range(1, count + 1)
    )


def _address(folder: Path, number: int) -> IPv4Address:
    if not has_addresses_of_its_own():
        return _LOOPBACK
    digest = hashlib.sha256(bytes(folder)).digest()
    network = IPv4Address(f"127.{1 + digest[0] % 254}.{digest[1] % 250}.0")
    return network + 10 + number


def has_addresses_of_its_own() -> bool:
    """Whether each host can have its own loopback address on this machine."""
    return sys.platform == "linux"
