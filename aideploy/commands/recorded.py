"""What `history`, `compare` and `model.card` share: which release is meant, and its record.

They ask every host for its whole journal, decide, and ask again for the records that they need.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePosixPath

from aideploy.commands.asking import Absent, ask_for_facts, missing, of_serving
from aideploy.errors import UsageError
from aideploy.events import Phase
from aideploy.phases.facts import ALL_LINES, HostFacts, release_time
from aideploy.phases.rollback import previous
from aideploy.records.analyses import KnownRecord, Watched, read_analyses, with_analyses
from aideploy.records.record import Record, read_record
from aideploy.remote.script import Script
from aideploy.remote.session import Session
from aideploy.running import Run
from aideploy.settings import Role

CURRENT, PREVIOUS = "current", "previous"
_NAMED = 5
_LEAST_LETTERS = 4


@dataclass(frozen=True)
class Fleet:
    """What the hosts that serve know of their releases.

    Args:
        facts: of those that answered, with their whole journals.
        absent: those that did not.
        asked: how many hosts were.
    """

    facts: Mapping[str, HostFacts]
    absent: tuple[Absent, ...]
    asked: int

    @property
    def releases(self) -> tuple[str, ...]:
        """Every release that was ever prepared on one of them or is there, oldest first."""
        said = {one.release for known in self.facts.values() for one in known.journal.entries}
        there = {name for known in self.facts.values() for name in known.releases}
        return tuple(sorted(name for name in said | there if release_time(name)))

    def knowing(self, release: str) -> tuple[str, ...]:
        """Return the names of the hosts that know of the release, those first that have it."""
        knowing = [name for name, known in self.facts.items() if known.journal.last(release)]
        having = [name for name, known in self.facts.items() if release in known.releases]
        return tuple(dict.fromkeys([*having, *knowing]))

    def named(self, word: str) -> str:
        """Return the release that is meant.

        Args:
            word: its id, the beginning of its id or of its commit, "current" for what is live, or
                "previous" for what `fab rollback` would go to.

        Raises:
            UsageError: there is none, or more than one.
        """
        if word == CURRENT:
            return self._current()
        if word == PREVIOUS:
            return previous(self.facts)
        if word in self.releases:
            return word
        begun = [name for name in self.releases if release_begins(name, word)]
        if len(begun) == 1:
            return begun[0]
        if begun:
            raise UsageError(
                f"{word!r} may be {len(begun)} releases",
                why=f"the newest: {', '.join(begun[-_NAMED:])}",
                next_step="write more of it",
            )
        raise UsageError(
            f"no host knows a release {word!r}", why=self._near(word), next_step="fab history"
        )

    def _current(self) -> str:
        live = Counter(known.current for known in self.facts.values() if known.current)
        if len(live) == 1:
            return next(iter(live))
        if not live:
            raise UsageError("nothing is live", next_step="fab deploy")
        said = ", ".join(f"{name} on {count}" for name, count in live.most_common(_NAMED))
        raise UsageError(
            "the hosts serve different releases", why=said, next_step="name the one that is meant"
        )

    def _near(self, word: str) -> str:
        commits = {name.partition("-")[2]: name for name in self.releases}
        near = get_close_matches(word, [*self.releases, *commits], n=1)
        if near:
            return f"the nearest: {commits.get(near[0], near[0])}"
        known = ", ".join(self.releases[-_NAMED:]) or "none"
        return f"the newest that are known: {known}; or {CURRENT}, {PREVIOUS}"


def release_begins(name: str, word: str) -> bool:
    """Whether the word is the beginning of the release's id or of its commit."""
    if len(word) < _LEAST_LETTERS:
        return False
    commit = name.partition("-")[2]
    return name.startswith(word) or commit.startswith(word) or word.startswith(commit)


def ask_fleet(run: Run) -> Fleet:
    """Ask every host for its whole journal; only those that serve have releases.

    Raises:
        UsageError: none of the chosen hosts serves.
        HostNotReady: none of those that serve answers.
    """
    if not run.settings.with_role(Role.SERVE):
        raise UsageError(
            "none of the chosen hosts has the role serve",
            next_step="add a host with the role serve to --only, or leave --only out",
        )
    facts, absent = ask_for_facts(run, journal_lines=ALL_LINES)
    serving = of_serving(run.settings, facts)
    if not serving and run.failure:
        raise run.failure
    return Fleet(serving, absent, len(run.settings.hosts))


def ask_for_records(
    run: Run, fleet: Fleet, wanted: Mapping[str, Iterable[str]]
) -> dict[tuple[str, str], KnownRecord]:
    """Return the records of these releases by host and release, also of those that were pruned.

    What a host does not have, because a version pruned it that kept no records, is what its journal
    knows. A host that is gone by now is named in `run.failure`.

    Args:
        run: the command; the sessions are open.
        fleet: what the hosts know.
        wanted: the releases by host.
    """
    names = {host: tuple(dict.fromkeys(releases)) for host, releases in wanted.items() if releases}

    def work(session: Session) -> dict[str, KnownRecord]:
        host = session.host.name
        known, releases = fleet.facts[host], names[host]
        result = session.run(Phase.LOOK, record_script(known.root, releases))[0]
        found: dict[str, KnownRecord] = {}
        for index, release in enumerate(releases):
            there, pruned, analyses = (
                result.data(f"content.{3 * index + number}") for number in (1, 2, 3)
            )
            record = read_record(there or pruned) or from_journal(known, release)
            found[release] = with_analyses(record, read_analyses(analyses))
        return found

    outcomes = run.fleet.attempt(Phase.LOOK, work, tuple(names), stop_at_failure=False)
    if outcomes.errors:
        missing(run, outcomes.errors)
    return {
        (host, release): record
        for host, found in outcomes.results.items()
        for release, record in found.items()
    }


def record_script(root: PurePosixPath, releases: Iterable[str]) -> Script:
    """Return the script that reads, for each release, the two places where its record may be, and
    what came of its live analyses."""
    places = (
        place
        for release in releases
        for place in (
            root / "releases" / release / "release.json",
            root / "records" / f"{release}.json",
            analyses_of(root, release),
        )
    )
    return Script("read_files", tuple(map(str, places)), libraries=("files",))


def ask_for_analyses(
    run: Run, wanted: Mapping[str, tuple[PurePosixPath, Sequence[str]]]
) -> dict[str, tuple[Watched, ...]]:
    """Return what came of the live analyses of these releases, where anything did.

    Args:
        run: the command; the sessions are open.
        wanted: by host, the folder of the app there and the releases to ask it for.
    """

    def work(session: Session) -> dict[str, tuple[Watched, ...]]:
        root, releases = wanted[session.host.name]
        places = (str(analyses_of(root, release)) for release in releases)
        script = Script("read_files", tuple(places), libraries=("files",))
        result = session.run(Phase.LOOK, script)[0]
        return {
            release: read_analyses(result.data(f"content.{number}"))
            for number, release in enumerate(releases, 1)
        }

    outcomes = run.fleet.attempt(Phase.LOOK, work, tuple(wanted), stop_at_failure=False)
    if outcomes.errors:
        missing(run, outcomes.errors)
    return {
        release: watches
        for found in outcomes.results.values()
        for release, watches in found.items()
        if watches
    }


def analyses_of(root: PurePosixPath, release: str) -> PurePosixPath:
    """Return the file in which a host keeps what came of the live analyses of a release."""
    return root / "analyses" / f"{release}.json"


def from_journal(known: HostFacts, release: str) -> Record:
    """Return what the journal of a host alone knows of a release."""
    first = next((one for one in known.journal.entries if one.release == release), None)
    return Record(
        id=release,
        host=known.host,
        revision=known.journal.revision(release),
        model=known.journal.model(release) or None,
        prepared_at=first.at if first else None,
        who=first.who if first else "",
    )
