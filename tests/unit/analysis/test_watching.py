"""Promises of the thread that looks: it stops who watches, and holds up nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path, PurePosixPath

import pytest

from aideploy.analysis.findings import Verdict
from aideploy.analysis.source import Series, Source
from aideploy.commands.analysis import analyse
from aideploy.errors import AnalysisFailed, UsageError
from aideploy.events import Analysed, Event, Events
from aideploy.transaction.analysing import Analyses, Undecided, cases_of
from tests.hosts_toml import SERVED, loaded

HOSTS_TOML = f"""\
{SERVED}
[rollout]
bake = "1s"
max_wait = "{{wait}}"
on_inconclusive = "{{on}}"
[monitoring.prometheus]
url = "http://mon1:9090"
[[analysis]]
name = "errors"
kind = "slo"
limits = {{{{ max = 0.1 }}}}
min_requests = 1
interval = "200ms"
[environments.p.hosts.h1]
address = "h1"
roles = ["serve"]
"""


class Answers:
    """A source whose requests fail in this part."""

    def __init__(self, bad: float) -> None:
        self._bad = bad

    def windows(self, query: str, end: float, step: float, count: int) -> Sequence[Series]:
        value = self._bad * 100 if 'code=~"5' in query else 100.0
        return [Series({}, dict.fromkeys(range(count), value))]


class Hangs:
    """A source that does not answer."""

    def windows(self, query: str, end: float, step: float, count: int) -> Sequence[Series]:
        time.sleep(20)
        raise AssertionError


class Breaks:
    """A source with a mistake of ours."""

    def windows(self, query: str, end: float, step: float, count: int) -> Sequence[Series]:
        raise ZeroDivisionError("division by zero")


def analyses(
    folder: Path, source: Source, *, wait: str = "1s", on: str = "hold"
) -> tuple[Analyses, list[Event]]:
    settings = loaded(folder, HOSTS_TOML.format(wait=wait, on=on))
    told: list[Event] = []
    events = Events(told.append)
    made = Analyses(settings, events, source, "r1", cases_of(settings, timedelta(minutes=1)))
    return made, told


BAKE = timedelta(seconds=1)


def test_a_failure_stops_the_watch_and_nothing_after_it(tmp_path: Path) -> None:
    asked, told = analyses(tmp_path, Answers(0.5))
    stopped = threading.Event()
    began = time.monotonic()
    calls: list[float] = []

    def stop() -> None:
        calls.append(time.monotonic())
        stopped.set()

    with (
        pytest.raises(AnalysisFailed, match=r"errors: 0\.5 is above 0\.1"),
        asked.watch(asked.sides(["h1"], ["h2"], []), "batch 1", BAKE) as watch,
    ):
        # Failing looks while nothing may be stopped: on the way back, or between two looks.
        time.sleep(1)
        assert not calls
        with watch.may_end(stop):
            assert stopped.wait(5)
        watch.check()
    assert time.monotonic() - began < 5
    count = len(calls)
    time.sleep(0.7)
    assert len(calls) == count
    final = [event for event in told if isinstance(event, Analysed) and event.final]
    assert [event.findings.verdict for event in final] == [Verdict.FAIL]
    assert '"fail"' in asked.document()


def test_a_prometheus_that_hangs_holds_up_nobody(tmp_path: Path) -> None:
    asked, _ = analyses(tmp_path, Hangs())
    began = time.monotonic()
    with asked.watch(asked.sides(["h1"], ["h2"], []), "batch 1", BAKE) as watch:
        time.sleep(0.5)
        watch.check()
    assert time.monotonic() - began < 2


def test_what_passes_needs_no_more_time(tmp_path: Path) -> None:
    asked, _ = analyses(tmp_path, Answers(0.0))
    with asked.watch(asked.sides(["h1"], ["h2"], []), "batch 1", BAKE) as watch:
        assert watch.more() > timedelta(0)
        time.sleep(1.5)
        assert watch.more() == timedelta(0)
        watch.decide()


@pytest.mark.parametrize("on", ["hold", "promote", "rollback"])
def test_a_mistake_of_ours_is_an_error_and_holds(tmp_path: Path, on: str) -> None:
    asked, _ = analyses(tmp_path, Breaks(), on=on)
    with asked.watch(asked.sides(["h1"], ["h2"], []), "batch 1", BAKE) as watch:
        time.sleep(2.2)
        assert watch.more() == timedelta(0)
        assert watch.holds
        with pytest.raises(Undecided, match="ZeroDivisionError"):
            watch.decide()


def test_without_checks_nothing_is_waited_for_or_told(tmp_path: Path) -> None:
    made, told = analyses(tmp_path, Answers(0.0))
    nothing = Analyses(made.settings, made.events)
    with nothing.watch(nothing.sides(["h1"], [], []), "batch 1", BAKE) as watch:
        watch.check()
        assert watch.more() == timedelta(0)
        watch.decide()
    assert not told
    assert nothing.kept(PurePosixPath("/srv/ranker")) == ()


def test_more_than_is_looked_at_is_not_asked_for(tmp_path: Path) -> None:
    settings = loaded(tmp_path, HOSTS_TOML.format(wait="1s", on="hold"))
    with pytest.raises(UsageError, match="more than 500 intervals") as refused:
        analyse(settings, 'host="h1"', "", timedelta(hours=1))
    assert "look at 100s at most" in refused.value.next_step
