"""What the fleet can go back to, which release `fab rollback` takes, and what is lost with it.

Pure: which script looks, what its answer means, and the choice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aideploy.errors import HostNotReady, UsageError
from aideploy.events import Phase
from aideploy.phases.condition import Change, changes
from aideploy.phases.facts import HostFacts, release_time
from aideploy.phases.journal import Verdict
from aideploy.remote.result import Result
from aideploy.remote.script import Script
from aideploy.report.wording import duration
from aideploy.settings import Settings

# What is live and where it mostly goes: each costs time, and somebody waits.
MOST_RELEASES = 3
MOST_COMMITS = 10
_MOST_METRICS = 4
_MOST_FILES = 3


@dataclass(frozen=True)
class Made:
    """What a release was made of, as its release.json says; empty where that is not known."""

    subject: str = ""
    author: str = ""
    model: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        said = [f'"{self.subject}" ({self.author})'] if self.subject else []
        if self.model:
            shown = ", ".join(f"{k} {v:g}" for k, v in list(self.metrics.items())[:_MOST_METRICS])
            said.append(f"model {self.model[:7]}" + (f" ({shown})" if shown else ""))
        return ", ".join(said)


@dataclass(frozen=True)
class Looked:
    """What a host said of one of its releases.

    Args:
        made: of what.
        changed: what is not as it was when it was made whole.
        commits: those that are live and not in it, newest first, at most `MOST_COMMITS`.
        count: how many they are.
    """

    made: Made
    changed: tuple[Change, ...] = ()
    commits: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True)
class Choice:
    """What one host could go back to: its live release, and those it looked at."""

    live: Made
    releases: Mapping[str, Looked]


def script(settings: Settings, to: str | None) -> Script:
    """Return the script that looks; it costs no round trip beside that of the opening.

    Args:
        settings: of the environment.
        to: the release that was asked for, if one was.
    """
    wanted = (to,) if to and release_time(to) else ()
    return Script(
        "rollback",
        (str(settings.app.deploy_to), str(MOST_RELEASES), str(MOST_COMMITS), *wanted),
        libraries=("manifest",),
    )


def read(result: Result) -> Choice:
    """Make a typed answer of what the script emitted."""
    names = [key.partition(".")[2] for key, _ in result.facts if key.startswith("record.")]
    return Choice(
        live=_made(result.data("record")),
        releases={
            name: Looked(
                made=_made(result.data(f"record.{name}")),
                changed=changes(result, f"changed.{name}"),
                commits=result.all(f"commit.{name}"),
                count=result.number(f"commits.{name}"),
            )
            for name in names
        },
    )


# -- the choice -----------------------------------------------------------------------------------


def previous(serve: Mapping[str, HostFacts]) -> str:
    """Return the newest release that is good and whole on every host and older than what is live.

    Raises:
        UsageError: there is none; it says on which hosts there is one.
    """
    common = _common(serve)
    if common:
        return common[0]
    live = _live(serve)
    owners: dict[str, list[str]] = {}
    for name, facts in serve.items():
        for release in _good(facts, live):
            owners.setdefault(release, []).append(name)
    what = f"there is no good release before {live or 'the first'} on every host"
    if not owners:
        raise UsageError(what, why="no host has one", next_step="correct it, and fab deploy")
    best = max(owners, key=lambda release: (len(owners[release]), release))
    others = ", ".join(name for name in serve if name not in owners[best])
    raise UsageError(
        what,
        why=f"the newest that most have is {best}: {', '.join(owners[best])}, and not {others}",
        next_step=f"fab rollback --only {','.join(owners[best])}; "
        f"{others} keeps what is live, until the next fab deploy",
    )


def named(release: str, serve: Mapping[str, HostFacts]) -> str:
    """Return the release that was asked for.

    Raises:
        UsageError: it is not whole on every host.
    """
    lacking = [name for name, facts in serve.items() if release not in facts.releases]
    if not lacking:
        return release
    there = set.intersection(*(set(facts.releases) for facts in serve.values()))
    raise UsageError(
        f"there is no release {release!r} on {', '.join(lacking)}",
        next_step=f"on every host there is: {', '.join(sorted(there)) or 'none'}",
    )


def changed(
    release: str, serve: Mapping[str, HostFacts], choices: Mapping[str, Choice]
) -> HostNotReady | None:
    """Return why nobody should go back to a release without having looked: it is not any more what
    was proven. None where it is."""
    found = _changed_on(release, choices)
    if not found:
        return None
    looked_at = set.intersection(*(set(one.releases) for one in choices.values()))
    untouched = [
        one for one in _common(serve) if one in looked_at and not _changed_on(one, choices)
    ]
    older = f"; as it was proven: fab rollback --to {untouched[0]}" if untouched else ""
    files = "; ".join(f"{name}: {_files(paths)}" for name, paths in found.items())
    return HostNotReady(
        f"{release} is not as it was when it was good: {files}",
        next_step=f"take it as it is: fab rollback --to {release}{older}",
        phase=Phase.OPEN,
    )


def lost(facts: HostFacts, choice: Choice, release: str, now: datetime) -> tuple[str, ...]:
    """Return in words what a host goes back to, and what is lost with that.

    Args:
        facts, choice: of the host.
        release: to which it goes.
        now: this moment.
    """
    looked = choice.releases.get(release, Looked(Made()))
    made = release_time(release)
    age = f", {duration((now - made).total_seconds())} old" if made else ""
    lines = [f"goes back to {release}{age}: {looked.made}".removesuffix(": ")]
    if facts.current is None or facts.current == release:
        return tuple(lines)
    live = next(
        (
            one
            for one in reversed(facts.journal.entries)
            if one.verdict is Verdict.LIVE and one.release == facts.current
        ),
        None,
    )
    since = f", live for {duration((now - live.at).total_seconds())} by {live.who}" if live else ""
    lines.append(f"leaves {facts.current}{since}: {choice.live}".removesuffix(": "))
    if looked.count:
        word = "commit is" if looked.count == 1 else "commits are"
        lines.append(f"{looked.count} {word} not live any more:")
        lines += [f"  {commit}" for commit in looked.commits]
        if looked.count > len(looked.commits):
            lines.append(f"  and {looked.count - len(looked.commits)} more")
    return tuple(lines)


# -- inside ---------------------------------------------------------------------------------------


def _live(serve: Mapping[str, HostFacts]) -> str:
    return max((facts.current or "" for facts in serve.values()), default="")


def _common(serve: Mapping[str, HostFacts]) -> tuple[str, ...]:
    """Return the releases that are good on every host and older than what is live, newest first."""
    live = _live(serve)
    candidates = [set(_good(facts, live)) for facts in serve.values()]
    common = set.intersection(*candidates) if candidates else set()
    return tuple(sorted(common, reverse=True))


def _good(facts: HostFacts, live: str) -> tuple[str, ...]:
    return tuple(name for name in facts.journal.good_before(live or None) if name in facts.releases)


def _changed_on(release: str, choices: Mapping[str, Choice]) -> dict[str, tuple[Change, ...]]:
    """Return what of this release was changed, for each host where something was."""
    looked = {name: choice.releases.get(release) for name, choice in choices.items()}
    return {name: one.changed for name, one in looked.items() if one and one.changed}


def _files(files: Iterable[Change]) -> str:
    names = list(map(str, files))
    more = f" and {len(names) - _MOST_FILES} more" if len(names) > _MOST_FILES else ""
    return ", ".join(names[:_MOST_FILES]) + more


def _made(data: bytes) -> Made:
    record = _record(data)
    metrics = record.get("metrics")
    numbers = metrics.items() if isinstance(metrics, dict) else ()
    return Made(
        subject=str(record.get("subject") or ""),
        author=str(record.get("author") or ""),
        model=str(record.get("model") or ""),
        metrics={
            str(name): value
            for name, value in numbers
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        },
    )


def _record(data: bytes) -> dict[str, Any]:
    try:
        record = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
