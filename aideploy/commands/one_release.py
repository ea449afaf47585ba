"""`fab history --release`: everything about one release, also when it was pruned long ago."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aideploy.commands.asking import Absent, unreadable
from aideploy.commands.history import Event, event_table, folded
from aideploy.commands.recorded import Fleet, ask_fleet, ask_for_records
from aideploy.errors import HostNotReady
from aideploy.records.details import details
from aideploy.records.record import Record
from aideploy.report.facts import Table, Text
from aideploy.running import Run


@dataclass(frozen=True)
class OneRelease:
    """A release: what happened to it, oldest first, and its release.json on one host."""

    release: str
    record: dict[str, Any]
    events: tuple[Event, ...]
    absent: tuple[Absent, ...]
    asked: int
    unreadable: tuple[str, ...] = ()

    def shown(self) -> tuple[Table | Text, ...]:
        """Return what it was made of, and what happened to it."""
        lines = details(Record.model_validate(self.record))
        return (
            Text(f"{self.release}:", lines),
            event_table(self.events, self.asked),
            Text("", self.unreadable),
        )


def one_release(run: Run, word: str) -> OneRelease:
    """Ask every host for a release.

    Args:
        run: the command.
        word: names it; see `Fleet.named`.

    Raises:
        UsageError: there is none.
        HostNotReady: the host that knows of it is gone by now.
    """
    fleet = ask_fleet(run)
    release = fleet.named(word)
    events = folded({name: known.journal for name, known in fleet.facts.items()})
    return OneRelease(
        release=release,
        record=record_of(run, fleet, release).document(),
        events=tuple(one for one in events if one.release == release),
        absent=fleet.absent,
        asked=fleet.asked,
        unreadable=unreadable(fleet.facts),
    )


def record_of(run: Run, fleet: Fleet, release: str) -> Record:
    """Return the record of a release from the first host that has it.

    Raises:
        HostNotReady: that host is gone by now.
    """
    host = fleet.knowing(release)[0]
    found = ask_for_records(run, fleet, {host: [release]})
    if (host, release) not in found:
        raise run.failure or HostNotReady(f"there is no answer from {host}")
    return found[host, release]
