"""The journal of an app on a host: what was prepared, live, good, bad, reverted; by whom and why.

Append-only JSON lines. It decides what "the previous good release" means, never a file's time. This
module writes lines as text and reads them back; the scripts append them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class Verdict(StrEnum):
    """What the journal can say of a release."""

    PREPARED = "prepared"
    LIVE = "live"
    GOOD = "good"
    BAD = "bad"
    REVERTED = "reverted"


@dataclass(frozen=True)
class Entry:
    """One line of the journal.

    Args:
        verdict: what became of the release.
        release: its id.
        at: when, UTC.
        who: user@machine of the controller.
        why: the reason, for people; may be empty.
        revision: the full commit.
        model: the sha256 of the model, or empty.
    """

    verdict: Verdict
    release: str
    at: datetime
    who: str = ""
    why: str = ""
    revision: str = ""
    model: str = ""

    def line(self) -> str:
        """Return the entry as one line of JSON."""
        values = {
            "at": self.at.astimezone(UTC).isoformat(timespec="seconds"),
            "verdict": self.verdict.value,
            "release": self.release,
            "revision": self.revision,
            "model": self.model,
            "who": self.who,
            "why": self.why,
        }
        return json.dumps({name: value for name, value in values.items() if value})


@dataclass(frozen=True)
class Journal:
    """The entries of one host, oldest first.

    Args:
        entries: them.
        unreadable: how many lines say nothing that is understood.
    """

    entries: tuple[Entry, ...] = ()
    unreadable: int = 0

    @classmethod
    def parse(cls, data: bytes) -> Journal:
        """Read the lines; one that a power cut tore, or that is not ours, is passed over."""
        lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
        entries = tuple(_entries(lines))
        return cls(entries, len(lines) - len(entries))

    def good(self) -> tuple[str, ...]:
        """Return the releases whose last judgement is good, oldest first."""
        judged: dict[str, Verdict] = {}
        for entry in self.entries:
            if entry.verdict in (Verdict.GOOD, Verdict.BAD):
                judged[entry.release] = entry.verdict
        return tuple(sorted(name for name, verdict in judged.items() if verdict is Verdict.GOOD))

    def judged_good(self) -> tuple[Entry, ...]:
        """Return for each of these releases the entry that calls it good, the latest first.

        The latest in the file: the clocks of those who deploy need not agree.
        """
        good = set(self.good())
        said = [one for one in self.entries if one.verdict is Verdict.GOOD and one.release in good]
        latest: dict[str, Entry] = {}
        for one in reversed(said):
            latest.setdefault(one.release, one)
        return tuple(latest.values())

    def good_before(self, release: str | None) -> tuple[str, ...]:
        """Return the good releases older than this one (all, if nothing is live), newest first."""
        return tuple(name for name in reversed(self.good()) if release is None or name < release)

    def live(self) -> str | None:
        """Return the release that is live if nobody but us moved `current`."""
        live = None
        for entry in self.entries:
            if entry.verdict is Verdict.LIVE:
                live = entry.release
            elif entry.verdict is Verdict.REVERTED and entry.release == live:
                live = None
        return live

    def revision(self, release: str) -> str:
        """Return the full commit of the release; empty when the journal does not know it."""
        return self._known("revision", release)

    def model(self, release: str) -> str:
        """Return the sha256 of the release's model; empty when the journal knows of none."""
        return self._known("model", release)

    def _known(self, name: str, release: str) -> str:
        # Not every verdict repeats it.
        said = (getattr(entry, name) for entry in self.entries if entry.release == release)
        return next((value for value in said if value), "")

    def last(self, release: str) -> Entry | None:
        """Return what was said last about the release."""
        return next((entry for entry in reversed(self.entries) if entry.release == release), None)


def _entries(lines: Iterable[str]) -> Iterable[Entry]:
    for line in lines:
        try:
            values = json.loads(line)
            yield Entry(
                verdict=Verdict(values["verdict"]),
                release=str(values["release"]),
                at=_moment(values["at"]),
                who=str(values.get("who", "")),
                why=str(values.get("why", "")),
                revision=str(values.get("revision", "")),
                model=str(values.get("model", "")),
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue


def _moment(text: str) -> datetime:
    """Return the time in UTC; one without a zone was meant so."""
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
