"""The tables of the report, row by row, each with its chart. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aideploy.events import Batch, HostState, Outcome, Phase
from aideploy.gates.model import Row
from aideploy.records.comparison import Change, MetricChange, compared
from aideploy.records.record import Record
from aideploy.report.markdown import number
from aideploy.report.page import charts
from aideploy.report.page.known import Known
from aideploy.report.page.told import HostTime, PhaseTime, Told

MOST_HOSTS = 60
_MOST_CHANGES = 200


@dataclass(frozen=True)
class TimelineRow:
    """A phase in the timeline, with its lines."""

    phase: PhaseTime
    bars: tuple[charts.Bar, ...]
    height: float


def timeline(told: Told | None) -> list[TimelineRow]:
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


def hosts(told: Told | None) -> Hosts | None:
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


def batches(told: Told | None) -> list[BatchRow]:
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


def metrics(known: Known) -> Metrics | None:
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


def gate(known: Known) -> GateTable | None:
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


def changes(known: Known) -> list[Change]:
    if known.record is None or known.before is None:
        return []
    found = compared(known.before, known.record)
    return [*found.changes, *found.packages][:_MOST_CHANGES]
