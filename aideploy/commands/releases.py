"""`fab releases`: which releases there are, what became of them, and where rollback would go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from aideploy.commands.asking import Absent, ask_for_facts, named, of_serving
from aideploy.errors import UsageError
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Entry, Verdict
from aideploy.phases.rollback import previous
from aideploy.report.facts import Table, Text
from aideploy.running import Run


@dataclass(frozen=True)
class Release:
    """A release that at least one host has.

    Args:
        release: its id.
        at, by: when and by whom it was prepared, as far as a journal knows.
        revision, model: of it.
        verdict: what was said of it last; None when no journal knows it.
        hosts: who has it whole.
        live: where it is live.
        rollback_goes_here: whether `fab rollback` would take it.
    """

    release: str
    at: datetime | None
    by: str
    revision: str
    model: str
    verdict: Verdict | None
    hosts: tuple[str, ...]
    live: tuple[str, ...]
    rollback_goes_here: bool


@dataclass(frozen=True)
class Releases:
    """All releases of the fleet, newest first; and who did not answer of `asked` hosts."""

    releases: tuple[Release, ...]
    absent: tuple[Absent, ...]
    asked: int

    def shown(self) -> tuple[Table | Text, ...]:
        """Return the table."""
        if not self.releases:
            return (Text("", ("there is no release yet: fab deploy",)),)
        columns = ("", "RELEASE", "AT (UTC)", "BY", "VERDICT", "MODEL", "ON", "LIVE ON")
        return (Table(columns, tuple(map(self._row, self.releases))),)

    def _row(self, one: Release) -> tuple[str, ...]:
        return (
            "live" if one.live else "rollback" if one.rollback_goes_here else "",
            one.release,
            f"{one.at:%Y-%m-%d %H:%M}" if one.at else "",
            one.by,
            one.verdict or "",
            one.model[:7],
            named(one.hosts, self.asked),
            named(one.live, self.asked) if one.live else "",
        )


def releases(run: Run) -> Releases:
    """Ask every host and put together what those that answer have."""
    facts, absent = ask_for_facts(run)
    return Releases(merged(facts, of_serving(run.settings, facts)), absent, len(run.settings.hosts))


def merged(facts: Mapping[str, HostFacts], serving: Mapping[str, HostFacts]) -> tuple[Release, ...]:
    """Return the releases of all hosts, newest first.

    Args:
        facts: of every host.
        serving: of those among them that serve; `fab rollback` asks these.
    """
    names = {name for known in facts.values() for name in known.releases}
    back = _rollback(serving)
    return tuple(_release(name, facts, back) for name in sorted(names, reverse=True))


def _release(name: str, facts: Mapping[str, HostFacts], back: str | None) -> Release:
    said = sorted(
        (
            entry
            for known in facts.values()
            for entry in known.journal.entries
            if entry.release == name
        ),
        key=lambda entry: entry.at,
    )
    first = said[0] if said else None
    return Release(
        release=name,
        at=first.at if first else None,
        by=first.who if first else "",
        revision=next((entry.revision for entry in said if entry.revision), ""),
        model=next((entry.model for entry in said if entry.model), ""),
        verdict=_judgement(said),
        hosts=tuple(host for host, known in facts.items() if name in known.releases),
        live=tuple(host for host, known in facts.items() if known.current == name),
        rollback_goes_here=name == back,
    )


def _judgement(said: list[Entry]) -> Verdict | None:
    """Return the last word on the release: to be live is no judgement."""
    judged = [entry.verdict for entry in said if entry.verdict is not Verdict.LIVE]
    return judged[-1] if judged else None


def _rollback(serving: Mapping[str, HostFacts]) -> str | None:
    try:
        return previous(serving) if serving else None
    except UsageError:
        return None
