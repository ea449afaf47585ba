"""A sandbox that is up, and the two clients that it is tried with: OpenSSH's and Fabric."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fabric
import paramiko
import pytest

from aideploy.sandbox.layout import Host
from aideploy.sandbox.lifecycle import Sandbox, Status
from tests.needed import need

from .small_project import SmallProject, small_project

SECRET_OF_THE_USER = "not-for-the-hosts"


@dataclass(frozen=True)
class OpenSsh:
    """OpenSSH's client, told where the hosts are by the sandbox's own ssh_config."""

    config: Path

    def run(
        self, *arguments: str, data: bytes = b"", program: str = "ssh"
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [program, "-F", str(self.config), *arguments],
            input=data,
            capture_output=True,
            timeout=60,
        )


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Status]:
    """Three hosts that the tests of a module share."""
    os.environ["SECRET_OF_THE_USER"] = SECRET_OF_THE_USER
    try:
        with Sandbox(tmp_path_factory.mktemp("sand box")) as sandbox:
            yield sandbox.up(3)
    finally:
        del os.environ["SECRET_OF_THE_USER"]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallProject]:
    """A small project that is live on three hosts, for the tests of a module."""
    with small_project(tmp_path_factory.mktemp("deployed"), hosts=3) as project:
        project.succeeds("setup")
        project.succeeds("deploy")
        yield project


@pytest.fixture
def project(deployed: SmallProject) -> SmallProject:
    """That project, with the settings it had at first."""
    deployed.git("checkout", "--quiet", "main")
    deployed.settle()
    return deployed


@pytest.fixture
def host(up: Status) -> Host:
    return up.hosts[0].host


@pytest.fixture
def open_ssh(up: Status) -> OpenSsh:
    return open_ssh_for(up)


@pytest.fixture
def connection(up: Status, host: Host) -> Iterator[fabric.Connection]:
    """Fabric's connection to the first host."""
    with connection_to(up, host) as connection:
        yield connection


def open_ssh_for(status: Status) -> OpenSsh:
    need("ssh")
    return OpenSsh(status.layout.ssh_config)


def connection_to(
    status: Status, host: Host, *, user: str | None = None, key: Path | None = None
) -> fabric.Connection:
    """Fabric's connection to a host; its host key must be the one in the sandbox's known_hosts."""
    connection = fabric.Connection(
        host.address,
        user=user,
        port=host.port,
        connect_timeout=30,
        connect_kwargs={
            "key_filename": str(key or status.layout.client_key),
            "look_for_keys": False,
            "allow_agent": False,
            "banner_timeout": 60,
            "auth_timeout": 60,
        },
    )
    connection.client.load_host_keys(str(status.layout.known_hosts))
    connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
    return connection
