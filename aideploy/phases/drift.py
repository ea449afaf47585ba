"""How a host differs from what was left there, and from the other hosts; and what brings it back.

Pure: from what a host said of itself. Used by `fab status`, `fab check` and `fab plan`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from aideploy.phases.condition import Condition
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Verdict
from aideploy.services.files import differing, managed_files, rendered_files
from aideploy.services.left_over import left_over, unwanted_files

if TYPE_CHECKING:
    from aideploy.settings import Host, Settings

_DEPLOY = "fab deploy"
_SHOWN = 3


class Kind(StrEnum):
    """In what a host differs."""

    RELEASE = "release"
    """It serves another release than the one that was judged good last."""
    MISSED = "missed"
    """The same, because it was not there when that one was deployed."""
    MOVED = "moved"
    """Somebody but us moved `current`."""
    ENVIRONMENT = "environment"
    """It serves what was deployed for another environment of hosts.toml."""
    CHANGED = "changed"
    """Files of what is live were changed."""
    CONFIGURATION = "configuration"
    """A file that setup writes is not as the settings want it."""
    ADDED = "added"
    """A unit has additions that are none of ours."""
    LEFT_OVER = "left over"
    """A unit or program of another manager or strategy is still there."""
    UNCONFIRMED = "unconfirmed"
    """What is live was not confirmed: the host is about to go back, or tried in vain."""


CORRECTED_BY_DEPLOY = frozenset([Kind.RELEASE, Kind.MISSED, Kind.MOVED, Kind.ENVIRONMENT])


@dataclass(frozen=True)
class Drift:
    """One way in which a host differs.

    Args:
        host: its name.
        kind: in what.
        what: a sentence without the host.
        next_step: what brings it back.
        corrected_by_deploy: whether the next deploy does.
    """

    host: str
    kind: Kind
    what: str
    next_step: str
    corrected_by_deploy: bool = False


def of_host(
    settings: Settings, host: Host, facts: HostFacts, now: Condition, last_good: str | None
) -> tuple[Drift, ...]:
    """Return everything in which this host differs.

    Args:
        settings, host: what is wanted.
        facts, now: what the host said of itself.
        last_good: the release that was judged good last, on any host; None when none was, or where
            this one serves nothing.
    """
    if not facts.writable:
        return ()
    return (
        *of_release(facts, last_good),
        *_of_environment(settings, facts, now),
        *_of_files(facts, now),
        *_of_configuration(settings, host, facts, now),
        *_of_jobs(facts, now),
    )


def of_release(facts: HostFacts, last_good: str | None) -> Iterator[Drift]:
    """Yield whether the host serves something else than the last good release, and why."""
    journal = facts.journal
    left = journal.live()
    moved = bool(journal.entries) and left != facts.current
    if last_good is not None and facts.current != last_good:
        said = journal.last(last_good)
        kind, why = Kind.RELEASE, ""
        if moved:
            kind, why = Kind.MOVED, f": current was moved by hand, from {left or 'nothing'}"
        elif said is None:
            kind, why = Kind.MISSED, ", when it was not there"
        elif said.verdict is Verdict.REVERTED:
            why = f", from which it went back{f' ({said.why})' if said.why else ''}"
        what = f"serves {facts.current or 'nothing'}, the last good release is {last_good}{why}"
        yield _drift(facts, kind, what, _DEPLOY)
    elif moved:
        way = f"from {left or 'nothing'} to {facts.current or 'nothing'}"
        what = f"current was moved by hand, {way}"
        yield _drift(facts, Kind.MOVED, what, _DEPLOY)


def _of_environment(settings: Settings, facts: HostFacts, now: Condition) -> Iterator[Drift]:
    if now.environment not in ("", settings.environment):
        what = f"serves a release of the environment {now.environment}"
        yield _drift(facts, Kind.ENVIRONMENT, what, "fab deploy, unless hosts.toml is wrong")


def _of_files(facts: HostFacts, now: Condition) -> Iterator[Drift]:
    replaced = [str(one) for one in now.changed if one.of != "venv"]
    if replaced:
        what = f"files of {facts.current} were changed: {_some(replaced)}"
        yield Drift(facts.host, Kind.CHANGED, what, _DEPLOY, corrected_by_deploy=True)
    kept = [str(one) for one in now.changed if one.of == "venv"]
    if kept:
        what = f"files that {facts.current} uses were changed: {_some(kept)}"
        # A deploy finds the environment under the hash of what it is made of, and takes it.
        yield _drift(facts, Kind.CHANGED, what, "undo it there; a deploy keeps environments")


def _of_configuration(
    settings: Settings, host: Host, facts: HostFacts, now: Condition
) -> Iterator[Drift]:
    if stale := stale_files(settings, host, facts):
        what = f"not as the settings want it: {', '.join(stale)}"
        yield _drift(facts, Kind.CONFIGURATION, what, "fab plan shows how, fab setup corrects it")
    if now.added:
        what = f"units have additions that are not ours: {_some(now.added)}"
        yield _drift(facts, Kind.ADDED, what, "take them away, or into templates/ of your own")
    for path, next_step in left_over(settings, host, facts.files):
        yield _drift(facts, Kind.LEFT_OVER, f"left over: {path}", next_step)


def stale_files(settings: Settings, host: Host, facts: HostFacts) -> tuple[str, ...]:
    """Return the configuration files that are not as the settings want them."""
    wanted = rendered_files(settings, host, root=facts.root, user=facts.user)
    return tuple(str(file.path) for file in differing(wanted, facts.files))


def _of_jobs(facts: HostFacts, now: Condition) -> Iterator[Drift]:
    # While a command is at work it may still confirm.
    for job in () if now.lock else now.due:
        if job.name == "revert":
            what = f"{job.words}, at {job.at:%H:%M:%S} (UTC)"
            yield _drift(facts, Kind.UNCONFIRMED, what, "wait, or any command that takes the lock")
    for job in now.given_up:
        what = f"tried in vain and gave it up: {job.words}"
        next_step = f"why: {job.name}.log in the app's folder there; then fab rollback"
        yield _drift(facts, Kind.UNCONFIRMED, what, next_step)


def _drift(facts: HostFacts, kind: Kind, what: str, next_step: str) -> Drift:
    return Drift(facts.host, kind, what, next_step, kind in CORRECTED_BY_DEPLOY)


def _some(names: tuple[str, ...] | list[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


def asked_files(settings: Settings, host: Host) -> list[str]:
    """Return the paths whose checksums tell of drift: what should be there, and what should not."""
    # Who we are there is not known yet: asked for are also files that root does without.
    managed = (file.path for file in managed_files(settings, host, user=""))
    return [str(path) for path in (*managed, *unwanted_files(settings, host))]


def last_good(serving: Mapping[str, HostFacts]) -> str | None:
    """Return the release that was judged good last, on any host: after a rollback an older one."""
    # On one host the order of the lines tells, for the clock that wrote one may have been wrong.
    last = [
        next((one for one in reversed(known.journal.entries) if one.verdict is Verdict.GOOD), None)
        for known in serving.values()
    ]
    return max(filter(None, last), key=lambda entry: entry.at).release if any(last) else None
