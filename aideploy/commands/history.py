"""`fab history`: what was live when, by whom and why: the journals of all hosts as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from aideploy.commands.asking import Absent, ask_for_facts, named
from aideploy.phases.facts import JOURNAL_LINES
from aideploy.phases.journal import Entry, Journal, Verdict
from aideploy.report.facts import Table, Text
from aideploy.running import Run

# What one command writes to the journals of its hosts lies closer together than this.
_TOGETHER = timedelta(hours=1)


@dataclass(frozen=True)
class Event:
    """The same entry in the journals of one or more hosts; `at` is the earliest."""

    at: datetime
    verdict: Verdict
    release: str
    who: str
    why: str
    revision: str
    model: str
    hosts: tuple[str, ...]


@dataclass(frozen=True)
class History:
    """What happened, newest last; and who did not answer of `asked` hosts."""

    events: tuple[Event, ...]
    absent: tuple[Absent, ...]
    asked: int

    def shown(self) -> tuple[Table | Text, ...]:
        """Return the table."""
        if not self.events:
            return (Text("", ("nothing has happened yet: fab deploy",)),)
        columns = ("AT (UTC)", "VERDICT", "RELEASE", "BY", "WHY", "HOSTS")
        return (Table(columns, tuple(map(self._row, self.events))),)

    def _row(self, one: Event) -> tuple[str, ...]:
        when = f"{one.at:%Y-%m-%d %H:%M:%S}"
        return when, one.verdict, one.release, one.who, one.why, named(one.hosts, self.asked)


def history(run: Run, limit: int) -> History:
    """Ask every host and return the last so many events."""
    facts, absent = ask_for_facts(run, journal_lines=max(limit, JOURNAL_LINES))
    events = folded({name: known.journal for name, known in facts.items()})
    return History(events[-limit:], absent, len(run.settings.hosts))


def folded(journals: Mapping[str, Journal]) -> tuple[Event, ...]:
    """Return the entries of all journals as they happened, the same ones of several hosts once."""
    entries = [(entry, host) for host, journal in journals.items() for entry in journal.entries]
    groups: list[tuple[Entry, list[str]]] = []
    latest: dict[Entry, tuple[Entry, list[str]]] = {}
    for entry, host in sorted(entries, key=lambda pair: pair[0].at):
        key = _without_time(entry)
        group = latest.get(key)
        if group is None or host in group[1] or entry.at - group[0].at > _TOGETHER:
            group = latest[key] = (entry, [])
            groups.append(group)
        group[1].append(host)
    return tuple(_events(groups, tuple(journals)))


def _without_time(entry: Entry) -> Entry:
    return replace(entry, at=datetime.min)


def _events(groups: Iterable[tuple[Entry, list[str]]], order: tuple[str, ...]) -> Iterable[Event]:
    for entry, hosts in groups:
        yield Event(
            at=entry.at,
            verdict=entry.verdict,
            release=entry.release,
            who=entry.who,
            why=entry.why,
            revision=entry.revision,
            model=entry.model,
            hosts=tuple(name for name in order if name in hosts),
        )
