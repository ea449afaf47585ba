"""`fab history`: what was live when, by whom and why: the journals of all hosts as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aideploy.commands.asking import Absent, ask_for_facts, named, unreadable
from aideploy.commands.recorded import ask_for_analyses
from aideploy.phases.facts import ALL_LINES, JOURNAL_LINES, HostFacts, release_time
from aideploy.phases.journal import Entry, Journal
from aideploy.records.analyses import Watched, last_verdicts
from aideploy.records.live import period
from aideploy.report.facts import Table, Text
from aideploy.report.next_command import typed
from aideploy.running import Run

USUAL_EVENTS = 30
MOST_EVENTS = 10_000
# What one command writes to the journals of its hosts lies closer together than this.
TOGETHER = timedelta(hours=1)


@dataclass(frozen=True)
class Event(Entry):
    """The same entry in the journals of one or more hosts; `at` is the earliest."""

    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judged:
    """What the live analysis found of a release, as a host keeps it."""

    release: str
    watches: tuple[dict[str, Any], ...]

    @property
    def line(self) -> str:
        """In one line: each check with what came of it last."""
        watches = tuple(map(Watched.model_validate, self.watches))
        said = (f"{name} {verdict}" for name, verdict in last_verdicts(watches).items())
        return f"{self.release}: {watches[-1].verdict or 'unknown'} ({', '.join(said)})"


@dataclass(frozen=True)
class History:
    """What happened, newest last, and how the releases in it were judged while they were watched;
    who did not answer of `asked` hosts; what to type where nothing has happened yet; and what
    cannot be read of the hosts that did answer."""

    events: tuple[Event, ...]
    absent: tuple[Absent, ...]
    asked: int
    analyses: tuple[Judged, ...]
    next_step: str
    unreadable: tuple[str, ...] = ()

    def shown(self) -> tuple[Table | Text, ...]:
        """Return the table."""
        if not self.events and not self.unreadable:
            return (Text("", (f"nothing has happened yet: {self.next_step}",)),)
        judged = Text("live analysis:", tuple(f"  {one.line}" for one in self.analyses))
        return event_table(self.events, self.asked), judged, Text("", self.unreadable)


def event_table(events: Iterable[Event], asked: int) -> Table:
    """Return the events as a table; `asked` hosts are all there are."""
    columns = ("AT (UTC)", "VERDICT", "RELEASE", "BY", "WHY", "HOSTS")
    return Table(columns, tuple(_row(one, asked) for one in events))


def _row(one: Event, asked: int) -> tuple[str, ...]:
    when = f"{one.at:%Y-%m-%d %H:%M:%S}"
    return when, one.verdict, one.release, one.who, one.why, named(one.hosts, asked)


def history(run: Run, limit: int, since: str | None = None) -> History:
    """Ask every host and return the last so many events.

    Args:
        run: the command.
        limit: how many.
        since: leave out what was before this moment or day, as typed.

    Raises:
        UsageError: it is neither.
    """
    start = period("--since", since).start if since is not None else None
    # How many lines of a journal are younger only who reads them knows.
    lines = max(limit, JOURNAL_LINES) if start is None else ALL_LINES
    facts, absent = ask_for_facts(run, journal_lines=lines)
    events = folded({name: known.journal for name, known in facts.items()})
    kept = tuple(one for one in events if start is None or one.at >= start)[-limit:]
    return History(
        kept,
        absent,
        len(run.settings.hosts),
        _judged(run, kept, facts),
        "" if kept else typed("fab deploy", run.settings),
        unreadable(facts),
    )


def _judged(
    run: Run, events: Iterable[Event], facts: Mapping[str, HostFacts]
) -> tuple[Judged, ...]:
    """Ask for the live analyses of these releases, each the first host that had it live."""
    if not run.settings.analyses:
        return ()
    asked = {one.release: one.hosts[0] for one in reversed(tuple(events)) if one.hosts}
    by_host: dict[str, list[str]] = {}
    for release, host in asked.items():
        if release_time(release):
            by_host.setdefault(host, []).append(release)
    wanted = {host: (facts[host].root, releases) for host, releases in by_host.items()}
    found = ask_for_analyses(run, wanted)
    return tuple(
        Judged(release, tuple(one.model_dump(mode="json") for one in watches))
        for release, watches in sorted(found.items())
    )


def folded(journals: Mapping[str, Journal]) -> tuple[Event, ...]:
    """Return the entries of all journals as they happened, the same ones of several hosts once."""
    entries = [
        (at, entry, host) for host, journal in journals.items() for at, entry in _in_order(journal)
    ]
    groups: list[tuple[Entry, list[str]]] = []
    latest: dict[Entry, tuple[Entry, list[str]]] = {}
    for _, entry, host in sorted(entries, key=lambda one: one[0]):
        key = _without_time(entry)
        group = latest.get(key)
        if group is None or host in group[1] or entry.at - group[0].at > TOGETHER:
            group = latest[key] = (entry, [])
            groups.append(group)
        group[1].append(host)
    return tuple(_events(groups, tuple(journals)))


def _in_order(journal: Journal) -> Iterable[tuple[datetime, Entry]]:
    """Yield the entries with a time to sort them by that keeps the order of the file.

    A host that goes back writes its own time, which may lie before the controller's.
    """
    latest = datetime.min.replace(tzinfo=UTC)
    for entry in journal.entries:
        latest = max(latest, entry.at)
        yield latest, entry


def _without_time(entry: Entry) -> Entry:
    return replace(entry, at=datetime.min)


def _events(groups: Iterable[tuple[Entry, list[str]]], order: tuple[str, ...]) -> Iterable[Event]:
    for entry, hosts in groups:
        yield Event(**vars(entry), hosts=tuple(name for name in order if name in hosts))
