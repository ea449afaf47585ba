"""`fab check`: whether a deploy would find what it needs, as far as one can say beforehand."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from aideploy.commands.asking import ask_how_they_are, of_serving
from aideploy.delivery.gating import require_gate
from aideploy.delivery.provision import provision
from aideploy.errors import AideployError, HostNotReady
from aideploy.events import Phase
from aideploy.gates.reviewing import token_of
from aideploy.golden_file import check_before
from aideploy.phases import drift, gpu, image, readiness
from aideploy.phases.condition import Condition
from aideploy.phases.drift import Drift, Kind
from aideploy.phases.facts import HostFacts
from aideploy.phases.readiness import Problem
from aideploy.remote.session import Session
from aideploy.report.facts import Table, Text
from aideploy.report.next_command import typed
from aideploy.report.notices import addresses_of
from aideploy.repository import Repository
from aideploy.running import Run
from aideploy.settings import Role, Settings
from aideploy.settings.app import Source
from aideploy.settings.secrets import resolve

HERE = "this machine"


@dataclass(frozen=True)
class Checked:
    """What is in the way of a deploy; nothing at all when `problems` is empty.

    Args:
        app, environment: of which.
        hosts: every host that was checked.
        problems: what is wrong, on a host or on this machine.
        corrected: what is not as it should be, and a deploy brings back.
        notices: what is in the way of no deploy, and should not stay so.
    """

    app: str
    environment: str
    hosts: tuple[str, ...]
    problems: tuple[Problem, ...]
    corrected: tuple[Drift, ...]
    notices: tuple[Problem, ...] = ()

    def shown(self) -> tuple[Table | Text, ...]:
        """Return the table: a line for each host that is ready, and for each problem."""
        return (Table(("", "HOST", "WHAT", "NEXT"), tuple(self._rows())),)

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for name in (HERE, *self.hosts):
            wrong = [problem for problem in self.problems if problem.host == name]
            if not wrong:
                yield "✓", name, "ready", ""
            for problem in wrong:
                yield "✗", name, problem.what, problem.next_step
            for one in self.corrected:
                if one.host == name:
                    yield "!", name, one.what, "the next deploy corrects it"
            for notice in self.notices:
                if notice.host == name:
                    yield "!", name, notice.what, notice.next_step


def check(run: Run) -> Checked:
    """Look at this machine and at every host, and return all that is wrong.

    The command ends with status 3 when something is.
    """
    settings = run.settings
    facts, conditions, absent = ask_how_they_are(run)
    outcomes = run.fleet.attempt(
        Phase.LOOK,
        lambda session: _looked(settings, session, facts[session.host.name]),
        facts,
        stop_at_failure=False,
    )
    drifts = tuple(_drifts(settings, facts, conditions))
    problems = (
        *_here(settings),
        *(Problem(one.host, f"{one.what}: {one.why}", one.next_step) for one in absent),
        *(Problem(name, error.what, error.next_step) for name, error in outcomes.errors.items()),
        *(problem for found, _ in outcomes.results.values() for problem in found),
        *(
            Problem(one.host, one.what, one.next_step)
            for one in drifts
            if not one.corrected_by_deploy and one.kind is not Kind.CONFIGURATION
        ),
    )
    if problems:
        places = tuple(dict.fromkeys(problem.host for problem in problems))
        run.failure = HostNotReady(
            f"{len(problems)} {'problem' if len(problems) == 1 else 'problems'} "
            f"on {', '.join(places[:5])}{' and others' if len(places) > 5 else ''}",
            why="the table says what to do about each",
            next_step="fab check again, when that is done",
        )
    return Checked(
        settings.app.name,
        settings.environment,
        tuple(host.name for host in settings.hosts),
        _typed(problems, settings),
        tuple(one for one in drifts if one.corrected_by_deploy),
        _typed((notice for _, found in outcomes.results.values() for notice in found), settings),
    )


def _typed(problems: Iterable[Problem], settings: Settings) -> tuple[Problem, ...]:
    return tuple(replace(one, next_step=typed(one.next_step, settings)) for one in problems)


def _drifts(
    settings: Settings, facts: Mapping[str, HostFacts], conditions: Mapping[str, Condition]
) -> Iterator[Drift]:
    """Yield what is not as it should be on the hosts that answer."""
    good = drift.last_good(of_serving(settings, facts))
    for host in settings.hosts:
        if host.name in facts:
            known, now = facts[host.name], conditions[host.name]
            wanted = good if Role.SERVE in host.roles else None
            yield from drift.of_host(settings, host, known, now, wanted)


def _looked(
    settings: Settings, session: Session, facts: HostFacts
) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Return what would be in the way of a deploy, and what would not."""
    host, serve = session.host, settings.serve
    scripts = [readiness.script(settings, host, facts)]
    if serve and serve.contained and Role.SERVE in host.roles:
        scripts.append(image.check(serve))
    if gpu.needs_room(settings, host):
        scripts.append(gpu.script(settings, facts))
    found, *others = session.run(Phase.LOOK, *scripts)
    obstacles = [
        Problem(host.name, *one)
        for said in others
        for one in (*image.obstacles(said), *gpu.obstacles(said))
    ]
    problems = readiness.problems(settings, host, facts, found, datetime.now(UTC))
    return (*problems, *obstacles), readiness.notices(host.name, found)


def _here(settings: Settings) -> Iterator[Problem]:
    """Yield what is wrong on this machine."""
    folder = settings.path.parent
    try:
        if settings.serve:
            resolve(settings.serve, os.environ, folder)
        token_of(settings, os.environ)
        addresses_of(settings, os.environ)
        provision(settings, os.environ)
    except AideployError as error:
        yield Problem(HERE, f"{error.what}: {error.why}", error.next_step)
    try:
        require_gate(settings)
    except AideployError as error:
        yield Problem(HERE, error.what, error.next_step)
    try:
        if settings.app.source is Source.PUSH:
            Repository(folder / str(settings.app.repository)).commit(settings.app.branch)
        if settings.golden:
            check_before(settings, settings.golden, settings.app.branch)
    except AideployError as error:
        where = f": {error.why.partition(chr(10))[0]}" if error.why else ""
        yield Problem(HERE, f"{error.what}{where}", error.next_step)
