"""`fab compare`: what is not the same in two releases: commits, packages, metrics, verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aideploy.commands.asking import Absent
from aideploy.commands.recorded import Fleet, ask_fleet, ask_for_records
from aideploy.errors import HostNotReady
from aideploy.events import Phase
from aideploy.phases import commits
from aideploy.phases.commits import Between, Commit
from aideploy.records.comparison import Change, Comparison, LimitChange, MetricChange, compared
from aideploy.records.record import Record
from aideploy.remote.session import Session
from aideploy.report.facts import Table, Text
from aideploy.report.markdown import number
from aideploy.running import Run

_SHOWN_COMMITS = 30


@dataclass(frozen=True)
class Compared:
    """Two releases side by side.

    Args:
        before, after: their release.json.
        commits: between them.
        differences: the rest.
        absent: the hosts that did not answer.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    commits: Between
    differences: Comparison
    absent: tuple[Absent, ...]

    def shown(self) -> tuple[Table | Text, ...]:
        """Return the tables."""
        before, after = (Record.model_validate(one) for one in (self.before, self.after))
        differences = self.differences
        where = f"on {before.host}"
        if before.host != after.host:
            where = f"on {before.host} and on {after.host}, as no host knows both"
        return (
            Text("", (f"before: {_title(before)}", f"after:  {_title(after)}", where)),
            Text("", tuple(_about(self.commits, before, after))),
            Table(("COMMIT", "BY", "SUBJECT"), tuple(_commit_rows(self.commits))),
            Table(
                ("METRIC", "SLICE", "BEFORE", "AFTER", "CHANGE"),
                tuple(map(_metric_row, differences.metrics)),
            ),
            Table(
                ("LIMIT OF THE GATE", "", "BEFORE", "AFTER"),
                tuple(map(_limit_row, differences.gate)),
            ),
            Table(
                ("LIVE ANALYSIS", "BEFORE", "AFTER"), tuple(map(_change_row, differences.analysis))
            ),
            Table(("PACKAGE", "BEFORE", "AFTER"), tuple(map(_change_row, differences.packages))),
            Table(("BESIDES", "BEFORE", "AFTER"), tuple(map(_change_row, differences.changes))),
        )


def compare(run: Run, before: str, after: str) -> Compared:
    """Compare two releases, on a host that knows both where there is one.

    Args:
        run: the command.
        before, after: name them; see `Fleet.named`.

    Raises:
        UsageError: there is no such release.
        HostNotReady: the host that knows of it is gone by now.
    """
    fleet = ask_fleet(run)
    first, second = fleet.named(before), fleet.named(after)
    host, other = _hosts(fleet, first, second)
    wanted = {host: [first, second]} if host == other else {host: [first], other: [second]}
    records = ask_for_records(run, fleet, wanted)
    if (host, first) not in records or (other, second) not in records:
        raise run.failure or HostNotReady(f"there is no answer from {host}")
    old, new = records[host, first], records[other, second]
    return Compared(
        before=old.document(),
        after=new.document(),
        commits=_between(run, fleet, other, old.revision, new.revision),
        differences=compared(old, new),
        absent=fleet.absent,
    )


def _hosts(fleet: Fleet, first: str, second: str) -> tuple[str, str]:
    """Return who is asked for each: one host, so that what differs between hosts is no difference
    between releases."""
    knowing, other = fleet.knowing(first), fleet.knowing(second)
    both = [name for name in knowing if name in other]
    return (both[0], both[0]) if both else (knowing[0], other[0])


def _between(run: Run, fleet: Fleet, host: str, before: str, after: str) -> Between:
    script = commits.script(fleet.facts[host].root, before, after)
    if script is None:
        return Between()

    def work(session: Session) -> Between:
        return commits.read(session.run(Phase.LOOK, script)[0])

    return run.fleet.each(Phase.LOOK, work, [host])[host]


def _title(record: Record) -> str:
    subject = f" {record.subject}" if record.subject else ""
    when = f", {record.prepared_at:%Y-%m-%d %H:%M} UTC" if record.prepared_at else ""
    by = f" by {record.who}" if record.who else ""
    return f"{record.id}{subject}{when}{by}"


def _about(between: Between, before: Record, after: Record) -> Iterator[str]:
    if before.revision == after.revision:
        yield "the same commit"
    elif not between.known:
        yield "what lies between the commits is not known: the mirror has not both of them"
    else:
        yield f"commits: {between.gained_count} more, {between.lost_count} fewer"


def _commit_rows(between: Between) -> Iterator[tuple[str, str, str]]:
    for sign, some, count in (
        ("+", between.gained, between.gained_count),
        ("-", between.lost, between.lost_count),
    ):
        for one in some[:_SHOWN_COMMITS]:
            yield _commit_row(sign, one)
        if count > _SHOWN_COMMITS:
            yield sign, "", f"and {count - _SHOWN_COMMITS} more"


def _commit_row(sign: str, one: Commit) -> tuple[str, str, str]:
    return f"{sign} {one.commit}", one.author, one.subject


def _metric_row(one: MetricChange) -> tuple[str, ...]:
    change = "" if one.change is None else f"{one.change:+.6g}"
    return one.metric, one.slice or "", number(one.before), number(one.after), change


def _limit_row(one: LimitChange) -> tuple[str, ...]:
    return one.judged, one.limit, one.before or "no limit", one.after or "no limit"


def _change_row(one: Change) -> tuple[str, ...]:
    return one.what, one.before or "none", one.after or "none"
