"""What each lab on this machine has taken, written down so that it can be given back.

A lab claims its number here before it makes anything and adds each process it starts; `dismantle`
takes a lab down from this record alone. So a lab that ends well, one that failed half-way and one
whose run was killed are all removed by the same code. Processes are known by their id and the
moment they started, never by a name. Called by `hosts` and `clean`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tests.lab import network
from tests.lab.cache import cache_folder, locked

# One place for the whole machine, whatever its caches are: numbers and addresses are shared.
RECORDS = Path("/run/aideploy-labs")
CONTROL_GROUPS = (
    Path("/sys/fs/cgroup/unified"),
    Path("/sys/fs/cgroup/systemd"),
    Path("/sys/fs/cgroup"),
)
# Where a host's memory is limited; not every host has a control group here.
MEMORY = Path("/sys/fs/cgroup/memory")
PATIENCE_SECONDS = 15.0


@dataclass(frozen=True)
class Process:
    """One process, told apart from a later one with the same id by the moment it started.

    `started` is in clock ticks since the machine's boot: field 22 of /proc/PID/stat, proc(5).
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this id now; raises ProcessLookupError without one."""
        return cls(pid, int(_stat(pid)[19]))

    @property
    def is_alive(self) -> bool:
        """Whether it still runs. One that ended and waits to be collected does not."""
        try:
            stat = _stat(self.pid)
        except ProcessLookupError:
            return False
        return stat[0] not in "ZX" and int(stat[19]) == self.started

    def kill(self) -> None:
        """SIGKILL, unless it has ended already."""
        if self.is_alive:
            os.kill(self.pid, signal.SIGKILL)


@dataclass(frozen=True)
class Record:
    """One lab: its number, who runs it, its folder, how many hosts, the processes it started."""

    number: int
    owner: Process
    folder: Path
    hosts: int
    processes: tuple[Process, ...] = ()

    @property
    def host_numbers(self) -> range:
        return range(1, self.hosts + 1)

    def with_process(self, pid: int) -> Record:
        """The record with this process added, on disk as well."""
        added = replace(self, processes=(*self.processes, Process.of(pid)))
        _write(added, _file(self.number))
        return added


def claim(hosts: int) -> Record:
    """Take a free number and an empty folder for a lab of so many hosts.

    What killed runs left behind is removed first.
    """
    RECORDS.mkdir(exist_ok=True)
    with locked(RECORDS / "lock"):
        _remove_abandoned()
        taken = {record.number for record in _all()}
        number = next(n for n in range(network.MAX_LABS) if n not in taken and network.is_free(n))
        owner = Process.of(os.getpid())
        folder = cache_folder() / "labs" / f"{number}-{owner.pid}-{owner.started}"
        record = Record(number, owner, folder, hosts)
        _write(record, _file(number))
        folder.mkdir(parents=True)
        return record


def remove_abandoned() -> list[int]:
    """Remove every lab whose owner is dead; returns their numbers. Living labs stay as they are."""
    RECORDS.mkdir(exist_ok=True)
    with locked(RECORDS / "lock"):
        return _remove_abandoned()


def dismantle(record: Record) -> None:
    """Remove everything the lab made, or as much of it as is there.

    Raises:
        RuntimeError: something could not be removed. The record stays, so it can be tried again.
    """
    _end_processes(record)
    _unmount(record.folder)
    network.demolish(record.number, record.host_numbers)
    for host in record.host_numbers:
        remove_control_groups(network.namespace(record.number, host))
    if record.folder.exists():
        shutil.rmtree(record.folder)
    _file(record.number).unlink(missing_ok=True)


def remove_control_groups(name: str, trees: Sequence[Path] = (*CONTROL_GROUPS, MEMORY)) -> None:
    """Remove the control groups of this name, that `boot.sh` and others made in these trees.

    They have no processes any more, but stay busy for a moment after the last one ended.
    """

    def nothing_left() -> bool:
        try:
            for tree in trees:
                for folder, _, _ in os.walk(tree / name, topdown=False):
                    Path(folder).rmdir()
        except OSError:
            return False
        return True

    wait_until(nothing_left, f"to remove the control group {name}")


def wait_until(happened: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Return as soon as it happened; raises RuntimeError naming `what` if it does not in time."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(0.02)


def _remove_abandoned() -> list[int]:
    abandoned = [record for record in _all() if not record.owner.is_alive]
    for record in abandoned:
        dismantle(record)
    return [record.number for record in abandoned]


def _end_processes(record: Record) -> None:
    # Whatever is inside the hosts too: a run can be killed between starting a process and
    # writing it down.
    inside = [
        pid for host in record.host_numbers for pid in network.pids_inside(record.number, host)
    ]
    processes = [*record.processes, *_known(inside)]
    for process in processes:
        process.kill()
    wait_until(
        lambda: not any(process.is_alive for process in processes),
        f"the processes of lab {record.number} to end",
    )


def _known(pids: list[int]) -> Iterator[Process]:
    for pid in pids:
        try:
            yield Process.of(pid)
        except ProcessLookupError:
            continue


def _unmount(folder: Path) -> None:
    """Unmount all below the folder, the last mounted first.

    A mount is still busy for a moment after the last process on it ended.
    """

    def nothing_mounted() -> bool:
        mounted = mounts_below(folder)
        for point in reversed(mounted):
            subprocess.run(["umount", str(point)], capture_output=True, check=False)
        return not mounted

    wait_until(nothing_mounted, f"to unmount {folder}")


def mounts_below(folder: Path) -> list[Path]:
    """The mount points below the folder, in the order they were mounted (field 5, proc(5))."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = (Path(line.split()[4].replace("\\040", " ")) for line in lines)
    return [point for point in points if point.is_relative_to(folder)]


def _all() -> list[Record]:
    return [_read(file) for file in sorted(RECORDS.glob("*.json"))]


def _file(number: int) -> Path:
    return RECORDS / f"{number}.json"


def _read(file: Path) -> Record:
    saved = json.loads(file.read_text())
    return Record(
        number=saved["number"],
        owner=Process(**saved["owner"]),
        folder=Path(saved["folder"]),
        hosts=saved["hosts"],
        processes=tuple(Process(**process) for process in saved["processes"]),
    )


def _write(record: Record, file: Path) -> None:
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(asdict(record), default=str))
    unfinished.rename(file)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: those after the name in parentheses."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(f"no process {pid}") from None
    return text.rpartition(")")[2].split()
