"""The SSH server of a sandbox: one process that listens for all of its hosts.

Started by `lifecycle` as `python -m aideploy.sandbox.server FOLDER LOCK SOCKET...`, where LOCK is
the inherited descriptor of the lock that says that a server lives, and each SOCKET that of a host's
listening socket, in the order of the record. It knows hosts, keys and commands; it never decides
what goes up or down.
"""

from __future__ import annotations

import asyncio
import ctypes
import getpass
import os
import resource
import signal
import socket
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import asyncssh

from aideploy.sandbox import command
from aideploy.sandbox.environment import environment_of
from aideploy.sandbox.layout import Host, Layout, Record

_READY = b"ready\n"
_PR_SET_CHILD_SUBREAPER = 36
_REAP_INTERVAL = timedelta(seconds=0.5)


class _OnlyTheInvokingUser(asyncssh.SSHServer):
    """Lets in the user who made the sandbox, with the sandbox's client key."""

    def __init__(self, user: str, key: asyncssh.SSHKey) -> None:
        self._user = user
        self._key = key

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == self._user and key == self._key

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool:
        """Any host may be the jump host of another, as with sshd's own default."""
        return True


class _HomeSftp(asyncssh.SFTPServer):
    """Relative paths begin at the host's home, absolute ones are this machine's."""

    def __init__(self, home: Path, channel: asyncssh.SSHServerChannel[bytes]) -> None:
        super().__init__(channel)
        self._home = bytes(home)

    def map_path(self, path: bytes) -> bytes:
        return os.path.join(self._home, path)  # noqa: PTH118 - bytes


async def _serve(layout: Layout, hosts: tuple[Host, ...], sockets: list[socket.socket]) -> None:
    told_to_stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_stop.set)
    client_key = asyncssh.read_public_key(f"{layout.client_key}.pub")
    for host, listening in zip(hosts, sockets, strict=True):
        await asyncssh.listen(
            sock=listening,
            server_factory=partial(_OnlyTheInvokingUser, getpass.getuser(), client_key),
            server_host_keys=[str(layout.host_key(host))],
            process_factory=partial(
                command.run, home=layout.home(host), environment=environment_of(layout, host)
            ),
            sftp_factory=partial(_HomeSftp, layout.home(host)),
            encoding=None,
            line_editor=False,
            agent_forwarding=False,
            x11_forwarding=False,
        )
    _say_ready()
    reaping = asyncio.create_task(_reap_orphans())
    await _start_services(layout, hosts)
    await told_to_stop.wait()
    reaping.cancel()


def _say_ready() -> None:
    """Tell `lifecycle`, which reads our output up to its end; from here on it goes to the log."""
    os.write(sys.stdout.fileno(), _READY)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


async def _start_services(layout: Layout, hosts: tuple[Host, ...]) -> None:
    """As a booting host does: start supervisord where a service is installed."""
    for host in hosts:
        home = layout.home(host)
        if any((home / "supervisor" / "conf.d").glob("*.conf")):
            supervisorctl = await asyncio.create_subprocess_exec(
                home / "bin" / "supervisorctl",
                "pid",
                stdin=asyncio.subprocess.DEVNULL,
                cwd=home,
                env=environment_of(layout, host),
                start_new_session=True,
            )
            await supervisorctl.wait()


def _adopt_orphans() -> None:
    """Become the parent of what a command leaves behind, so that `processes` finds it by descent.

    Without this, one that has cleared its environment would be lost. prctl(2); Linux only.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


async def _reap_orphans() -> None:
    """Bury adopted processes. asyncio buries its own at once: one that stays dead is adopted."""
    seen = 0
    while True:
        await asyncio.sleep(_REAP_INTERVAL.total_seconds())
        dead = _some_dead_child()
        if dead and dead == seen:
            os.waitpid(dead, 0)
        seen = dead


def _some_dead_child() -> int:
    """Its process id, or 0. It is looked at, not reaped."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return found.si_pid if found else 0


def _allow_many_files() -> None:
    """Each connection and each pipe of each command is a descriptor."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    """Serve until told to stop by SIGTERM."""
    folder, _lock, *descriptors = sys.argv[1:]
    if os.fork():
        # Whoever brought the sandbox up shall not have to wait for its end.
        os._exit(0)
    _allow_many_files()
    _adopt_orphans()
    layout = Layout(Path(folder))
    record = Record.model_validate_json(layout.record.read_bytes())
    sockets = [socket.socket(fileno=int(descriptor)) for descriptor in descriptors]
    asyncio.run(_serve(layout, record.hosts, sockets))


if __name__ == "__main__":
    main()
