"""A deploy as it might have been, for the tests of the report and for eyes.

    python tests/unit/report/sample_run.py /tmp/report.html --hosts 40 --end refused

Times, numbers and hosts are made up; the page is made of them as of a real run's.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aideploy.events import (
    Batch,
    Evaluated,
    Event,
    Failure,
    HostFinished,
    HostState,
    Notice,
    Outcome,
    OutputReceived,
    Phase,
    PhaseFinished,
    PhaseStarted,
    ReleaseKnown,
    RunFinished,
    RunStarted,
    StepStarted,
)
from aideploy.gates.model import Baseline, Evaluation, evaluate
from aideploy.phases.journal import Verdict
from aideploy.records.record import Record
from aideploy.report.page.known import Happened, Known
from aideploy.report.page.looks import Analysis, Look
from aideploy.report.page.page import html
from aideploy.report.page.told import told
from aideploy.settings.gate import Gate

OLD, NEW = "20261122T161401Z-ba42314", "20261122T181419Z-f53c956"
REVISION = "f53c956" + "0" * 33
BEGAN = datetime(2026, 11, 22, 18, 14, 12, tzinfo=UTC)
BEFORE = {
    "auc": 0.912,
    "log_loss": 0.243,
    "calibration_error": 0.031,
    "latency_p99_ms": 41.0,
    "slices": {"new_users": {"auc": 0.874}, "mobile": {"auc": 0.905}},
}
AFTER = {
    "auc": 0.918,
    "log_loss": 0.236,
    "calibration_error": 0.029,
    "latency_p99_ms": 44.5,
    "slices": {"new_users": {"auc": 0.869}, "mobile": {"auc": 0.911}},
}
HOSTILE = (
    "<script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>"
    "\x1b[31mred\x1b[0m\x1b]0;title\x07 \u202egnp.exe &amp; \"'`{{ 7 * 7 }}"
)


class Clock:
    """Hands out moments, one after the other."""

    def __init__(self) -> None:
        self.now = BEGAN
        self.chance = random.Random(5)

    def after(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=seconds)


def evaluation(refused: bool) -> Evaluation:
    """What the gate says of the model."""
    gates = (
        Gate(metric="auc", min=0.85, max_drop=0.01),
        Gate(metric="auc", slice="new_users", max_drop=0.002 if refused else 0.01),
        Gate(metric="log_loss", greater_is_better=False, max=0.3),
        Gate(metric="latency_p99_ms", greater_is_better=False, max_drop_rel=0.2),
    )
    return evaluate(gates, json.dumps(AFTER).encode(), Baseline(OLD, BEFORE))


def run(hosts: Sequence[str], end: str) -> Iterator[Event]:
    """The events of a deploy that ends well, refused, rolled back, or not at all (killed)."""
    clock = Clock()
    yield RunStarted(
        at=BEGAN,
        command="deploy",
        app="ranker",
        environment="production",
        hosts=tuple(hosts),
        who="ana@laptop",
    )
    yield from phase(clock, Phase.OPEN, hosts, 0.6, "Debian 12, Python 3.11")
    yield from phase(clock, Phase.FETCH, hosts, 1.8, "f53c956 Try a new ranker")
    yield ReleaseKnown(at=clock.now, release=NEW, revision=REVISION)
    yield from phase(clock, Phase.INSTALL, hosts, 14.0, "built py3.11-4c1e09b2", lines=30)
    yield from phase(clock, Phase.TEST, hosts[:1], 6.3, "31 passed", lines=12)
    yield from phase(clock, Phase.TRAIN, hosts[:1], 71.0, "job 20261122T181440-1, model 77aa01c")
    yield from phase(clock, Phase.EVALUATE, hosts[:1], 0.4, "4 limits")
    yield Evaluated(
        at=clock.now,
        app="ranker",
        environment="production",
        release=NEW,
        evaluation=evaluation(end == "refused"),
    )
    if end == "refused":
        yield last(clock, hosts, 4, "the model gate refused the model: 1 of 5 limits broken")
        return
    yield from phase(clock, Phase.DISTRIBUTE, hosts, 5.5, "41.0 MB, verified")
    yield from phase(clock, Phase.STAGE, hosts, 9.0, "ready, 12 golden requests answered")
    yield Notice(at=clock.now, level="warning", host=hosts[-1], text="its clock is 4 s behind")
    if end == "killed":
        yield PhaseStarted(at=clock.now, phase=Phase.SWITCH, hosts=tuple(hosts[:1]))
        yield StepStarted(at=clock.after(1), phase=Phase.SWITCH, host=hosts[0], text="reloading")
        return
    rest = hosts[1:]
    parts = [hosts[:1], rest[: (len(rest) + 1) // 2], rest[(len(rest) + 1) // 2 :]]
    for number, part in enumerate(parts, 1):
        batch = Batch(number, len(parts), number == 1)
        yield from phase(clock, Phase.SWITCH, part, 1.6, "live, healthy", batch=batch)
        bad = part[:1] if end == "back" and number == 2 else ()
        yield from phase(clock, Phase.WATCH, part, 20.0, "healthy", batch=batch, failed=bad)
        if bad:
            yield from phase(clock, Phase.REVERT, hosts[: 1 + len(part)], 1.9, f"back on {OLD}")
            yield last(clock, hosts, 5, f"{NEW} was taken back from every host", bad)
            return
    yield from phase(clock, Phase.CONFIRM, hosts, 0.3, "confirmed")
    yield from phase(clock, Phase.FINISH, hosts, 0.7, "")
    yield last(clock, hosts, 0, f"{NEW} is live on {len(hosts)} hosts")


def phase(
    clock: Clock,
    name: Phase,
    hosts: Sequence[str],
    seconds: float,
    message: str,
    *,
    lines: int = 3,
    batch: Batch | None = None,
    failed: Sequence[str] = (),
) -> Iterator[Event]:
    """One phase; each host takes about so long."""
    yield PhaseStarted(at=clock.now, phase=name, hosts=tuple(hosts), batch=batch or Batch())
    slowest = seconds
    for host in hosts:
        took = seconds * clock.chance.uniform(0.6, 1.2)
        slowest = max(slowest, took)
        yield StepStarted(at=clock.after(0.05), phase=name, host=host, text=f"{name} begins")
        for number in range(lines):
            text = f"{name} line {number}" if number else HOSTILE
            at = clock.after(took * number / lines)
            yield OutputReceived(at=at, phase=name, host=host, line=text)
        bad = host in failed
        yield HostFinished(
            at=clock.after(took),
            phase=name,
            host=host,
            outcome=Outcome.FAILED if bad else Outcome.DONE,
            seconds=took,
            message="503 for 10 s: the model is not loaded" if bad else message,
        )
    clock.now = clock.after(slowest + 0.1)
    outcome = Outcome.FAILED if failed else Outcome.DONE
    yield PhaseFinished(at=clock.now, phase=name, outcome=outcome, seconds=slowest)


def last(
    clock: Clock, hosts: Sequence[str], status: int, headline: str, failed: Sequence[str] = ()
) -> RunFinished:
    """The last word."""
    live = NEW if status == 0 else OLD
    return RunFinished(
        at=clock.now,
        status=status,
        headline=headline,
        seconds=(clock.now - BEGAN).total_seconds(),
        failures=tuple(
            Failure(
                what="the service was not healthy for 10 s",
                host=host,
                phase=Phase.WATCH,
                why="GET /healthz answered 503: the model is not loaded",
                tail=("loading model 77aa01c", "CUDA error: out of memory", HOSTILE),
            )
            for host in failed
        ),
        hosts=tuple(
            HostState(host=host, state="serves", release=live, healthy=True) for host in hosts
        ),
        next_step="" if status == 0 else f"fab logs --env production --only {hosts[0]}",
    )


def record(release: str = NEW) -> Record:
    """What release.json says of the release, or of the one before."""
    new = release == NEW
    return Record(
        format=1,
        id=release,
        app="ranker",
        environment="production",
        host="gpu1",
        revision=REVISION if new else "ba42314" + "0" * 33,
        subject="Try a new ranker" if new else "Tune the ranker",
        author="Bob" if new else "Ana",
        repository="git@github.com:acme/ranker.git",
        prepared_at=BEGAN,
        who="ana@laptop",
        tool="aideploy 0.1.0",
        interpreter="CPython 3.11.9",
        dependencies="py3.11-4c1e09b2",
        packages={"numpy": "2.3.1" if new else "2.3.0", "flask": "3.1.0"},
        model="77aa01c" + "0" * 57 if new else "9ada35e" + "0" * 57,
        model_size=41_000_000,
        metrics=AFTER if new else BEFORE,
        system="Debian GNU/Linux 12 (bookworm)",
        gpus=("NVIDIA L4",),
        driver="550.54",
        replaces=OLD if new else None,
    )


def looks() -> tuple[Analysis, ...]:
    """What two analyses of a canary found."""
    chance = random.Random(3)

    def some(base: float, factor: float) -> tuple[Look, ...]:
        return tuple(
            Look(
                BEGAN + timedelta(seconds=120 + 10 * number),
                "pass",
                "2,014 requests of the canary, 6,041 of the baseline: no difference that matters",
                base * factor * chance.uniform(0.8, 1.2),
                base * chance.uniform(0.9, 1.1),
            )
            for number in range(12)
        )

    return (
        Analysis("errors", some(0.005, 1.0), ('inference_requests_total{code=~"5.."}',)),
        Analysis("latency", some(0.041, 1.1)),
    )


def known(count: int, end: str) -> Known:
    """Everything that the page of such a run is made of."""
    hosts = [f"gpu{number}" for number in range(1, count + 1)]
    live = (Verdict.LIVE, Verdict.GOOD) if end == "well" else ()
    return Known(
        app="ranker",
        environment="production",
        release=NEW,
        told=told(tuple(run(hosts, end))),
        record=record(),
        before=record(OLD),
        history=tuple(
            Happened(BEGAN + timedelta(seconds=60 * number), one, "ana@laptop", "", "all hosts")
            for number, one in enumerate((Verdict.PREPARED, *live))
        ),
        analyses=looks() if end in ("well", "back") else (),
        log="20261122T181412.000Z-deploy-production.log",
        made=BEGAN + timedelta(hours=1),
        tool="aideploy 0.1.0",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--hosts", type=int, default=4)
    parser.add_argument("--end", choices=("well", "refused", "back", "killed"), default="well")
    options = parser.parse_args()
    options.file.write_text(html(known(options.hosts, options.end), None), encoding="utf-8")


if __name__ == "__main__":
    main()
