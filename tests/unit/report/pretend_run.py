"""A run without hosts, for the tests and for eyes: the events of a deploy, published in its time.

    python tests/unit/report/pretend_run.py --hosts 200 --fail --pace 0.2

It goes through `choose.readers` like a real command, so what one sees depends on the terminal, on
`--json` and on the environment. The hosts write what unfriendly programs write.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from aideploy.events import (
    Evaluated,
    Event,
    Events,
    Failure,
    HostFinished,
    HostState,
    Notice,
    Outcome,
    OutputReceived,
    Phase,
    PhaseFinished,
    PhaseStarted,
    RunFinished,
    RunStarted,
    StepStarted,
)
from aideploy.gates.model import Baseline, evaluate
from aideploy.report.choose import readers
from aideploy.settings.gate import Gate

NASTY = (
    "\x1b[2J\x1b[31mred\x1b[0m \x1b]0;title\x07[bold]not bold[/bold] \u202egnp.exe"
    " ::error::no ##[error]no"
)
OLD, NEW = "20240501T101500Z-77e01ac", "20240502T091210Z-3f2a9bc"
TIMED_OUT = "the service did not answer /healthz within 60s"


def deploy(hosts: tuple[str, ...], *, fail: bool, log: Path | None) -> Iterator[Event]:
    """The events of a deploy, in order; every host of a phase says something before any is done."""
    yield RunStarted(
        command="deploy", app="ranker", environment="production", hosts=hosts, who="ada", log=log
    )
    yield from phase(Phase.OPEN, hosts, "connecting", "Debian 12")
    yield from phase(Phase.FETCH, hosts, "unpacking main", "3f2a9bc")
    yield from phase(Phase.INSTALL, hosts, "building the environment", "reused")
    yield from phase(Phase.TEST, hosts[:1], "running the tests", "exit status 0")
    yield verdict()
    yield Notice(text="no gate is configured", level="warning")
    if fail:
        yield from phase(Phase.STAGE, hosts, "starting", "ready", failed=hosts[-2:])
        yield RunFinished(
            status=3,
            headline="Nothing was switched: the new release did not become ready",
            seconds=12.3,
            failures=tuple(failure(host) for host in hosts[-2:]),
            hosts=tuple(
                HostState(host=h, state="serves", release=OLD, healthy=True) for h in hosts
            ),
            next_step=f"fab logs --env production --only {hosts[-1]}",
            log=log,
        )
        return
    yield from phase(Phase.STAGE, hosts, "starting", "ready")
    yield from phase(Phase.SWITCH, hosts, "renaming current", "live")
    yield RunFinished(
        status=0,
        headline="3f2a9bc is live",
        seconds=12.3,
        hosts=tuple(HostState(host=h, state="serves", release=NEW, healthy=True) for h in hosts),
        log=log,
    )


def verdict() -> Evaluated:
    """A model that is better than before, with a slice that is not, and a metric not there."""
    gates = (
        Gate(metric="auc", min=0.7, max_drop=0.01),
        Gate(metric="auc", slice="new_users", max_drop=0.01),
        Gate(metric="f1", min=0.5),
    )
    before = {"auc": 0.76, "slices": {"new_users": {"auc": 0.71}}}
    metrics = json.dumps({"auc": 0.77, NASTY: 1, "slices": {"new_users": {"auc": 0.61}}})
    return Evaluated(
        app="ranker",
        environment="production",
        release=NEW,
        evaluation=evaluate(gates, metrics.encode(), Baseline(OLD, before)),
    )


def phase(
    name: Phase, hosts: tuple[str, ...], step: str, message: str, failed: tuple[str, ...] = ()
) -> Iterator[Event]:
    """One phase on these hosts, some of which may fail in it."""
    yield PhaseStarted(phase=name, hosts=hosts)
    for host in hosts:
        yield StepStarted(phase=name, host=host, text=step)
        for number in range(25):
            yield OutputReceived(phase=name, host=host, line=f"{name} line {number} {NASTY}")
    for host in hosts:
        bad = host in failed
        yield HostFinished(
            phase=name,
            host=host,
            outcome=Outcome.FAILED if bad else Outcome.DONE,
            seconds=1.2,
            message=TIMED_OUT if bad else message,
        )
    yield PhaseFinished(phase=name, outcome=Outcome.FAILED if failed else Outcome.DONE, seconds=1.3)


def failure(host: str) -> Failure:
    """What went wrong on a host that was told to fail."""
    return Failure(
        what=TIMED_OUT, host=host, phase=Phase.STAGE, why=f"ranker@green on {host} exited with 1"
    )


def names(number: int) -> tuple[str, ...]:
    """gpu1, gpu2, ..."""
    return tuple(f"gpu{index}" for index in range(1, number + 1))


def cpu_seconds(idle: float) -> float:
    """What this process uses in so many seconds without an event; the first drawing is left out."""
    time.sleep(0.3)
    before = time.process_time()
    time.sleep(idle)
    return time.process_time() - before


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--log", type=Path)
    parser.add_argument("--pace", type=float, default=0.0, help="seconds before each host is done")
    parser.add_argument("--idle", type=float, default=0.0, help="seconds without any event")
    parser.add_argument("--die", action="store_true", help="end without a last word")
    options = parser.parse_args()
    events = Events(
        *readers(sys.stdout, sys.stderr, os.environ, json=options.json, log=options.log)
    )
    for event in deploy(names(options.hosts), fail=options.fail, log=options.log):
        if isinstance(event, HostFinished):
            time.sleep(options.pace)
        if options.idle and isinstance(event, HostFinished) and event.phase is Phase.INSTALL:
            print(f"CPU seconds while idle: {cpu_seconds(options.idle):.3f}")
            options.idle = 0.0
        if options.die and isinstance(event, Notice):
            return 1
        events.publish(event)
    return 0


if __name__ == "__main__":
    sys.exit(main())
