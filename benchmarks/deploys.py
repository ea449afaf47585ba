"""Deploys of one app to the same hosts by every contender, in turn: A B C, A B C, …

A cell is the work, the number of hosts and the distance to them. Called by `__main__`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import TypeVar

from benchmarks.contenders import Aideploy, Contender, Cost, Plain, Raw
from benchmarks.measuring import Row, Table, mark
from benchmarks.scene import Scene, Tool

T = TypeVar("T")

NEAR = timedelta(0)
FAR = timedelta(milliseconds=50)
ROUND_TRIPS = 10


class Work(StrEnum):
    """What has to be done beside fetching, testing, training and serving."""

    PIP = "pip"
    UV = "uv"
    REUSED = "reused"


@dataclass(frozen=True)
class Cell:
    """One measurement.

    Args:
        work: pip or uv build an environment, or there is one.
        hosts: how many.
        round_trip: to the hosts.
        rounds: how often each contender deploys.
    """

    work: Work
    hosts: int
    round_trip: timedelta
    rounds: int

    @property
    def title(self) -> str:
        what = {
            Work.PIP: "environment built by pip",
            Work.UV: "environment built by uv",
            Work.REUSED: "environment reused",
        }[self.work]
        hosts = "1 host" if self.hosts == 1 else f"{self.hosts} hosts"
        return f"deploy, {what}, {hosts}, round trip {milliseconds(self.round_trip)} ms"

    @property
    def promise(self) -> float:
        """How many times raw ssh's time aideploy may take."""
        match self.work:
            case Work.PIP:
                return 1.15
            case Work.UV:
                return 1.3
            case Work.REUSED:
                return 1.25 if self.round_trip else 1.4


# Ten environments built at once take a small machine a minute, and vary little: one round says it.
CELLS = tuple(
    Cell(work, hosts, round_trip, 1 if (work, hosts) == (Work.PIP, 10) else 3)
    for work in Work
    for hosts in (1, 10)
    for round_trip in (NEAR, FAR)
)


def contenders(scene: Scene) -> tuple[Contender, ...]:
    """Those who take part, the baseline first."""
    return (Raw(scene), Plain(scene), Aideploy(scene))


def warm_up(scene: Scene, those: Sequence[Contender]) -> None:
    """Deploy once with each, so that each has a mirror, an environment and a release to replace."""
    for contender in those:
        scene.set_up(contender.app)
        order = scene.order(Tool.UV, len(scene.lab.hosts), new_dependencies=False)
        contender.prepare(order)
        contender.deploy(order)


def measure(scene: Scene, cell: Cell, those: Sequence[Contender]) -> Table:
    """Let every contender deploy the same commits, one after the other, round by round."""
    tool = Tool.PIP if cell.work is Work.PIP else Tool.UV
    seconds: dict[str, list[float]] = {each.name: [] for each in those}
    costs: dict[str, Cost] = {}
    with distance(scene, cell.round_trip):
        for _ in range(cell.rounds):
            order = scene.order(tool, cell.hosts, new_dependencies=cell.work is not Work.REUSED)
            for contender in those:
                contender.prepare(order)
                took, costs[contender.name] = timed(partial(contender.deploy, order))
                seconds[contender.name].append(took)
    baseline = statistics.median(seconds[those[0].name])
    return Table(
        cell.title,
        tuple(
            _row(cell, name, tuple(took), baseline, costs[name]) for name, took in seconds.items()
        ),
    )


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return how many seconds the work took, and its result."""
    began = time.monotonic()
    result = work()
    return time.monotonic() - began, result


def distance(scene: Scene, round_trip: timedelta) -> AbstractContextManager[None]:
    """All hosts so far away, for the length of a `with` block."""
    return scene.lab.distant(round_trip) if round_trip else nullcontext()


def milliseconds(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)


def _row(cell: Cell, name: str, seconds: tuple[float, ...], baseline: float, cost: Cost) -> Row:
    ratio = statistics.median(seconds) / baseline
    note = f"{cost.connections} connection, {cost.channels} channels"
    if cost.round_trips is not None:
        note += f", {cost.round_trips} round trips"
    if name != Aideploy.name:
        return Row(name, seconds, ratio, note)
    kept = ratio <= cell.promise and cost.channels == 1 and (cost.round_trips or 0) <= ROUND_TRIPS
    return Row(name, seconds, ratio, note, f"≤ {cell.promise}", mark(kept))
