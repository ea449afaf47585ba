"""`fab rollback`: back to the release before, on every host, as fast as the service restarts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from aideploy.errors import UsageError
from aideploy.events import Notice, Phase, ReleaseKnown
from aideploy.phases import facts as looking
from aideploy.phases import service
from aideploy.phases.batches import at_once
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Entry, Verdict
from aideploy.remote.fleet import FleetError
from aideploy.remote.session import Lock, Session
from aideploy.rollout import Rollout, conclude, untouched
from aideploy.running import Run
from aideploy.settings import Role


def roll_back(run: Run, to: str | None, *, wait_lock: bool = False) -> None:
    """Switch the serve hosts back; if one is not well there, all return to what they ran.

    Args:
        run: the command.
        to: the release to go to; None for the last good one before what is live.
        wait_lock: wait for a lock that somebody else holds.

    Raises:
        UsageError: there is nothing to go back to.
        RolledBack, NeedsPerson, Interrupted: it did not succeed; see `Rollout.run`.
    """
    settings = run.settings
    if not settings.with_role(Role.SERVE):
        raise UsageError(
            "none of the chosen hosts has the role serve",
            next_step="add a host with the role serve to --only, or leave --only out",
        )
    results = run.fleet.open(Lock.HELD, looking.script(settings), wait_lock=wait_lock)
    known = {name: looking.read(name, result) for name, result in results.items()}
    if unsafe := tuple(filter(None, map(looking.unsafe, known.values()))):
        raise FleetError(Phase.OPEN, unsafe)
    serve = {host.name: known[host.name] for host in settings.with_role(Role.SERVE)}
    run.hosts = tuple(untouched(facts) for facts in serve.values())
    release = previous(serve) if to is None else _named(to, serve)
    targets = {name: service.known_target(facts, release) for name, facts in serve.items()}
    for facts in serve.values():
        _say_what_is_lost(run, facts, release)
    rollout = Rollout(
        settings,
        run.fleet,
        serve,
        run.events,
        targets,
        at_once(tuple(serve)),
        who=run.who,
        why="rolled back by hand",
    )
    try:
        rollout.run()
        rollout.confirm()
    finally:
        run.hosts = tuple(rollout.states.values())
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
    run.headline = f"back on {release} on {len(serve)} hosts"


def previous(serve: Mapping[str, HostFacts]) -> str:
    """Return the newest release that is good and whole on every host and older than what is live.

    Raises:
        UsageError: there is none.
    """
    live = max((facts.current or "" for facts in serve.values()), default="")
    candidates = [_good(facts, live) for facts in serve.values()]
    common = set(candidates[0]).intersection(*candidates[1:]) if candidates else set()
    if common:
        return max(common)
    least = min(serve.values(), key=lambda facts: len(_good(facts, live)))
    raise UsageError(
        f"there is no good release before {live or 'the first'} on every host",
        why=f"{least.host} has {', '.join(_good(least, live)) or 'none'}",
        next_step="see what there is: fab releases; choose one: fab rollback --to RELEASE",
    )


def _good(facts: HostFacts, live: str) -> tuple[str, ...]:
    return tuple(name for name in facts.journal.good_before(live or None) if name in facts.releases)


def _named(release: str, serve: Mapping[str, HostFacts]) -> str:
    lacking = [name for name, facts in serve.items() if release not in facts.releases]
    if not lacking:
        return release
    there = set.intersection(*(set(facts.releases) for facts in serve.values()))
    raise UsageError(
        f"there is no release {release!r} on {', '.join(lacking)}",
        next_step=f"on every host there is: {', '.join(sorted(there)) or 'none'}",
    )


def _say_what_is_lost(run: Run, facts: HostFacts, release: str) -> None:
    live = facts.journal.last(facts.current) if facts.current else None
    if facts.current == release or live is None:
        return
    run.events.publish(
        Notice(
            text=f"leaves {facts.current} (live since {live.at:%Y-%m-%d %H:%M} UTC, {live.who}) "
            f"for {release}",
            host=facts.host,
        )
    )


def _verdicts(run: Run, facts: HostFacts, release: str) -> tuple[Entry, ...]:
    now = datetime.now(UTC)
    why = "rolled back by hand"

    def entry(verdict: Verdict, of: str) -> Entry:
        said = facts.journal
        return Entry(verdict, of, now, run.who, why, said.revision(of), said.model(of))

    entries = [entry(Verdict.GOOD, release)]
    if facts.current and facts.current > release:
        entries.append(entry(Verdict.BAD, facts.current))
    return tuple(entries)
