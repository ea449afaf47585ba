"""`fab rollout.*`: see and steer, from any terminal, a rollout that is under way or held.

A running one is asked, through the hosts that it has switched; its own terminal does it and says
so. One that is held has no terminal any more: it is promoted or aborted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from aideploy.commands.asking import Absent, ask, named
from aideploy.errors import (
    Aborted,
    AideployError,
    HostNotReady,
    Interrupted,
    NeedsPerson,
    UsageError,
)
from aideploy.events import Batch, HostState, Phase
from aideploy.phases import batches, control, service, share
from aideploy.phases import facts as looking
from aideploy.phases.control import Doing, Found, Request, State, Wish
from aideploy.phases.facts import HostFacts
from aideploy.remote.fleet import FleetError
from aideploy.remote.session import Lock, Session
from aideploy.report.facts import Table, Text
from aideploy.report.github_deployment import show_on_github
from aideploy.report.next_command import typed
from aideploy.report.notices import send_notices
from aideploy.report.wording import joined
from aideploy.rollout import Rollout
from aideploy.running import Run
from aideploy.story import Deployment
from aideploy.transaction.standing import untouched

_HEARD = {
    Wish.PAUSE: "it stops before the next batch, or before it confirms; fab rollout.resume",
    Wish.RESUME: "it goes on",
    Wish.PROMOTE: "it goes on without bake times and pauses, and finishes",
    Wish.ABORT: "every host goes back to its previous release",
}

_HELD = "go on or back: fab rollout.promote or fab rollout.abort"


@dataclass(frozen=True)
class HostInRollout:
    """One host of a rollout.

    Args:
        host: its name.
        batch: which one it is in, from 1; 0 for one that takes no part, or switched before.
        live: the release that is live there; None for nothing.
        state: switched, waiting, failed or unknown.
    """

    host: str
    batch: int
    live: str | None
    state: str


@dataclass(frozen=True)
class RolloutStatus:
    """The rollout of an environment, as far as there is one.

    Args:
        app, environment: whose.
        doing: switching, watching, paused or held; None when there is no rollout.
        who, since: by whom and since when, UTC.
        release, revision: of what.
        batch, of: which batch is under way, from 1, of how many.
        by: who paused it.
        why: it is held.
        next_step: what to type then.
        share: how many of 100 requests its hosts give to the release before they switch, or 0.
        lock: who holds the lock that is not a rollout's.
        hosts: those that answered.
        absent: those that did not.
    """

    app: str
    environment: str
    doing: Doing | None
    who: str
    since: datetime | None
    release: str
    revision: str
    batch: int
    of: int
    by: str
    why: str
    next_step: str
    share: int
    lock: str
    hosts: tuple[HostInRollout, ...]
    absent: tuple[Absent, ...]

    def shown(self) -> tuple[Table | Text, ...]:
        """Return the rollout in a sentence, and its hosts."""
        if self.doing is None or self.since is None:
            lines = ["no rollout is under way"]
            lines += [f"locked by {self.lock}, which is not switching"] if self.lock else []
            return (Text("", tuple(lines)),)
        rows = [(one.host, str(one.batch or ""), one.state, one.live or "") for one in self.hosts]
        rows += [(one.host, "", "does not answer", "") for one in self.absent]
        return (
            Text("", tuple(self._sentences())),
            Table(("HOST", "BATCH", "STATE", "LIVE"), tuple(rows)),
        )

    def _sentences(self) -> list[str]:
        since = f"{self.since:%Y-%m-%d %H:%M:%S}" if self.since else ""
        batch = str(Batch(self.batch, self.of)) or "the only batch"
        by = f" by {self.by}" if self.by else ""
        sentences = [
            f"{self.release} ({self.revision[:7]}) by {self.who}, since {since} UTC: "
            + joined(f"{self.doing}{by}", batch, share.in_words(self.share))
        ]
        if self.why:
            sentences += [self.why, self.next_step]
        return sentences


def rollout_status(run: Run) -> RolloutStatus:
    """Ask every host, in one round trip, and return how the rollout stands, if there is one."""
    known, absent = _look(run)
    state = _running(known) or _held(known)
    return RolloutStatus(
        app=run.settings.app.name,
        environment=run.settings.environment,
        doing=state.doing if state else None,
        who=state.who if state else "",
        since=state.since if state else None,
        release=state.release if state else "",
        revision=state.revision if state else "",
        batch=state.batch if state else 0,
        of=len(state.batches) if state else 0,
        by=state.by if state else "",
        why=state.why if state else "",
        next_step=typed(_HELD, run.settings) if state and state.why else "",
        share=state.share if state else 0,
        lock=_lock(known),
        hosts=tuple(_host(name, found, state) for name, found in known.items()),
        absent=absent,
    )


def steer(run: Run, wish: Wish) -> None:
    """Ask the rollout that is under way for something; promote or abort one that is held.

    Raises:
        UsageError: there is no rollout for which that has a meaning; nothing was changed.
        HostNotReady: no host that could pass it on answers.
        RolledBack, NeedsPerson, Held: of a rollout that is held; see `Rollout.run`.
    """
    known, _ = _look(run)
    running, held = _running(known), _held(known)
    if running:
        _ask_running(run, wish, running, known)
    elif held is None:
        raise _nothing_to(wish, known, run)
    elif wish is Wish.PROMOTE:
        _promote(run, held)
    elif wish is Wish.ABORT:
        _abort(run, held)
    else:
        raise UsageError(
            f"the rollout of {held.release} is held: it cannot {wish}",
            next_step=_HELD,
        )


# -- one that runs --------------------------------------------------------------------------------


def _ask_running(run: Run, wish: Wish, state: State, known: Mapping[str, Found]) -> None:
    if wish is Wish.RESUME and state.doing is not Doing.PAUSED:
        raise UsageError(
            f"the rollout of {state.release} is not paused: it is {state.doing}",
            next_step="fab rollout.status",
        )
    # What hosts could not be asked does not matter any more: one that passes it on is enough.
    run.failure = None
    request = Request(state.rollout, wish, run.who, datetime.now(UTC))
    script = control.ask(run.settings, request)
    ours = [
        name
        for name, found in known.items()
        if found.running and found.running.rollout == state.rollout
    ]
    outcomes = run.fleet.attempt(
        Phase.ASK,
        lambda session: session.run(Phase.ASK, script)[0],
        ours,
        stop_at_failure=False,
    )
    if not outcomes.results:
        raise HostNotReady(
            "the request could not be left anywhere", causes=tuple(outcomes.errors.values())
        )
    run.hosts = tuple(
        HostState(host=one.host, state=f"{one.state}, serves {one.live or 'nothing'}")
        for one in (_host(name, found, state) for name, found in known.items())
    )
    if any(map(control.was_heard, outcomes.results.values())):
        heard = typed(_HEARD[wish], run.settings)
        run.headline = f"{wish}: heard by the rollout of {state.who}: {heard}"
    else:
        run.headline = (
            f"{wish}: left for the rollout of {state.who}, which hears it when it watches"
        )
    run.next_step = "fab rollout.status"


def _nothing_to(wish: Wish, known: Mapping[str, Found], run: Run) -> UsageError:
    lock = _lock(known)
    failure = run.failure
    if failure:
        return UsageError(
            f"nothing to {wish}: no rollout is under way on the hosts that answer",
            causes=failure.causes,
            next_step="fab rollout.status, when all hosts answer",
        )
    return UsageError(
        f"nothing to {wish}: no rollout is under way",
        why=f"locked by {lock}, which is not switching" if lock else "",
        next_step="fab rollout.status" if lock else "fab status",
    )


# -- one that is held -----------------------------------------------------------------------------


def _promote(run: Run, state: State) -> None:
    """Switch the hosts of a held rollout that do not serve its release yet, and finish."""
    _let_go(run)
    show_on_github(run)
    send_notices(run)
    story = Deployment(run.settings, run.fleet, run.events, who=run.who)
    try:
        story.open()
        story.take_over(state)
        story.finish()
    finally:
        run.hosts = story.states
    run.headline = f"{state.release} is live"


def _abort(run: Run, state: State) -> None:
    """Take the hosts of a held rollout that serve its release back to what they served before."""
    _let_go(run)
    send_notices(run)
    settings = run.settings
    outcomes = run.fleet.open_reachable(Lock.HELD, lambda _: (looking.script(settings),))
    facts = {name: looking.read(name, result[0]) for name, result in outcomes.results.items()}
    run.hosts = tuple(map(untouched, facts.values()))
    lost = {name: error for name, error in outcomes.errors.items() if name in state.before}
    back = state.switched(facts)
    rollout = Rollout(
        settings,
        run.fleet,
        back,
        run.events,
        {name: service.known_target(facts[name], state.release) for name in back},
        batches.at_once(()),
        who=run.who,
    )
    why: AideployError = Aborted(f"{run.who} aborted the rollout")
    try:
        rollout.adopt(tuple(back))
    except (FleetError, Interrupted) as error:
        why = error
    came_back = rollout.go_back(why)
    run.hosts = tuple(
        {**{name: untouched(one) for name, one in facts.items()}, **rollout.states}.values()
    )
    if isinstance(came_back, Interrupted):
        raise came_back
    if isinstance(came_back, NeedsPerson):
        raise came_back
    if lost:
        raise NeedsPerson(
            f"{named(tuple(lost), len(settings.hosts))} could not be reached, and may still serve "
            f"{state.release}; the others are back",
            causes=tuple(lost.values()),
            next_step="fab rollout.abort again, when they are back",
        )
    run.fleet.each(Phase.HOLD, lambda session: _forget(session, facts), tuple(facts))
    run.headline = "aborted: every host that had switched is back on its previous release"
    run.next_step = "correct it, push, and run fab deploy again"


def _forget(session: Session, facts: Mapping[str, HostFacts]) -> None:
    session.run(Phase.HOLD, control.forget(facts[session.host.name].root))


def _let_go(run: Run) -> None:
    """End the sessions that looked, so that others can be opened that hold the lock."""
    run.failure = None
    for session in run.fleet.sessions.values():
        session.end()


# -- what the hosts said --------------------------------------------------------------------------


def _look(run: Run) -> tuple[Mapping[str, Found], tuple[Absent, ...]]:
    script = control.look(run.settings)
    results, absent = ask(run, lambda _: (script,))
    return {name: control.found(result[0]) for name, result in results.items()}, absent


def _running(known: Mapping[str, Found]) -> State | None:
    """Return the rollout that is under way, as it was put last."""
    states = [found.running for found in known.values() if found.running]
    return max(states, key=lambda state: state.at, default=None)


def _held(known: Mapping[str, Found]) -> State | None:
    """Return the rollout that is held: a later deploy or rollback of its hosts struck it out."""
    states = [found.held for found in known.values() if found.held]
    held = max(states, key=lambda state: state.at, default=None)
    if held is None:
        return None
    switched = [found.held for name, found in known.items() if name in held.before]
    stands = all(one is not None and one.rollout == held.rollout for one in switched)
    return held if stands else None


def _lock(known: Mapping[str, Found]) -> str:
    return next((found.lock for found in known.values() if found.lock), "")


def _host(name: str, found: Found, state: State | None) -> HostInRollout:
    numbers = {
        host: number
        for number, hosts in enumerate(state.batches if state else (), start=1)
        for host in hosts
    }
    batch = numbers.get(name, 0)
    if state is None or not (batch or name in state.before):
        words = "takes no part"
    elif name in state.failed:
        words = "failed"
    elif found.current == state.release:
        words = "switched"
    elif state.share and name in state.before:
        words = f"gives {state.share}%"
    else:
        words = "waiting"
    return HostInRollout(name, batch, found.current, words)
