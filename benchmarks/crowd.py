"""Many hosts on one controller: sandbox hosts on loopback, and what the controller spends on them.

A fleet of ours runs in a process of its own, whose memory and CPU time the kernel counts. Called by
`__main__`; run as a program it is that process.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from aideploy.sandbox.lifecycle import Sandbox
from benchmarks.measuring import Mark, Row, Table, mark

CROWDS = (50, 100, 200)
WORKERS = 100
WORK_SECONDS = 10
WORK_CPU_SECONDS = 2.0


@dataclass(frozen=True)
class Spent:
    """What a process spent on its hosts: seconds, bytes."""

    wall: float
    cpu: float
    working_cpu: float
    memory: int


def measure(folder: Path, crowds: Sequence[int] = CROWDS) -> Table:
    """Open a session on so many hosts at once; then let them work while the controller waits."""
    with Sandbox(folder / "sandbox") as sandbox:
        status = sandbox.up(max(crowds))
        (folder / "hosts.toml").write_text(
            '[app]\nname = "crowd"\nrepository = "/nowhere"\n[serve]\ncommand = "true"\n'
            + status.environment_toml(app="crowd", port=8000)
        )
        _spend(folder, max(crowds), 0)
        spent = {count: _spend(folder, count, 0) for count in crowds}
        working = _spend(folder, min(WORKERS, max(crowds)), WORK_SECONDS)
    least = min(crowds)
    rows = [
        Row(
            f"{count} sessions at once",
            (each.wall,),
            each.wall / spent[least].wall,
            f"{each.cpu:.2f} s CPU ({each.cpu / count * 1000:.0f} ms a host), "
            f"{each.memory / 1024 / 1024:.0f} MB at most",
            "linear" if count > least else "",
            mark(each.cpu / count <= 1.5 * spent[least].cpu / least)
            if count > least
            else Mark.NONE,
        )
        for count, each in spent.items()
    ]
    rows.append(
        Row(
            f"{min(WORKERS, max(crowds))} hosts working for {WORK_SECONDS} s",
            (working.working_cpu,),
            note=f"CPU of the controller while they work; {working.wall:.0f} s in all",
            promise=f"≤ {WORK_CPU_SECONDS:.0f} s CPU",
            mark=mark(working.working_cpu <= WORK_CPU_SECONDS),
        )
    )
    return Table("a crowd of sandbox hosts", tuple(rows))


def _spend(folder: Path, count: int, seconds: int) -> Spent:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.crowd", str(folder), str(count), str(seconds)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Spent(**json.loads(ran.stdout))


def _be_the_controller(folder: Path, count: int, seconds: int) -> Spent:
    import fabric

    from aideploy.events import Events
    from aideploy.remote.fleet import Fleet
    from aideploy.remote.script import Script
    from aideploy.remote.session import Lock
    from aideploy.settings import load

    @dataclass(frozen=True)
    class Given(Script):
        def text(self) -> str:
            return self.name

    settings = load(folder / "hosts.toml", "sandbox")
    began = time.monotonic()
    fleet = Fleet(
        settings.hosts[:count],
        root=str(PurePosixPath(settings.app.deploy_to)),
        owner="benchmark",
        events=Events(),
        config=fabric.Config(),
        max_connects=settings.ssh.max_connects,
    )
    with fleet:
        fleet.open(Lock.NONE, Given("true"))
        before = _cpu()
        if seconds:
            from aideploy.events import Phase

            fleet.each(Phase.WATCH, lambda s: s.run(Phase.WATCH, Given(f"sleep {seconds}"))[0])
        working = _cpu() - before
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Spent(time.monotonic() - began, _cpu(), working, usage.ru_maxrss * 1024)


def _cpu() -> float:
    times = os.times()
    return times.user + times.system


if __name__ == "__main__":
    folder, count, seconds = sys.argv[1:]
    print(json.dumps(asdict(_be_the_controller(Path(folder), int(count), int(seconds)))))
