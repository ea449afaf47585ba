"""Commands that do little, where starting and connecting is what counts: trivial work on a far
fleet, `fab --list`, and a rollback. Called by `__main__`.
"""

from __future__ import annotations

import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

from benchmarks.contenders import Aideploy, cost
from benchmarks.deploys import FAR, distance, timed
from benchmarks.measuring import Row, Table, mark
from benchmarks.scene import FAB, Order, Scene, Tool, run
from tests.lab.hosts import Host

CURVE = ("-o", "KexAlgorithms=curve25519-sha256")
ROLLBACK_SECONDS = 2.0
FAB_LIST_RATIO = 1.5
TRIVIAL_FABFILE = Path(__file__).with_name("trivial_fabfile.py")
RESTART = """
sudo -n systemctl restart {app}@live.service
for try in $(seq 600); do
  curl --silent --fail http://127.0.0.1:{port}/healthz >/dev/null && exit
  sleep 0.05
done
exit 1
"""


def measure_trivial(scene: Scene, rounds: int) -> Table:
    """Thirty times `true` on every host, 50 ms away: by parallel `ssh`, and by a task of ours."""
    hosts = scene.lab.hosts
    script = "true\n" * 30
    folder = scene.project(Aideploy.app, Tool.UV, hosts)
    (folder / "trivial").mkdir(exist_ok=True)
    (folder / "trivial" / "fabfile.py").write_text(TRIVIAL_FABFILE.read_text())
    ours = [*FAB, "-r", "trivial", "trivial", "--script", script]
    with distance(scene, FAR):
        default, curve, fab = _in_turn(
            rounds,
            lambda: ssh_everywhere(scene, hosts, script),
            lambda: ssh_everywhere(scene, hosts, script, CURVE),
            lambda: run(ours, folder),
        )
    baseline = statistics.median(default)
    ratio = statistics.median(fab) / baseline
    return Table(
        f"trivial work, {len(hosts)} hosts, round trip 50 ms",
        (
            Row("raw ssh, default key exchange", default, 1.0),
            Row("raw ssh, curve25519", curve, statistics.median(curve) / baseline),
            Row("aideploy", fab, ratio, promise="≤ 1.0", mark=mark(ratio <= 1.0)),
        ),
    )


def measure_start(folder: Path, rounds: int) -> Table:
    """`fab --list` in a checkout, beside what Fabric alone costs."""
    (folder / "fabfile.py").write_text("from aideploy import namespace\n\nns = namespace()\n")
    alone, listed = _in_turn(
        rounds,
        lambda: run([sys.executable, "-c", "import fabric"], folder),
        lambda: run([str(Path(sys.executable).with_name("fab")), "--list"], folder),
    )
    ratio = statistics.median(listed) / statistics.median(alone)
    return Table(
        "start",
        (
            Row('python -c "import fabric"', alone, 1.0),
            Row(
                "fab --list",
                listed,
                ratio,
                promise=f"≤ {FAB_LIST_RATIO}",
                mark=mark(ratio <= FAB_LIST_RATIO),
            ),
        ),
    )


def measure_rollback(
    scene: Scene, contender: Aideploy, rounds: int, round_trip: timedelta
) -> Table:
    """`fab rollback`, beside connecting by raw ssh and restarting the service there."""
    hosts = scene.lab.hosts
    restart = RESTART.format(app=contender.app.name, port=contender.app.port)
    restarted: list[float] = []
    rolled_back: list[float] = []
    for _ in range(rounds):
        order: Order = scene.order(Tool.UV, len(hosts), new_dependencies=False)
        contender.prepare(order)
        contender.deploy(order)
        folder = scene.project(contender.app, Tool.UV, hosts)
        with distance(scene, round_trip):
            restarted.append(timed(lambda: ssh_everywhere(scene, hosts, restart))[0])
            rolled_back.append(timed(partial(run, [*FAB, "rollback"], folder))[0])
    counted = cost(folder)
    beyond = statistics.median(rolled_back) - statistics.median(restarted)
    return Table(
        f"rollback, {len(hosts)} hosts, round trip {round(round_trip.total_seconds() * 1000)} ms",
        (
            Row("raw ssh: connect, restart, healthy", tuple(restarted), 1.0),
            Row(
                "fab rollback",
                tuple(rolled_back),
                statistics.median(rolled_back) / statistics.median(restarted),
                f"{beyond:.2f} s beyond, {counted.round_trips} round trips",
                f"≤ {ROLLBACK_SECONDS:.0f} s beyond",
                mark(beyond <= ROLLBACK_SECONDS),
            ),
        ),
    )


def ssh_everywhere(
    scene: Scene, hosts: Sequence[Host], script: str, options: Sequence[str] = ()
) -> None:
    """Run a script on the hosts with one `ssh` process each, at once.

    Raises:
        RuntimeError: it failed on one.
    """
    processes = [
        subprocess.Popen(
            [
                *("ssh", "-F", str(scene.lab.ssh_config), *options, host.name),
                shlex.join(["bash", "-c", script]),
            ],
            stdin=subprocess.DEVNULL,
        )
        for host in hosts
    ]
    statuses = [process.wait() for process in processes]
    if any(statuses):
        raise RuntimeError("raw ssh failed")


def _in_turn(rounds: int, *works: Callable[[], object]) -> list[tuple[float, ...]]:
    """Return how long each took, in every round; they take turns, after one round for nothing."""
    seconds = [[timed(work)[0] for work in works] for _ in range(rounds + 1)][1:]
    return [tuple(column) for column in zip(*seconds, strict=True)]
