"""`python -m benchmarks.analysis`: false alarms and misses of the live analysis.

The real checks, jury and arms over a simulated Prometheus: rollouts of the same release, which must
not be taken back, and of worse ones, which must be. The table is printed; the exit status is 1
where a promise does not hold.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from rich.console import Console
from rich.table import Table

from aideploy.analysis.arms import arms
from aideploy.analysis.findings import Verdict
from aideploy.analysis.jury import Case, Jury, cases
from aideploy.analysis.queries import templates
from aideploy.monitoring.presets import preset
from aideploy.settings.analysis import Analysis
from benchmarks.simulated_prometheus import TICK, Behaviour, Traffic, World, worse

BAKE = timedelta(minutes=2)
WAIT = timedelta(minutes=10)
HOSTS = ("h1", "h2", "h3", "h4")
BEFORE = 600
USUAL = Behaviour()
CHECKS = (
    {"name": "errors", "kind": "ratio"},
    {"name": "latency", "kind": "ratio", "signal": "latency"},
    {"name": "predictions", "kind": "drift"},
    {"name": "error limit", "kind": "slo", "limits": {"max": 0.05}},
)


@dataclass(frozen=True)
class Scene:
    """Rollouts of one kind.

    Args:
        name: what they are.
        traffic: what comes.
        new: how the new release behaves.
        wanted: how they should end: "passed", "held" or "taken back".
        whole: whether all batches are rolled out, or only the canary is watched.
    """

    name: str
    traffic: Traffic
    new: Behaviour
    wanted: str
    whole: bool = True


SAME = (
    Scene("the same, steady, 100 requests/s", Traffic(), USUAL, "passed"),
    Scene("the same, in bursts", Traffic(bursts=True), USUAL, "passed"),
    Scene("the same, errors in clusters (icc 0.05)", Traffic(clusters=0.05), USUAL, "passed"),
    Scene("the same, hosts differ by 5 %", Traffic(hosts=0.05), USUAL, "passed"),
    Scene("the same, 0.4 requests/s", Traffic(rate=0.4), USUAL, "held"),
)
WORSE = (
    Scene("errors 0.5 % to 3 %", Traffic(), worse(USUAL, errors=0.03), "taken back", whole=False),
    Scene("latency + 50 %", Traffic(), worse(USUAL, seconds=0.03), "taken back", whole=False),
    Scene(
        "predictions shifted (odds doubled)",
        Traffic(),
        worse(USUAL, prediction=USUAL.prediction + math.log(2)),
        "taken back",
        whole=False,
    ),
    Scene(
        "errors 0.5 % to 3 %, in bursts and clusters",
        Traffic(bursts=True, clusters=0.05),
        worse(USUAL, errors=0.03),
        "shown",
        whole=False,
    ),
)


def all_cases() -> tuple[Case, ...]:
    """The checks as a hosts.toml with defaults has them."""
    known = preset("generic")
    checks = [Analysis.model_validate(each) for each in CHECKS]
    return cases([(check, templates(check, known)) for check in checks], BAKE * len(HOSTS) + WAIT)


def rollout(scene: Scene, seed: int) -> tuple[str, float]:
    """Roll out once, host by host; return how it ends, and how long the last watch was."""
    number = len(HOSTS) if scene.whole else 1
    length = BAKE.total_seconds()
    # A batch may need longer than its bake; the next host switches in this world all the same, and
    # counts as one of the old release until that is decided. Both are the same here.
    begun = float(BEFORE)
    slots = [begun + place * (length + 2 * TICK) for place in range(number)]
    switched = dict.fromkeys(HOSTS, math.inf) | dict(zip(HOSTS, slots, strict=False))
    if scene.wanted == "held":
        # Nobody else switches before the canary is decided.
        switched = {host: begun if host == HOSTS[0] else math.inf for host in HOSTS}
    seconds = int(slots[-1] + length + WAIT.total_seconds()) + 60
    world = World(scene.traffic, USUAL, scene.new, switched, seconds, seed)
    for place, since in enumerate(slots):
        serving, others = HOSTS[: place + 1], HOSTS[place + 1 :]
        both = arms(
            "ranker", "production", serving, others, since=since, begun=begun, before=serving
        )
        jury = Jury(all_cases(), both, f"batch {place + 1}")
        end = since + length + WAIT.total_seconds()
        while True:
            case, due = jury.next()
            if due > end:
                return "held", due - since
            jury.look(case, world, due)
            verdict = jury.findings.verdict
            if verdict is Verdict.FAIL:
                return "taken back", due - since
            if due >= since + length and jury.passes(BAKE):
                break
    return "passed", length


def measure(
    scenes: Sequence[Scene], rounds: int, seed: int
) -> list[tuple[Scene, Counter[str], int]]:
    """Roll each scene out so often."""
    measured = []
    for scene in scenes:
        ends: Counter[str] = Counter()
        in_time = 0
        for number in range(rounds):
            end, after = rollout(scene, seed * 100_003 + number)
            ends[end] += 1
            in_time += end == "taken back" and after <= BAKE.total_seconds()
        measured.append((scene, ends, in_time))
    return measured


def main() -> int:
    """Measure, print the table, and say whether the promises hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.analysis", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="rollouts of each kind (200)")
    parser.add_argument("--seed", type=int, default=1, help="of the chance (1)")
    options = parser.parse_args()
    table = Table(title=f"{options.rounds} simulated rollouts of each kind")
    for column in ("rollouts", "taken back", "held", "passed", "promise", ""):
        table.add_column(column)
    broken = False
    for scene, ends, in_time in measure([*SAME, *WORSE], options.rounds, options.seed):
        if not scene.whole:
            promise, holds = "95 % within the bake", in_time >= 0.95 * options.rounds
            if scene.wanted == "shown":
                promise, holds = "", True
            shown = f"{in_time} within {BAKE.total_seconds():g} s"
        else:
            holds = ends["taken back"] <= 0.01 * options.rounds
            promise = "1 % taken back"
            if scene.wanted == "held":
                promise, holds = "all held", ends["held"] == options.rounds
            shown = str(ends["taken back"])
        mark = "✓" if holds else "✗"
        cells = (scene.name, shown, str(ends["held"]), str(ends["passed"]), promise, mark)
        table.add_row(*cells)
        broken |= not holds
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
