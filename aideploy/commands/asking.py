"""Asking all hosts for facts, of which some may not answer: what `status` and its like share.

A host that is down must not hide what the others say. What is known is shown, the hosts that are
missing are named with the reason, and the command ends with status 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from aideploy.errors import AideployError, ConnectionLost, HostNotReady, Unreachable
from aideploy.phases import condition, drift
from aideploy.phases import facts as looking
from aideploy.phases.condition import Condition
from aideploy.phases.facts import HostFacts
from aideploy.remote.result import Result
from aideploy.remote.script import Script
from aideploy.remote.session import Lock
from aideploy.report.next_command import typed
from aideploy.running import Run
from aideploy.settings import Host, Role, Settings

_NAMED = 5

T = TypeVar("T")


@dataclass(frozen=True)
class Absent:
    """A host that did not answer."""

    host: str
    what: str
    why: str
    next_step: str


def ask(
    run: Run, scripts: Callable[[Host], Iterable[Script]]
) -> tuple[Mapping[str, list[Result]], tuple[Absent, ...]]:
    """Open every host that can be opened, run its scripts there, and return what came back.

    Those that cannot are named in `run.failure`, too.
    """
    outcomes = run.fleet.open_reachable(Lock.NONE, scripts)
    missing(run, outcomes.errors)
    return outcomes.results, absent(run.settings, outcomes.errors)


def missing(run: Run, errors: Mapping[str, AideployError], what: str | None = None) -> None:
    """Let the command end, after it showed what it could, with what it could not.

    Args:
        run: the command.
        errors: of each host that failed; where there are none, nothing is missing.
        what: the beginning of a sentence that the names of these hosts end; by default, that there
            is no answer from them, or that it went wrong there.
    """
    if errors:
        silent = any(isinstance(error, Unreachable | ConnectionLost) for error in errors.values())
        what = what or ("there is no answer from" if silent else "it went wrong on")
        names = named(tuple(errors), len(run.settings.hosts))
        run.failure = HostNotReady(f"{what} {names}", causes=tuple(errors.values()))


def unreadable(facts: Mapping[str, HostFacts]) -> tuple[str, ...]:
    """Return what is missing from the journals that came, in words: one line for each such host."""
    return tuple(
        f"{name}: {_lines(known.journal.unreadable)} of its journal cannot be read; what it said "
        "is missing here"
        for name, known in facts.items()
        if known.journal.unreadable
    )


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"


def absent(settings: Settings, errors: Mapping[str, AideployError]) -> tuple[Absent, ...]:
    """Return the same errors as facts."""
    return tuple(
        Absent(name, error.what, error.why, typed(error.next_step, settings))
        for name, error in errors.items()
    )


def ask_for_facts(
    run: Run, *, journal_lines: int = looking.JOURNAL_LINES
) -> tuple[Mapping[str, HostFacts], tuple[Absent, ...]]:
    """Return the facts of every host that answers, by name, and who does not."""
    script = looking.script(run.settings, journal_lines=journal_lines)
    results, gone = ask(run, lambda _: (script,))
    return {name: looking.read(name, result[0]) for name, result in results.items()}, gone


def ask_how_they_are(
    run: Run,
) -> tuple[Mapping[str, HostFacts], Mapping[str, Condition], tuple[Absent, ...]]:
    """Return facts and condition of every host that answers, by name, and who does not."""
    settings = run.settings

    def scripts(host: Host) -> tuple[Script, Script]:
        files = drift.asked_files(settings, host)
        return looking.script(settings, files), condition.script(settings, host)

    results, gone = ask(run, scripts)
    facts = {name: looking.read(name, result[0]) for name, result in results.items()}
    conditions = {name: condition.read(result[1]) for name, result in results.items()}
    return facts, conditions, gone


def of_serving(settings: Settings, by_host: Mapping[str, T]) -> dict[str, T]:
    """Return those of hosts that serve."""
    serving = {host.name for host in settings.with_role(Role.SERVE)}
    return {name: value for name, value in by_host.items() if name in serving}


def named(hosts: tuple[str, ...], of: int) -> str:
    """Return hosts for a table or a sentence: `all 3 hosts`, or their names, or the first few."""
    if len(hosts) == of and of > 1:
        return f"all {of} hosts"
    rest = f" and {len(hosts) - _NAMED} more" if len(hosts) > _NAMED else ""
    return ", ".join(hosts[:_NAMED]) + rest
