"""`fab history --at`: what was live at a time or on a day on each host, and what it was made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from aideploy.commands.asking import Absent, named, unreadable
from aideploy.commands.history import TOGETHER
from aideploy.commands.recorded import ask_fleet, ask_for_records
from aideploy.errors import UsageError
from aideploy.records.analyses import KnownRecord
from aideploy.records.details import details
from aideploy.records.live import Period, Span, period, spans
from aideploy.report.facts import Table, Text
from aideploy.running import Run

# What is another on every host although the release is the same.
_OF_ONE_HOST = frozenset(["analyses", "host", "prepared_at", "proof", "replaces"])


@dataclass(frozen=True)
class LiveOnHost:
    """One release that was live on one host; `record` is its release.json."""

    host: str
    span: Span
    record: dict[str, Any]


@dataclass(frozen=True)
class LiveThen:
    """What was live in a period, host by host; who did not answer of `asked` hosts, and what cannot
    be read of those that did."""

    period: Period
    live: tuple[LiveOnHost, ...]
    absent: tuple[Absent, ...]
    asked: int
    unreadable: tuple[str, ...] = ()

    def shown(self) -> tuple[Table | Text, ...]:
        """Return a table of what was live where, and below it what each release was made of."""
        if not self.live:
            return (Text("", (f"nothing was live {self.period}", *self.unreadable)),)
        columns = ("LIVE ON", "RELEASE", "SINCE (UTC)", "UNTIL (UTC)", "VERDICT THEN", "BY", "WHY")
        return (
            Text("", (f"live {self.period}:",)),
            Table(columns, tuple(self._rows())),
            *self._releases(),
            Text("", self.unreadable),
        )

    def _rows(self) -> Iterable[tuple[str, ...]]:
        for those in _folded(self.live):
            span = those[0].span
            ends = [one.span.until for one in those if one.span.until]
            yield (
                named(tuple(one.host for one in those), self.asked),
                span.release,
                f"{span.since:%Y-%m-%d %H:%M:%S}",
                f"{max(ends):%Y-%m-%d %H:%M:%S}" if ends else "",
                span.verdict,
                span.by,
                "; ".join(filter(None, (span.why, span.note))),
            )

    def _releases(self) -> Iterable[Text]:
        """Yield what each release was made of; of hosts where that was another, only what."""
        made: dict[str, dict[str, list[LiveOnHost]]] = {}
        for one in self.live:
            versions = made.setdefault(one.span.release, {})
            those = versions.setdefault(_made_of(one.record), [])
            if one.host not in [other.host for other in those]:
                those.append(one)
        for release, versions in made.items():
            first, *others = ((_lines(those[0]), those) for those in versions.values())
            yield Text(f"{release}{self._where(first[1]) if others else ''}:", first[0])
            for lines, those in others:
                differing = tuple(line for line in lines if line not in first[0])
                yield Text(f"the same{self._where(those)}, but for:", differing)

    def _where(self, those: Iterable[LiveOnHost]) -> str:
        return f" on {named(tuple(one.host for one in those), self.asked)}"


def _lines(one: LiveOnHost) -> tuple[str, ...]:
    return details(KnownRecord.model_validate(one.record))


def _folded(live: Iterable[LiveOnHost]) -> Iterable[list[LiveOnHost]]:
    """Return together what is the same on several hosts, which switch one after the other."""
    groups: list[list[LiveOnHost]] = []
    latest: dict[Span, list[LiveOnHost]] = {}
    for one in sorted(live, key=lambda one: one.span.since):
        span = one.span
        key = replace(span, since=datetime.min, until=span.until and datetime.min)
        group = latest.get(key)
        if (
            group is None
            or one.host in [other.host for other in group]
            or span.since - group[0].span.since > TOGETHER
        ):
            group = latest[key] = []
            groups.append(group)
        group.append(one)
    return groups


def _made_of(record: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in record.items() if key not in _OF_ONE_HOST})


def live_then(run: Run, at: str) -> LiveThen:
    """Ask every host what was live then.

    Args:
        run: the command.
        at: a moment or a day, as typed.

    Raises:
        UsageError: it is neither, or it is yet to come.
    """
    asked = period("--at", at)
    if asked.start > datetime.now(UTC):
        raise UsageError(f"{at!r} is yet to come", next_step="what is live now: fab status")
    fleet = ask_fleet(run)
    lived = {host: spans(known.journal, asked) for host, known in fleet.facts.items()}
    wanted = {host: [span.release for span in those] for host, those in lived.items()}
    records = ask_for_records(run, fleet, wanted)
    live = tuple(
        LiveOnHost(host, span, records[host, span.release].document())
        for host, those in lived.items()
        for span in those
        if (host, span.release) in records
    )
    return LiveThen(asked, live, fleet.absent, fleet.asked, unreadable(fleet.facts))
