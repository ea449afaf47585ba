"""`fab rollback`: back to the release before, on every host, as fast as the service restarts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from aideploy.commands.asking import named
from aideploy.delivery.endings import judged
from aideploy.errors import AideployError, HostNotReady, Locked, NeedsPerson, UsageError
from aideploy.events import HostState, Notice, Phase, ReleaseKnown
from aideploy.phases import facts as looking
from aideploy.phases import rollback, service
from aideploy.phases.batches import at_once
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Entry, Verdict
from aideploy.phases.rollback import Choice
from aideploy.remote.fleet import FleetError
from aideploy.remote.result import ScriptFailed
from aideploy.remote.script import Script
from aideploy.remote.session import Lock, Session
from aideploy.report.wording import host_count
from aideploy.rollout import Rollout
from aideploy.running import Run
from aideploy.settings import Host, Role
from aideploy.transaction.finishing import conclude
from aideploy.transaction.standing import untouched

_WHY = "rolled back by hand"


def roll_back(run: Run, to: str | None, *, wait_lock: bool = False) -> None:
    """Switch the serve hosts back; if one is not well there, all return to what they ran.

    Hosts that do not answer are left out, and named at the end. It asks nothing.

    Args:
        run: the command.
        to: the release to go to; None for the last good one before what is live.
        wait_lock: wait for a lock that somebody else holds.

    Raises:
        UsageError: there is nothing to go back to.
        HostNotReady: the release was changed since it was good.
        FleetError: somebody else is at work, or no host can take part.
        RolledBack, NeedsPerson, Interrupted: it did not succeed; see `Rollout.run`.
        NeedsPerson: hosts did not answer, and serve what they served.
    """
    settings = run.settings
    if not settings.with_role(Role.SERVE):
        raise UsageError(
            "none of the chosen hosts has the role serve",
            next_step="add a host with the role serve to --only, or leave --only out",
        )
    serve, choices, absent = _open(run, to, wait_lock=wait_lock)
    away = tuple(_away(name) for name in absent)
    run.hosts = (*map(untouched, serve.values()), *away)
    release = rollback.previous(serve) if to is None else rollback.named(to, serve)
    choices = _look_further(run, release, choices)
    _say_what_is_lost(run, serve, choices, release)
    if (changed := rollback.changed(release, serve, choices)) and to is None:
        raise changed
    if changed:
        run.events.publish(Notice(text=changed.what, level="warning"))
    rollout = Rollout(
        settings,
        run.fleet,
        serve,
        run.events,
        {name: service.known_target(facts, release) for name, facts in serve.items()},
        at_once(tuple(serve)),
        who=run.who,
        why=_WHY,
    )
    try:
        rollout.run()
        rollout.confirm()
    finally:
        run.hosts = (*rollout.states.values(), *away)
    revision = next(iter(serve.values())).journal.revision(release)
    run.events.publish(ReleaseKnown(release=release, revision=revision))

    def finish(session: Session) -> None:
        facts = serve[session.host.name]
        # What was left is bad, and is no release to stand by.
        beside = service.stand_by(settings, session.host) is not None
        script = service.finish(
            settings,
            facts,
            _verdicts(run, facts, release),
            facts.releases,
            stand_by=timedelta(0) if beside else None,
        )
        session.run(Phase.FINISH, script)

    conclude(run.fleet, run.events, finish, tuple(serve))
    run.headline = f"back on {release} on {host_count(len(serve))}"
    if absent:
        raise NeedsPerson(
            f"{run.headline}, but not on {', '.join(absent)}",
            next_step=f"when they answer again: fab rollback --to {release} "
            f"--only {','.join(absent)}",
            causes=tuple(absent.values()),
        )


def _open(
    run: Run, to: str | None, *, wait_lock: bool
) -> tuple[Mapping[str, HostFacts], Mapping[str, Choice], Mapping[str, AideployError]]:
    """Open what can be opened, in one round trip.

    Returns:
        of the serve hosts: what is known of them, what they could go back to, and who is not there.
    """
    looks = looking.script(run.settings), rollback.script(run.settings, to)

    def scripts(host: Host) -> tuple[Script, ...]:
        serves = Role.SERVE in host.roles
        return (*looks, service.require_setup(run.settings, host)) if serves else looks

    outcomes = run.fleet.open_reachable(Lock.HELD, scripts, wait_lock=wait_lock)
    errors = outcomes.errors
    if locked := tuple(error for error in errors.values() if isinstance(error, Locked)):
        raise FleetError(Phase.OPEN, locked)
    if failed := tuple(error for error in errors.values() if isinstance(error, ScriptFailed)):
        raise judged(FleetError(Phase.OPEN, failed))
    serving = [host.name for host in run.settings.with_role(Role.SERVE)]
    absent = {name: errors[name] for name in serving if name in errors}
    if len(absent) == len(serving) or any(
        not isinstance(error, HostNotReady) for error in errors.values()
    ):
        raise FleetError(Phase.OPEN, tuple(errors.values()))
    serve = {
        name: looking.read(name, outcomes.results[name][0])
        for name in serving
        if name not in absent
    }
    if unsafe := tuple(filter(None, map(looking.unsafe, serve.values()))):
        raise FleetError(Phase.OPEN, unsafe)
    choices = {name: rollback.read(outcomes.results[name][1]) for name in serve}
    return serve, choices, absent


def _look_further(run: Run, release: str, choices: Mapping[str, Choice]) -> Mapping[str, Choice]:
    """Let those hosts look at this release that have not: it is not near what they run."""
    names = [name for name, choice in choices.items() if release not in choice.releases]
    if not names:
        return choices
    script = rollback.script(run.settings, release)
    looked = run.fleet.each(
        Phase.OPEN, lambda session: rollback.read(session.run(Phase.OPEN, script)[0]), names
    )
    return {**choices, **looked}


def _away(name: str) -> HostState:
    return HostState(host=name, state="does not answer; serves what it served, if it is up")


def _say_what_is_lost(
    run: Run, serve: Mapping[str, HostFacts], choices: Mapping[str, Choice], release: str
) -> None:
    """Say before anything is switched where it goes, the same for several hosts once."""
    now = datetime.now(UTC)
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, facts in serve.items():
        groups.setdefault(rollback.lost(facts, choices[name], release, now), []).append(name)
    for lines, names in groups.items():
        who = "" if len(groups) == 1 else f"{named(tuple(names), len(serve))}: "
        for line in lines:
            run.events.publish(Notice(text=f"{who}{line}"))


def _verdicts(run: Run, facts: HostFacts, release: str) -> tuple[Entry, ...]:
    now = datetime.now(UTC)

    def entry(verdict: Verdict, of: str) -> Entry:
        said = facts.journal
        return Entry(verdict, of, now, run.who, _WHY, said.revision(of), said.model(of))

    entries = [entry(Verdict.GOOD, release)]
    if facts.current and facts.current > release:
        entries.append(entry(Verdict.BAD, facts.current))
    return tuple(entries)
