"""The page itself: everything that stands in it, as the template takes it, and the page rendered.

Called by `aideploy.commands.report`. What comes from hosts, commits and people is made harmless for
readers (control and invisible characters written out, long lines cut) and escaped for HTML where it
is put into the template: see `aideploy.rendering`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from markupsafe import Markup

from aideploy.errors import ExitStatus
from aideploy.events import Batch, Failure, HostState, Outcome, Phase
from aideploy.gates.model import Row
from aideploy.phases.journal import Verdict
from aideploy.records.comparison import Change, MetricChange, compared
from aideploy.records.details import rows as record_rows
from aideploy.records.record import Record
from aideploy.rendering import render
from aideploy.report.last_word import by_reason, where
from aideploy.report.markdown import number
from aideploy.report.page import charts
from aideploy.report.page.looks import Analysis
from aideploy.report.page.told import HostTime, PhaseTime, Told
from aideploy.report.progress import TAIL_LINES
from aideploy.report.safe_text import first_line, harmless_lines
from aideploy.report.wording import duration

TEMPLATE = "report/report.html.j2"
STYLE = "report/report.css.j2"

MOST_HOSTS = 60
_MOST_FAILURES = 30
_MOST_CHANGES = 200


@dataclass(frozen=True)
class Happened:
    """An entry of the journals, and the hosts that have it, in words."""

    at: datetime
    verdict: Verdict
    who: str
    why: str
    hosts: str


@dataclass(frozen=True)
class Known:
    """What there is to tell; any of it may be missing.

    Args:
        app, environment: as in hosts.toml.
        release: what it is about; empty where no release was known yet.
        told: the run, where its stream is on this machine.
        record, before: of the release and of the one that it is compared with.
        history: what happened to the release, oldest first.
        analyses: of canary against baseline.
        remarks: what is missing from the page, and why.
        log: the name of the whole log's file.
        made: when, in UTC.
        tool: what made it.
    """

    app: str
    environment: str
    release: str
    told: Told | None = None
    record: Record | None = None
    before: Record | None = None
    history: tuple[Happened, ...] = ()
    analyses: tuple[Analysis, ...] = ()
    remarks: tuple[str, ...] = ()
    log: str = ""
    made: datetime | None = None
    tool: str = ""


def html(known: Known, folder: Path | None) -> str:
    """Return the page.

    Args:
        known: what there is to tell.
        folder: of hosts.toml, whose `templates/` wins over ours.

    Raises:
        SettingsError: the user's own template cannot be rendered.
    """
    style = render(STYLE, {}, folder=folder)
    # The page may hold no other style than this one: a policy that the browser enforces.
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    values = {
        "style": Markup(style),  # noqa: S704  # a file of ours or of the user, no value in it
        "style_hash": f"sha256-{digest}",
        "known": known,
        "told": known.told,
        "record": known.record,
        "headline": _headline(known),
        "failures": _failures(known.told),
        "next_step": harmless_lines(known.told.finished.next_step)
        if known.told and known.told.finished
        else [],
        "more_failures": _more_failures(known.told),
        "timeline": _timeline(known.told),
        "ticks": charts.ticks(known.told.seconds if known.told else 0),
        "hosts": _hosts(known.told),
        "batches": _batches(known.told),
        "metrics": _metrics(known),
        "gate": _gate(known),
        "changes": _changes(known),
        "details": [(what, words) for what, words in _details(known.record)],
        "logs": [phase for phase in known.told.phases if phase.lines] if known.told else [],
    }
    return render(
        TEMPLATE,
        values,
        folder=folder,
        filters={
            "duration": duration,
            "first_line": first_line,
            "clock": _clock,
            "day": _day,
            "percent_text": lambda share: f"{100 * share:.3g} %",
        },
    )


@dataclass(frozen=True)
class Headline:
    """The first thing that a reader sees: `tone` is good, bad, warn or plain."""

    tone: str
    mark: str
    text: str


def _headline(known: Known) -> Headline:
    told = known.told
    if told is None:
        return Headline("plain", "", "From the records of the hosts")
    if told.finished is None:
        return Headline("warn", "!", "It did not come to its end: whoever ran it was ended before")
    words = first_line(told.finished.headline)
    if told.finished.status == ExitStatus.DONE:
        return Headline("good", "✓", words)
    if told.finished.status == ExitStatus.HELD:
        return Headline("warn", "!", words)
    return Headline("bad", "✗", words)


@dataclass(frozen=True)
class Failed:
    """A failure, said once for all hosts that have it."""

    where: str
    what: str
    why: tuple[str, ...]
    tail: tuple[str, ...]


def _failures(told: Told | None) -> list[Failed]:
    found = by_reason(told.finished.failures) if told and told.finished else []
    return [_failed(told, *one) for one in found[:_MOST_FAILURES]] if told else []


def _more_failures(told: Told | None) -> int:
    found = by_reason(told.finished.failures) if told and told.finished else []
    return max(0, len(found) - _MOST_FAILURES)


def _failed(told: Told, failure: Failure, hosts: tuple[str, ...]) -> Failed:
    tail = failure.tail or _said_last(told, failure)
    return Failed(
        where=where(failure, hosts),
        what=first_line(failure.what),
        why=tuple(harmless_lines(failure.why)),
        tail=tail[-TAIL_LINES:],
    )


def _said_last(told: Told, failure: Failure) -> tuple[str, ...]:
    for phase in reversed(told.phases):
        if phase.phase == failure.phase:
            return tuple(
                line.text
                for line in phase.lines
                if line.host == failure.host and line.kind == "output"
            )
    return ()


@dataclass(frozen=True)
class TimelineRow:
    """A phase in the timeline, with its lines."""

    phase: PhaseTime
    bars: tuple[charts.Bar, ...]
    height: float


def _timeline(told: Told | None) -> list[TimelineRow]:
    if told is None:
        return []
    whole = max([told.seconds, *(phase.end for phase in told.phases)], default=0.0)
    return [TimelineRow(phase, *charts.phase_bars(phase, whole)) for phase in told.phases]


@dataclass(frozen=True)
class HostRow:
    """A host: the state it is in at the end, and its seconds in each phase."""

    name: str
    state: HostState | None
    cells: tuple[HostTime | None, ...]


@dataclass(frozen=True)
class Hosts:
    """The hosts as a table; `left_out` of them were in no way special."""

    phases: tuple[Phase, ...]
    rows: tuple[HostRow, ...]
    left_out: int


def _hosts(told: Told | None) -> Hosts | None:
    if told is None:
        return None
    states = {one.host: one for one in told.finished.hosts} if told.finished else {}
    by_host: dict[str, dict[Phase, HostTime]] = {name: {} for name in states}
    for phase in told.phases:
        for one in phase.hosts:
            times = by_host.setdefault(one.host, {})
            times[phase.phase] = _together(times.get(phase.phase), one)
    if not by_host:
        return None
    phases = tuple(dict.fromkeys(phase.phase for phase in told.phases if phase.hosts))
    rows = [
        HostRow(name, states.get(name), tuple(times.get(phase) for phase in phases))
        for name, times in by_host.items()
    ]
    special = sorted(rows, key=_specialty)[:MOST_HOSTS]
    shown = tuple(row for row in rows if row in special) if len(rows) > MOST_HOSTS else tuple(rows)
    return Hosts(phases, shown, len(rows) - len(shown))


def _together(first: HostTime | None, second: HostTime) -> HostTime:
    """Return one time of a host that was in a phase twice: as long as both."""
    if first is None:
        return second
    worse = first if first.outcome is Outcome.FAILED else second
    length = first.end - first.start + second.end - second.start
    return HostTime(second.host, first.start, first.start + length, worse.outcome, worse.message)


def _specialty(row: HostRow) -> tuple[bool, bool, float]:
    failed = any(cell and cell.outcome is Outcome.FAILED for cell in row.cells)
    ill = row.state is not None and row.state.healthy is False
    return not failed, not ill, -sum(cell.end - cell.start for cell in row.cells if cell)


@dataclass(frozen=True)
class BatchRow:
    """A phase of the rollout for one batch."""

    batch: Batch
    phase: PhaseTime


_OF_ROLLOUT = (Phase.SWITCH, Phase.WATCH, Phase.HOLD, Phase.CONFIRM, Phase.REVERT)


def _batches(told: Told | None) -> list[BatchRow]:
    phases = told.phases if told else ()
    return [BatchRow(one.batch, one) for one in phases if one.phase in _OF_ROLLOUT]


@dataclass(frozen=True)
class MetricRow:
    """A metric against the one before."""

    metric: MetricChange
    before: str
    after: str
    change: str
    bar: charts.Change | None


@dataclass(frozen=True)
class Metrics:
    """The metrics of two models; `scale` is the share at the ends of the chart."""

    rows: tuple[MetricRow, ...]
    before: str
    scale: float


def _metrics(known: Known) -> Metrics | None:
    if known.record is None or not known.record.metrics:
        return None
    before = known.before or Record()
    changes = compared(before, known.record).metrics[:_MOST_CHANGES]
    directions = _directions(known)
    pairs = [(one.before, one.after, directions.get(one.metric)) for one in changes]
    bars, scale = charts.change_bars(pairs)
    rows = tuple(_metric(one, bar) for one, bar in zip(changes, bars, strict=True))
    return Metrics(rows, before.id, scale)


def _metric(one: MetricChange, bar: charts.Change | None) -> MetricRow:
    change = "" if one.change is None else f"{one.change:+.4g}".replace("-", "\N{MINUS SIGN}")
    return MetricRow(one, number(one.before), number(one.after), change, bar)


def _directions(known: Known) -> dict[str, bool]:
    """Return which metrics are the better the greater they are, as far as the gate says so."""
    return {row.metric: row.greater_is_better for row in _gate_rows(known)}


@dataclass(frozen=True)
class GateRow:
    """A limit, with its chart where there are numbers for one."""

    row: Row
    value: str
    baseline: str
    chart: charts.Bullet | None


@dataclass(frozen=True)
class GateTable:
    """The verdict of the model gate."""

    judgement: str
    baseline: str | None
    overridden_by: str
    rows: tuple[GateRow, ...]


def _gate(known: Known) -> GateTable | None:
    found = known.told.evaluated.evaluation if known.told and known.told.evaluated else None
    if found is not None:
        said = (found.judgement.value, found.baseline, found.overridden_by)
    elif known.record and known.record.gate:
        kept = known.record.gate
        said = (kept.judgement, kept.baseline, kept.overridden_by or "")
    else:
        return None
    rows = tuple(
        GateRow(row, number(row.value), number(row.baseline), charts.bullet(row))
        for row in _gate_rows(known)
    )
    return GateTable(*said, rows)


def _gate_rows(known: Known) -> Sequence[Row]:
    if known.told and known.told.evaluated:
        return known.told.evaluated.evaluation.rows
    return known.record.gate.rows if known.record and known.record.gate else ()


def _changes(known: Known) -> list[Change]:
    if known.record is None or known.before is None:
        return []
    found = compared(known.before, known.record)
    return [*found.changes, *found.packages][:_MOST_CHANGES]


def _details(record: Record | None) -> Iterator[tuple[str, str]]:
    shown: Iterable[tuple[str, str]] = record_rows(record) if record else ()
    for what, words in shown:
        # The gate and the metrics have tables of their own.
        if words and what and what not in ("metrics", "gate", "overridden"):
            yield what, words


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%H:%M:%S}"


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
