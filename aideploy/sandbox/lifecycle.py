"""A sandbox goes up, says how it is, and goes down.

`Sandbox` is what the tasks `sandbox.up`, `sandbox.status` and `sandbox.down`, the demo and the
tests call. All it needs is in the sandbox's folder, so any process may take down what another
brought up. It opens no SSH connection.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import IO, Self

from aideploy.errors import HostNotReady, UsageError
from aideploy.sandbox import keys, processes, rendering
from aideploy.sandbox.environment import SANDBOX_MARK
from aideploy.sandbox.layout import (
    Host,
    Layout,
    Record,
    has_addresses_of_its_own,
    hosts_of,
)

DEFAULT_FOLDER = Path(".aideploy/sandbox")

MOST_HOSTS = 500
_START_LIMIT = timedelta(seconds=60)
_SERVICE_PORTS = range(8000, 8100)
_TO_SLOT_PORT = 10_000  # the distance that `[serve] slot_port` has by default

# What a deploy needs on a host and this machine may keep outside the system's own folders.
_PROGRAMS = ("git", "uv")


class Condition(StrEnum):
    """How a sandbox is."""

    UP = "up"
    DOWN = "down"
    CRASHED = "crashed"  # its SSH server died; commands and services may still run


@dataclass(frozen=True)
class HostStatus:
    """One host and how many processes run on it."""

    host: Host
    processes: int


@dataclass(frozen=True)
class Status:
    """The whole sandbox. `note` is for the user, and mostly empty."""

    layout: Layout
    condition: Condition
    hosts: tuple[HostStatus, ...]
    note: str = ""

    def environment_toml(self, *, app: str, port: int) -> str:
        """See `rendering.environment_toml`."""
        return rendering.environment_toml(
            self.layout, tuple(status.host for status in self.hosts), app=app, port=port
        )

    def free_port(self) -> int:
        """A port for a service: free on every host, and so is the one its next release is tried on.

        Raises:
            HostNotReady: there is none; something else listens on all addresses of this machine.
        """
        for port in _SERVICE_PORTS:
            if all(
                _is_free(status.host.address, each)
                for status in self.hosts
                for each in (port, port + _TO_SLOT_PORT)
            ):
                return port
        raise HostNotReady(f"no port from {_SERVICE_PORTS} is free on all hosts")


class Sandbox:
    """The sandbox in one folder, up or not.

    As a context manager it is taken down at the end; `up` is called inside.

    Args:
        folder: made when it is missing; all files of the sandbox are below it, and stay there when
            it is down.
    """

    def __init__(self, folder: Path = DEFAULT_FOLDER) -> None:
        self.layout = Layout(folder.resolve())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self, count: int) -> Status:
        """Bring `count` hosts up, with the keys and if possible the ports that they had before.

        A sandbox that is up already is left alone. One that crashed gets a new server; what still
        runs on its hosts keeps running.

        Raises:
            UsageError: the count is not between 1 and 500, or the sandbox is up with another one.
            HostNotReady: the server did not start.
        """
        if not 1 <= count <= MOST_HOSTS:
            raise UsageError(f"a sandbox has 1 to {MOST_HOSTS} hosts, not {count}")
        self.layout.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._changing():
            if self._condition() is not Condition.UP:
                self._start(count)
        status = self.status()
        if len(status.hosts) != count:
            raise UsageError(
                f"the sandbox is up with {len(status.hosts)} hosts already",
                next_step="`fab sandbox.down`, then up again with another number",
            )
        return status

    def status(self) -> Status:
        """Look, and change nothing."""
        running = processes.processes_of(self.layout.folder)
        running_on = Counter(process.host for process in running)
        return Status(
            layout=self.layout,
            condition=self._condition(),
            hosts=tuple(HostStatus(host, running_on[host.name]) for host in self._record().hosts),
            note=""
            if has_addresses_of_its_own()
            else "this machine has one loopback address: services run on one host at a time",
        )

    def down(self) -> None:
        """End the server, every command, every service and whatever they started.

        Raises:
            HostNotReady: a process would not end.
        """
        if not self.layout.folder.exists():
            return
        with self._changing():
            processes.end_all(self.layout.folder)
            if sockets := self._record().sockets:
                shutil.rmtree(sockets, ignore_errors=True)
            self.layout.server_lock.unlink(missing_ok=True)

    def _start(self, count: int) -> None:
        with ExitStack() as stack:
            lock = stack.enter_context(self.layout.server_lock.open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            earlier = self._record()
            ports = {host.name: host.port for host in earlier.hosts}
            listening = {
                host: stack.enter_context(_listen(host.address, ports.get(host.name, 0)))
                for host in hosts_of(self.layout.folder, count)
            }
            hosts = tuple(
                host.model_copy(update={"port": port.getsockname()[1]})
                for host, port in listening.items()
            )
            self._furnish(hosts, _ensure_short_folder(earlier.sockets))
            self._start_server(lock, list(listening.values()))

    def _furnish(self, hosts: tuple[Host, ...], sockets: Path) -> None:
        """Write everything that the server, the hosts and the clients read."""
        (self.layout.folder / ".gitignore").write_text("*\n")
        keys.ensure_keys(self.layout, hosts)
        self.layout.ssh_config.write_text(rendering.ssh_config(self.layout, hosts))
        for host in hosts:
            self._furnish_home(host, sockets)
        unfinished = self.layout.record.with_suffix(".new")
        record = Record(hosts=hosts, sockets=sockets)
        unfinished.write_text(record.model_dump_json(indent=2) + "\n")
        unfinished.replace(self.layout.record)

    def _furnish_home(self, host: Host, sockets: Path) -> None:
        home = self.layout.home(host)
        for folder in ("bin", "logs", "supervisor/conf.d"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        configuration = rendering.supervisord_conf(self.layout, host, sockets)
        (home / "supervisor/supervisord.conf").write_text(configuration)
        (home / "supervisor/python").write_text(sys.executable)
        shutil.copy(Path(__file__).with_name("supervisorctl.sh"), home / "bin/supervisorctl")
        (home / "bin/supervisorctl").chmod(0o755)
        _link(home / "bin/python3", Path(sys.executable).resolve())
        for name in _PROGRAMS:
            if program := shutil.which(name):
                _link(home / "bin" / name, Path(program).resolve())

    def _start_server(self, lock: IO[str], listening: list[socket.socket]) -> None:
        descriptors = [lock.fileno(), *(port.fileno() for port in listening)]
        with self.layout.server_log.open("ab") as log:
            starter = subprocess.Popen(
                [
                    *(sys.executable, "-m", "aideploy.sandbox.server", str(self.layout.folder)),
                    *map(str, descriptors),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, SANDBOX_MARK: str(self.layout.folder)},
                pass_fds=descriptors,
                start_new_session=True,
            )
        with starter:
            assert starter.stdout is not None
            readable, _, _ = select.select([starter.stdout], [], [], _START_LIMIT.total_seconds())
            if not readable or not starter.stdout.read():
                processes.end_all(self.layout.folder)
                raise HostNotReady(
                    "the SSH server of the sandbox did not start",
                    tail=tuple(self.layout.server_log.read_text().splitlines()[-20:]),
                    next_step=f"read {self.layout.server_log}",
                )

    def _condition(self) -> Condition:
        try:
            with self.layout.server_lock.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return Condition.DOWN
        except BlockingIOError:
            return Condition.UP
        return Condition.CRASHED

    def _record(self) -> Record:
        try:
            return Record.model_validate_json(self.layout.record.read_bytes())
        except FileNotFoundError:
            return Record(hosts=())

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One up or down at a time."""
        with self.layout.change_lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _listen(address: str, port: int) -> socket.socket:
    """Listen on this port or, when somebody else has it by now, on a free one."""
    try:
        return socket.create_server((address, port), backlog=128)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return socket.create_server((address, 0), backlog=128)


def _is_free(address: str, port: int) -> bool:
    try:
        socket.create_server((address, port)).close()
    except OSError:
        return False
    return True


def _ensure_short_folder(earlier: Path | None) -> Path:
    """A folder for sockets, whose paths may have 107 bytes: $TMPDIR may be longer than that."""
    if earlier and earlier.is_dir():
        return earlier
    return Path(tempfile.mkdtemp(prefix="aideploy-", dir="/tmp"))


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)
