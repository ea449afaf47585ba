"""`fab step.*`: the phases of a deploy one by one.

What is done up to `stage` is left on the hosts where a later deploy finds it: the commit in the
mirror, the environment and the model under their hashes. Traffic moves in `put_live` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aideploy.errors import UsageError
from aideploy.events import HostState, Phase
from aideploy.phases import facts as looking
from aideploy.phases import service
from aideploy.phases.facts import HostFacts
from aideploy.phases.service import Health
from aideploy.remote.session import Lock, Session
from aideploy.report.github_deployment import show_on_github
from aideploy.report.notices import send_notices
from aideploy.running import Run
from aideploy.settings import Role
from aideploy.story import Deployment
from aideploy.transaction import finishing
from aideploy.transaction.standing import untouched

_BEFORE_GATE = frozenset(
    {Phase.OPEN, Phase.FETCH, Phase.REVIEW, Phase.INSTALL, Phase.TEST, Phase.TRAIN}
)


def prepare(
    run: Run, last: Phase, revision: str | None, *, wait_lock: bool, no_gate: bool = False
) -> None:
    """Run the phases of a deploy up to this one; traffic stays where it is.

    Args:
        run: the command.
        last: the phase to stop after: stage or one before it.
        revision: a branch, a tag or a commit; None for [app] branch.
        wait_lock: wait for a lock that somebody else holds.
        no_gate: let a model pass that the model gate did not bless.

    Raises:
        AideployError: a phase failed, or the model gate refused the model.
    """
    story = _story(run, no_gate=no_gate)
    if last not in _BEFORE_GATE:
        story.require_gate()
    if last not in (Phase.OPEN, Phase.FETCH):
        story.require_review()
    phases: Mapping[Phase, Callable[[], object]] = {
        Phase.OPEN: lambda: story.open(wait_lock=wait_lock),
        Phase.FETCH: lambda: story.fetch(revision),
        Phase.REVIEW: story.review,
        Phase.INSTALL: story.install,
        Phase.TEST: story.test,
        Phase.TRAIN: story.train,
        Phase.EVALUATE: story.pass_gate,
        Phase.DISTRIBUTE: story.distribute,
        Phase.STAGE: story.stage,
    }
    try:
        for phase, work in phases.items():
            work()
            if phase is last:
                break
    finally:
        run.hosts = story.states
    reached = "ready" if last is Phase.OPEN else f"{story.release} is through {last}"
    run.headline = f"{reached}; nothing was switched"
    run.next_step = "fab step.switch" if last is Phase.STAGE else "fab deploy"


def put_live(run: Run, *, wait_lock: bool) -> None:
    """Switch to the newest release that is staged on every serve host, watch it, finish.

    Raises:
        UsageError: nothing newer than what is live is staged.
        RolledBack, NeedsPerson, Interrupted: it did not succeed; see `Rollout.run`.
    """
    show_on_github(run)
    send_notices(run)
    story = _story(run)
    try:
        story.open(wait_lock=wait_lock)
        story.take_up()
        story.switch()
        story.finish()
    finally:
        run.hosts = story.states
    run.headline = f"{story.release} is live"


def watch_live(run: Run) -> None:
    """Watch the live service of every serve host for the bake time.

    Raises:
        UsageError: nothing is live somewhere.
        FleetError: a service is not well.
    """
    settings = run.settings
    results = run.fleet.open(Lock.NONE, looking.script(settings))
    known = {name: looking.read(name, result) for name, result in results.items()}
    serve = {host.name: host for host in settings.with_role(Role.SERVE)}
    run.hosts = tuple(untouched(known[name]) for name in serve)
    idle = [name for name in serve if known[name].current is None]
    if idle:
        raise UsageError(f"nothing is live on {', '.join(idle)}", next_step="fab deploy")

    def work(session: Session) -> Health:
        name = session.host.name
        facts = known[name]
        script = service.watch(
            settings, serve[name], facts, facts.current_revision, settings.rollout.bake
        )
        return service.read_health(session.run(Phase.WATCH, script)[0])

    run.fleet.each(Phase.WATCH, work, tuple(serve))
    run.hosts = tuple(
        HostState(host=name, state="healthy all the time", release=known[name].current)
        for name in serve
    )
    run.headline = f"watched for {settings.rollout.bake.total_seconds():g} s: all is well"


def make_room(run: Run, *, wait_lock: bool) -> None:
    """Delete what is not needed: releases beyond [app] keep_releases, what no release points to.

    Raises:
        FleetError: a host is unreachable, or something cannot be deleted.
    """
    settings = run.settings
    results = run.fleet.open(Lock.HELD, looking.script(settings), wait_lock=wait_lock)
    known = {name: looking.read(name, result) for name, result in results.items()}

    def work(session: Session) -> int:
        facts = known[session.host.name]
        keep = service.kept_now(facts, settings.app.keep_releases)
        scripts = finishing.scripts(settings, facts, keep)
        return session.run(Phase.FINISH, *scripts)[0].number("pruned")

    deleted = run.fleet.each(Phase.FINISH, work)
    run.hosts = tuple(_state(known[name], count) for name, count in deleted.items())
    run.headline = "made room" if any(deleted.values()) else "nothing to delete"


def _state(facts: HostFacts, deleted: int) -> HostState:
    before = untouched(facts)
    return HostState(
        host=facts.host, state=f"{before.state}, {deleted} releases deleted", release=before.release
    )


def _story(run: Run, *, no_gate: bool = False) -> Deployment:
    return Deployment(run.settings, run.fleet, run.events, who=run.who, no_gate=no_gate)
