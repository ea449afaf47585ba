"""Finding and ending the processes of a sandbox, also those whose SSH server died long ago.

Called by `lifecycle`. A process belongs to a sandbox when its environment carries the sandbox's
mark, or when it descends from, or shares a session with, one that does: a program may have cleared
its environment. (The SSH server adopts orphans; only what has cleared its environment *and* lost
its parents *and* the server cannot be found.) No process id is ever remembered, so a reused one
cannot be hit; psutil compares start times before it sends a signal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil

from aideploy.errors import HostNotReady
from aideploy.sandbox.environment import HOST_MARK, SANDBOX_MARK

_GRACE = timedelta(seconds=5)
_LIMIT = timedelta(seconds=15)
_LOOK_AGAIN = timedelta(milliseconds=300)


@dataclass(frozen=True)
class Running:
    """One living process as it was seen: 0 for a parent or session that cannot be told."""

    process: psutil.Process
    parent: int
    session: int
    sandbox: str | None
    host: str | None


def processes_of(folder: Path) -> list[Running]:
    """Every living process of the sandbox in this folder, its SSH server included."""
    living = list(_living())
    marked = [running for running in living if running.sandbox == str(folder)]
    sessions = {running.session for running in marked} - {0}
    family = {running.process.pid for running in marked}
    family.update(running.process.pid for running in living if running.session in sessions)
    while (
        children := {running.process.pid for running in living if running.parent in family} - family
    ):
        family |= children
    return [running for running in living if running.process.pid in family]


def end_all(folder: Path) -> None:
    """End every process of the sandbox: politely, and after a grace of five seconds by force.

    Raises:
        HostNotReady: some process is still there in the end.
    """
    start = time.monotonic()
    # Kept until gone: what has cleared its environment is found only while its parents live.
    remaining: set[psutil.Process] = set()
    while remaining := remaining | {running.process for running in processes_of(folder)}:
        waited = timedelta(seconds=time.monotonic() - start)
        if waited > _LIMIT:
            raise HostNotReady(
                "the sandbox could not be taken down",
                why="still running: " + ", ".join(str(process) for process in remaining),
                next_step="end these processes, then run `fab sandbox.down` again",
            )
        stop = psutil.Process.kill if waited > _GRACE else psutil.Process.terminate
        for process in remaining:
            _unless_gone(process, stop)
        _, alive = psutil.wait_procs(remaining, timeout=_LOOK_AGAIN.total_seconds())
        remaining = {process for process in alive if not _is_zombie(process)}


def _unless_gone(process: psutil.Process, stop: Callable[[psutil.Process], None]) -> None:
    try:
        stop(process)
    except psutil.NoSuchProcess:
        return


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _living() -> Iterator[Running]:
    for process in psutil.process_iter(["pid", "ppid", "status", "environ"]):
        if process.info["status"] == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
            continue
        environment = process.info["environ"] or {}
        yield Running(
            process=process,
            parent=process.info["ppid"] or 0,
            session=_session(process),
            sandbox=environment.get(SANDBOX_MARK),
            host=environment.get(HOST_MARK),
        )


def _session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except OSError:
        return 0
