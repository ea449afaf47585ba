"""`python -m benchmarks`: measure all, or what is named, and print it as tables."""

from __future__ import annotations

import argparse
import compileall
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from rich.console import Console

import aideploy
from aideploy.settings.values import duration
from benchmarks import crowd, deploys, distribute, monitoring, short, table, under_load
from benchmarks.contenders import Aideploy
from benchmarks.deploys import FAR, NEAR, Cell, Work
from benchmarks.measuring import Table
from benchmarks.scene import scene
from tests.lab.needs import missing

IN_THE_SCENE = (*Work, "trivial", "rollback", "under-load")
REAL_HOSTS = (*IN_THE_SCENE, "distribute")
EVERYTHING = (*REAL_HOSTS, "start", "crowd", "monitoring")
# Fractions of a second, which other work on the machine disturbs: many, for they are cheap.
START_ROUNDS = 15


def main() -> None:
    """Measure, print each table as soon as it is there, and write the file that was asked for."""
    options = _options()
    # As pip does when it installs; Invoke keeps Python from doing it by itself.
    compileall.compile_dir(Path(aideploy.__file__).parent, quiet=1)
    console = Console(width=None if sys.stdout.isatty() else 140)
    with tempfile.TemporaryDirectory() as folder:
        tables = []
        for measured in _measure(options, Path(folder), console):
            table.show(measured, console)
            tables.append(measured)
    if options.json:
        table.write(tables, options.json)


def _measure(options: argparse.Namespace, folder: Path, console: Console) -> Iterator[Table]:
    what = options.what or EVERYTHING
    rounds = options.rounds or (1 if options.quick else 3)
    if "start" in what:
        yield short.measure_start(_made(folder / "start"), START_ROUNDS)
    if "monitoring" in what:
        yield monitoring.measure(_made(folder / "monitoring"), rounds)
    if "crowd" in what:
        yield crowd.measure(_made(folder / "crowd"), (5, 10) if options.quick else crowd.CROWDS)
    real = [each for each in what if each in REAL_HOSTS]
    if not real:
        return
    if lacking := missing():
        console.print(f"cannot run here: {', '.join(real)}; missing: {'; '.join(lacking)}")
        return
    if "distribute" in real:
        yield distribute.measure(_made(folder / "distribute"), options.megabytes, rounds)
    if real == ["distribute"]:
        return
    cells = list(_cells(options, real))
    most = max([cell.hosts for cell in cells] or [0])
    if "trivial" in real or "rollback" in real:
        most = max(most, options.hosts or (1 if options.quick else 10))
    if "under-load" in real:
        most = max(most, under_load.HOSTS)
    with scene(most, _made(folder / "scene")) as stage:
        those = deploys.contenders(stage)
        deploys.warm_up(stage, those)
        for cell in cells:
            yield deploys.measure(stage, cell, those)
        if "trivial" in real:
            yield short.measure_trivial(stage, rounds)
        if "rollback" in real:
            yield short.measure_rollback(stage, Aideploy(stage), rounds, options.round_trip or NEAR)
        if "under-load" in real:
            yield under_load.measure(stage, rounds)


def _cells(options: argparse.Namespace, work: Sequence[str]) -> Iterator[Cell]:
    for cell in deploys.CELLS:
        chosen = (
            cell.work in work
            and options.hosts in (None, cell.hosts)
            and options.round_trip in (None, cell.round_trip)
            and not (options.quick and (cell.hosts, cell.round_trip) != (1, NEAR))
        )
        if chosen:
            yield replace(cell, rounds=options.rounds or (1 if options.quick else cell.rounds))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="*", choices=[*EVERYTHING, []], help="default: everything")
    parser.add_argument("--hosts", type=int, choices=(1, 10), help="only with so many hosts")
    parser.add_argument("--round-trip", type=_round_trip, help="only so far away: 0ms or 50ms")
    parser.add_argument("--rounds", type=int, help="how often each is measured")
    parser.add_argument(
        "--megabytes", type=int, default=128, help="of the model to distribute, 128 by default"
    )
    parser.add_argument("--quick", action="store_true", help="one host, nearby, one round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there too")
    return parser.parse_args()


def _round_trip(text: str) -> timedelta:
    found = duration(text)
    if found not in (NEAR, FAR):
        raise argparse.ArgumentTypeError("0ms or 50ms")
    return found


if __name__ == "__main__":
    main()
