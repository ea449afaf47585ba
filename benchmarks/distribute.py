"""A model from one train host to many serve hosts: aideploy beside `ssh | tee >(ssh …)`.

Real hosts of the lab, in turns: raw, aideploy, raw, … A fleet of ours runs in a process of its own,
whose memory the kernel counts. Its time begins with the first connection, as raw ssh's does, and
ends when every checksum is verified and everything is on the disks, which raw ssh leaves out.
Called by `__main__`; run as a program it is that process.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from benchmarks.deploys import timed
from benchmarks.measuring import Row, Table, mark
from benchmarks.scene import run
from tests.lab.hosts import Host, Lab

RAW_SCRIPT = Path(__file__).with_name("raw_distribute.sh")
ROOT = PurePosixPath("/srv/bench-distribute")
RAW_FILE = ROOT / "raw"
SERVING = 10
MEGABYTE = 1 << 20
MOST_RATIO = 1.3
MOST_MEMORY = 200 * MEGABYTE
PIECE_BYTES = 16 * MEGABYTE


@dataclass(frozen=True)
class Spent:
    """What a fleet of ours spent: seconds with and without connecting, of CPU time; bytes."""

    wall: float
    distribute: float
    cpu: float
    memory: int


def measure(folder: Path, megabytes: int, rounds: int, serving: int = SERVING) -> Table:
    """Send a model of so many megabytes (of 2**20 bytes) to so many hosts, and measure it."""
    raw: list[float] = []
    ours: list[Spent] = []
    with Lab(serving + 1) as lab:
        train, *serve = lab.hosts
        for host in lab.hosts:
            host.exec(f"install -d -o deploy -g deploy {ROOT} {ROOT}/models")
        model = _make_model(train, megabytes)
        _write_settings(folder, lab)
        file = ROOT / "models" / model / "weights"
        words = [str(lab.ssh_config), str(file), str(RAW_FILE), train.name]
        command = ["bash", str(RAW_SCRIPT), *words, *(host.name for host in serve)]
        for _ in range(rounds):
            _clean(serve)
            raw.append(timed(partial(run, command, folder))[0])
            _require_same(RAW_FILE, serve)
            _clean(serve)
            ours.append(_spend(folder, model))
            _require_same(file, lab.hosts)
    return _table(megabytes, serving, raw, ours)


def _table(megabytes: int, serving: int, raw: Sequence[float], ours: Sequence[Spent]) -> Table:
    ratio = statistics.median(spent.wall for spent in ours) / statistics.median(raw)
    memory = max(spent.memory for spent in ours)
    note = (
        f"{min(spent.wall - spent.distribute for spent in ours):.1f} s of it connecting, "
        f"{statistics.median(spent.cpu for spent in ours):.1f} s CPU, "
        f"{memory // MEGABYTE} MiB of memory at most"
    )
    return Table(
        f"a model of {megabytes} MiB from one host to {serving}",
        (
            Row("ssh | tee | ssh", tuple(raw), 1.0, "neither verified nor synced to the disks"),
            Row(
                "aideploy",
                tuple(spent.wall for spent in ours),
                ratio,
                note,
                f"≤ {MOST_RATIO}, {MOST_MEMORY // MEGABYTE} MiB",
                mark(ratio <= MOST_RATIO and memory <= MOST_MEMORY),
            ),
        ),
    )


def _make_model(train: Host, megabytes: int) -> str:
    """Make a model on the host; its name."""
    folder = train.path(ROOT / "models" / "made")
    folder.mkdir()
    digest = hashlib.sha256()
    with (folder / "weights").open("wb") as file:
        left = megabytes * MEGABYTE
        while left:
            piece = os.urandom(min(left, PIECE_BYTES))
            digest.update(piece)
            file.write(piece)
            left -= len(piece)
    (folder / ".complete").touch()
    model = hashlib.sha256(f"{digest.hexdigest()}  ./weights\n".encode()).hexdigest()
    folder.rename(folder.with_name(model))
    train.exec(f"chown -R deploy: {ROOT}")
    return model


def _require_same(file: PurePosixPath, hosts: Sequence[Host]) -> None:
    """Raise RuntimeError unless all of these hosts have the same file."""
    arrived = {host.exec(f"sha256sum < {file}").stdout for host in hosts}
    if len(arrived) != 1:
        raise RuntimeError(f"not all hosts have the same {file}: {arrived}")


def _clean(serve: Sequence[Host]) -> None:
    """Forget what the last one sent, so that it burdens nobody else."""
    for host in serve:
        host.exec(f"rm -rf {RAW_FILE} {ROOT}/models && install -d -o deploy {ROOT}/models")
    os.sync()


def _write_settings(folder: Path, lab: Lab) -> None:
    hosts = "".join(
        f'[environments.bench.hosts.{host.name}]\naddress = "{host.address}"\n'
        for host in lab.hosts
    )
    (folder / "hosts.toml").write_text(
        f'[app]\nname = "bench-distribute"\nrepository = "/nowhere"\n'
        f'[ssh]\nuser = "deploy"\nkey = "{lab.key}"\nknown_hosts = "{lab.known_hosts}"\n'
        f'[serve]\ncommand = "true"\n{hosts}'
    )


def _spend(folder: Path, model: str) -> Spent:
    command = [sys.executable, "-m", "benchmarks.distribute", str(folder), model]
    return Spent(**json.loads(run(command, Path(__file__).parents[1]).splitlines()[-1]))


def _be_the_controller(folder: Path, model: str) -> Spent:
    import fabric

    from aideploy.delivery.distribution import distributions
    from aideploy.events import Events, Phase
    from aideploy.phases import facts as looking
    from aideploy.remote.fleet import Fleet
    from aideploy.remote.session import Lock
    from aideploy.settings import load

    settings = load(folder / "hosts.toml", "bench")
    before = _cpu()
    began = time.monotonic()
    fleet = Fleet(
        settings.hosts,
        root=str(settings.app.deploy_to),
        owner="benchmark",
        events=Events(),
        config=fabric.Config(),
        max_connects=settings.ssh.max_connects,
    )
    with fleet:
        opened = fleet.open(Lock.NONE, looking.script(settings))
        facts = {name: looking.read(name, result) for name, result in opened.items()}
        connected = time.monotonic()
        train, *serve = fleet.names
        for way in distributions(Events(), fleet.sessions, facts, model, train, serve):
            fleet.each(Phase.DISTRIBUTE, way.work, way.hosts)
        ended = time.monotonic()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu = _cpu() - before
    return Spent(ended - began, ended - connected, cpu, usage.ru_maxrss * 1024)


def _cpu() -> float:
    """Return the CPU time of this process alone, in seconds."""
    times = os.times()
    return times.user + times.system


if __name__ == "__main__":
    print(json.dumps(asdict(_be_the_controller(Path(sys.argv[1]), sys.argv[2]))))
