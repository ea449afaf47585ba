"""The report: it tells what happened, and nothing that anybody wrote becomes a part of it."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aideploy import events
from aideploy.errors import SettingsError
from aideploy.events import (
    Batch,
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
)
from aideploy.gates.model import Baseline, Limit, Row, RowVerdict, evaluate
from aideploy.phases.journal import Verdict
from aideploy.records.record import Record
from aideploy.report.event_file import EventFile
from aideploy.report.event_reading import read_stream
from aideploy.report.page import charts
from aideploy.report.page.known import Happened, Known
from aideploy.report.page.looks import EVENT, Analysis, Look, analyses, kept_analyses
from aideploy.report.page.page import html
from aideploy.report.page.told import MOST_LINES, told
from aideploy.settings.gate import Gate
from tests.unit.report.sample_run import BEGAN, HOSTILE, NEW, OLD, known, record, run

if TYPE_CHECKING:
    Findings = dict[str, Any]

_EMPTY = {"meta", "line", "circle"}


class Page(HTMLParser):
    """The elements of a page, all of them closed, and its text by line."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}
        if tag not in _EMPTY:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style" and data.strip():
            self.text.append(data.strip())


@pytest.mark.parametrize("end", ["well", "back", "refused", "killed"])
def test_the_page_is_whole_and_tells_how_it_ended(end: str) -> None:
    page = Page(html(known(3, end), None))
    words = {
        "well": "is live on 3 hosts",
        "back": "was taken back from every host",
        "refused": "the model gate refused the model",
        "killed": "It did not come to its end",
    }
    assert any(words[end] in text for text in page.text)
    assert ("What failed" in page.text) == (end == "back")
    assert ("did not end" in page.text) == (end == "killed")
    assert "style" not in page.attributes and "onerror" not in page.attributes


def test_nothing_that_anybody_wrote_becomes_a_part_of_the_page() -> None:
    nasty = HOSTILE + "</style></title>--><script>]]>"
    evil = Known(
        app=nasty,
        environment=nasty,
        release=nasty,
        told=told(_evil_run(nasty)),
        record=record().model_copy(
            update={
                **dict.fromkeys(("subject", "author", "who", "tool", "repository"), nasty),
                **dict.fromkeys(("revision", "model", "interpreter", "system"), nasty),
                "metrics": {nasty: 1.5, "slices": {nasty: {nasty: 2}}},
                "packages": {nasty: nasty},
                "image": {nasty: nasty},
            }
        ),
        before=record(OLD).model_copy(update={"id": nasty, "metrics": {nasty: 1.0}}),
        history=(Happened(BEGAN, Verdict.BAD, nasty, nasty, nasty),),
        analyses=(Analysis(nasty, (Look(None, nasty, nasty, 1.0, 2.0),), (nasty,)),),
        remarks=(nasty,),
        log=nasty,
        made=BEGAN,
        tool=nasty,
    )
    text = html(evil, None)
    page, usual = Page(text), Page(html(known(3, "back"), None))
    assert set(page.tags) <= set(usual.tags)
    assert page.attributes <= usual.attributes
    assert "<script" not in text and "<img" not in text
    # Nor anything that a terminal or the order of reading would obey; new lines are ours.
    assert {one for one in text if not one.isprintable()} == {"\n"}
    assert sum("<script>alert(1)</script>" in one for one in page.text) > 20


def _evil_run(nasty: str) -> tuple[Event, ...]:
    late = BEGAN + timedelta(seconds=5)
    return (
        RunStarted(
            at=BEGAN, command=nasty, app=nasty, environment=nasty, hosts=(nasty,), who=nasty
        ),
        ReleaseKnown(at=BEGAN, release=nasty, revision=nasty),
        PhaseStarted(at=BEGAN, phase=Phase.SWITCH, hosts=(nasty,), note=nasty, batch=Batch(1, 2)),
        OutputReceived(at=late, phase=Phase.SWITCH, host=nasty, line=nasty + "x" * 1_000_000),
        Notice(at=late, text=nasty, host=nasty, level="warning"),
        HostFinished(
            at=late,
            phase=Phase.SWITCH,
            host=nasty,
            outcome=Outcome.FAILED,
            seconds=5,
            message=nasty,
        ),
        PhaseFinished(at=late, phase=Phase.SWITCH, outcome=Outcome.FAILED, seconds=5),
        RunFinished(
            at=late,
            status=5,
            headline=nasty,
            seconds=5,
            failures=(Failure(what=nasty, host=nasty, phase=nasty, why=nasty, tail=(nasty,)),),
            hosts=(HostState(host=nasty, state=nasty, release=nasty, healthy=False),),
            next_step=nasty,
        ),
    )


@pytest.mark.parametrize(
    "nothing",
    [
        Known("a", "b", ""),
        Known("a", "b", "", told=told(())),
        Known("a", "b", NEW, record=Record()),
        Known("a", "b", NEW, record=record().model_copy(update={"metrics": {}})),
        Known("a", "b", NEW, told=told((PhaseStarted(phase=Phase.OPEN, hosts=()),))),
        Known("a", "b", NEW, told=told((RunFinished(status=0, headline="", seconds=math.inf),))),
    ],
)
def test_whatever_is_missing_there_is_a_page(nothing: Known) -> None:
    assert Page(html(nothing, None)).tags["h1"] == 1


def test_odd_numbers_make_no_odd_charts() -> None:
    odd = (0.0, -0.0, 1e308, -1e308, 5e-324, math.nan, math.inf, -math.inf)
    metrics = {f"m{n}": value for n, value in enumerate(odd * 8)}
    before = {f"m{n}": odd[n // 8] for n in range(64)}
    text = html(
        Known(
            "a",
            "b",
            NEW,
            record=record().model_copy(update={"metrics": metrics}),
            before=record(OLD).model_copy(update={"metrics": before}),
        ),
        None,
    )
    places = [float(one) for one in re.findall(r'\b(?:x1|x2|cx)="([^"%]*)%"', text)]
    assert places and all(0 <= place <= 100 for place in places)


@pytest.mark.parametrize("limit", list(Limit))
@pytest.mark.parametrize("greater", [True, False])
@pytest.mark.parametrize("baseline", [None, 0.0, 0.7, -0.7, math.inf])
def test_a_value_that_holds_stands_in_what_is_allowed(
    limit: Limit, greater: bool, baseline: float | None
) -> None:
    gate = Gate.model_validate({"metric": "m", "greater_is_better": greater, limit.value: 0.25})
    before = None if baseline is None else Baseline(OLD, {"m": baseline})
    for value in (-0.9, -0.7, -0.5, 0.0, 0.1, 0.5, 0.7, 0.9, 1.2):
        (row,) = evaluate((gate,), json.dumps({"m": value}).encode(), before).rows
        drawn = charts.bullet(row)
        if drawn is None or row.verdict is RowVerdict.UNOPPOSED:
            continue
        if limit is Limit.MAX_DROP_REL and not baseline:
            continue
        inside = drawn.allowed_from - 0.01 <= drawn.value <= drawn.allowed_to + 0.01
        assert inside == row.holds, (value, row, drawn)


def test_a_row_that_was_damaged_has_no_chart() -> None:
    row = Row("m", None, Limit.MIN, math.nan, True, 0.5, None, RowVerdict.PASS)
    assert charts.bullet(row) is None


@pytest.mark.parametrize(
    ("seconds", "texts"),
    [
        (0.0, ["0"]),
        (0.6, ["0", "0.25s", "0.5s"]),
        (12.0, ["0", "5s", "10s"]),
        (186.0, ["0", "1m", "2m", "3m"]),
        (7300.0, ["0", "30m", "1h", "1h 30m", "2h"]),
        (86400.0 * 30, None),
        (math.inf, ["0"]),
        (math.nan, ["0"]),
    ],
)
def test_the_time_axis_has_a_few_round_marks(seconds: float, texts: list[str] | None) -> None:
    marks = charts.ticks(seconds)
    assert texts is None or [mark.text for mark in marks] == texts
    assert len(marks) <= 6 and all(0 <= mark.x <= 100 for mark in marks)


@pytest.mark.parametrize("count", [1, 4, 10, 11, 200])
def test_a_phase_of_any_number_of_hosts_is_low_and_shows_who_failed(count: int) -> None:
    story = told(tuple(run([f"h{number}" for number in range(count)], "back")))
    for phase in story.phases:
        bars, height = charts.phase_bars(phase, story.seconds)
        assert 4 <= height <= 32
        assert all(0 <= bar.x < bar.x2 <= 100 and bar.y <= height for bar in bars)
        assert any(bar.kind == "failed" for bar in bars) == bool(phase.failed)


def test_of_a_long_phase_the_lines_of_failed_hosts_are_kept() -> None:
    def said(host: str, number: int) -> Event:
        return OutputReceived(phase=Phase.STAGE, host=host, line=f"{host} {number}")

    story = told(
        (
            PhaseStarted(phase=Phase.STAGE, hosts=("a", "b")),
            *(said("b", number) for number in range(100)),
            *(said("a", number) for number in range(5000)),
            HostFinished(phase=Phase.STAGE, host="b", outcome=Outcome.FAILED, seconds=1),
            PhaseFinished(phase=Phase.STAGE, outcome=Outcome.FAILED, seconds=1),
        )
    )
    (phase,) = story.phases
    texts = [line.text for line in phase.lines]
    assert len(texts) == MOST_LINES and phase.left_out == 5101 - MOST_LINES
    assert texts[:100] == [f"b {number}" for number in range(100)]
    assert texts[-2:] == ["a 4999", "failed"]


def test_each_batch_of_a_rollout_is_a_phase_of_its_own() -> None:
    story = told(tuple(run(["a", "b", "c"], "well")))
    switched = [(one.batch.number, one.asked) for one in story.phases if one.phase == Phase.SWITCH]
    assert switched == [(1, ("a",)), (2, ("b",)), (3, ("c",))]
    assert story.seconds == pytest.approx(sum(one.seconds for one in story.phases))


@dataclass(frozen=True, kw_only=True)
class Analysed(Event):
    """As the live analysis publishes it, with a type that this module cannot resolve."""

    findings: Findings


def test_looks_of_an_analysis_become_a_chart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, EVENT, Analysed, raising=False)
    file = EventFile(tmp_path / "s")
    for number in range(3):
        finding = {
            "name": "errors",
            "verdict": "fail" if number == 2 else "pass",
            "why": f"look {number}",
            "canary": 0.03 * number,
            "baseline": 0.005,
            "asked": ({"side": "canary", "query": "sum(rate(x[1m]))"},),
        }
        at = BEGAN + timedelta(seconds=10 * number)
        file(Analysed(at=at, findings={"found": (finding, {"name": "x", "dry_run": True})}))
    stream = read_stream(tmp_path / "s")
    assert stream.unreadable == 0
    errors, shown_only = analyses(one.values for one in stream.unknown if one.kind == EVENT)
    assert (errors.name, errors.verdict, errors.why) == ("errors", "fail", "look 2")
    assert errors.queries == ("sum(rate(x[1m]))",)
    assert [dot.kind for dot in errors.chart] == ["baseline", "canary"] * 3
    assert errors.chart[-1].y < errors.chart[0].y
    assert (shown_only.name, shown_only.chart) == ("x (only shown)", ())
    page = Page(html(replace(known(1, "killed"), analyses=(errors, shown_only)), None))
    assert "Canary against baseline" in page.text and "3 looks" in page.text


def test_what_came_of_a_watch_is_no_look_of_its_own() -> None:
    def event(what: str, why: str, final: bool) -> dict[str, Any]:
        finding = {"name": "errors", "verdict": "pass", "why": why, "canary": 1.0}
        return {"findings": {"what": what, "found": [finding]}, "final": final}

    (errors,) = analyses(
        [
            event("batch 1", "a", False),
            event("batch 1", "b", False),
            event("batch 1", "c", True),
            event("batch 2", "d", True),
        ]
    )
    assert [look.why for look in errors.looks] == ["a", "c", "d"]


def test_what_a_host_keeps_of_an_analysis_is_read() -> None:
    check = {
        "name": "errors",
        "verdict": "fail",
        "why": "3 of 100",
        "canary": 0.03,
        "baseline": 0.005,
        "queries": [{"side": "canary", "query": "up"}],
        "dry_run": False,
    }
    document = {"version": 1, "watches": [{"watched": "x", "checks": [check], "until": "no time"}]}
    (errors,) = kept_analyses(json.dumps(document).encode())
    assert (errors.verdict, errors.why, errors.queries) == ("fail", "3 of 100", ("up",))
    assert len(errors.chart) == 2
    for odd in (b"", b"[", b"[]", b'{"watches": 7}', b'{"watches": [7, {"checks": [[]]}]}'):
        assert all(one.chart == () for one in kept_analyses(odd))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"findings": None},
        {"findings": {"found": "no"}},
        {"findings": {"found": [None, 7, {"canary": "NaN", "baseline": True, "asked": [3, {}]}]}},
    ],
)
def test_analyses_of_another_shape_break_nothing(values: dict[str, Any]) -> None:
    for one in analyses([values, {"at": "x", **values}]):
        assert one.chart == () and one.scale == ("", "")


def test_a_template_of_the_user_wins_and_its_mistakes_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "templates" / "report"
    folder.mkdir(parents=True)
    (folder / "report.css.j2").write_text("h1 { color: green }\n")
    text = html(known(1, "well"), tmp_path)
    assert "h1 { color: green }" in text and "<h1" in text
    (folder / "report.html.j2").write_text("{{ known.app }} {{ missing }}")
    with pytest.raises(SettingsError) as error:
        html(known(1, "well"), tmp_path)
    assert "templates/report/report.html.j2:1" in error.value.why


def test_a_page_of_a_large_fleet_stays_small_enough_to_mail() -> None:
    began = datetime.now(UTC)
    text = html(known(200, "back"), None)
    assert len(text) < 3_000_000
    assert (datetime.now(UTC) - began).total_seconds() < 20
    assert "140 are left out" in text
