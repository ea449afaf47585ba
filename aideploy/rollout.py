"""The fleet transaction: every host switches and stays well, or every one that switched goes back.

Used by deploy and by rollback. It decides; the fleet does. A host that is switched holds a script
of ours that takes it back if the controller dies before it confirms, or the host itself starts
again. The confirmation is the point of no return: every host has answered it, or all go back.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aideploy.errors import (
    AideployError,
    ConnectionLost,
    HostNotReady,
    Interrupted,
    Locked,
    NeedsPerson,
    RolledBack,
    Unreachable,
)
from aideploy.events import Events, HostState, Notice, Phase
from aideploy.phases import due, service
from aideploy.phases import facts as looking
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Entry, Verdict
from aideploy.phases.service import Direction, Health, Target
from aideploy.remote.fleet import Fleet, FleetError
from aideploy.remote.script import Script
from aideploy.remote.session import Lock, Session

if TYPE_CHECKING:
    from aideploy.settings import Settings

_RECONNECT_SECONDS = 60.0
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Rollout:
    """One switch of the serve hosts, from what they run to their targets.

    Args:
        settings: of the environment.
        fleet: with open sessions.
        facts: of every host that switches.
        events: where everything is told.
        who: who asked for it.
        why: for the journal.
    """

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        facts: Mapping[str, HostFacts],
        events: Events,
        *,
        who: str,
        why: str = "",
    ) -> None:
        self._settings = settings
        self._fleet = fleet
        self._facts = facts
        self._events = events
        self._who = who
        self._why = why
        self._hosts = {host.name: host for host in settings.hosts if host.name in facts}
        self._switched: dict[str, Target] = {}
        self._perhaps_confirmed: set[str] = set()
        self.states = {name: untouched(known) for name, known in facts.items()}

    def run(self, targets: Mapping[str, Target], *, watch: bool) -> None:
        """Switch every host to its target and watch it; `confirm` has to follow.

        Args:
            targets: for every host that switches.
            watch: whether to watch for the bake time after the switch.

        Raises:
            RolledBack: it failed; every host that switched is back and well.
            NeedsPerson: it failed, and a host could not be brought back.
            Interrupted: as RolledBack, after Ctrl-C.
        """
        try:
            self._fleet.each(
                Phase.SWITCH, lambda session: self._switch(session, targets), tuple(targets)
            )
            if watch:
                self._fleet.each(
                    Phase.WATCH, lambda session: self._watch(session, targets), tuple(targets)
                )
        except (FleetError, Interrupted) as error:
            raise self.go_back(error) from error
        except KeyboardInterrupt as error:
            # Between two phases.
            raise self.go_back(Interrupted("interrupted")) from error

    def confirm(self) -> None:
        """Take back the scripts that would revert the hosts: the point of no return.

        Raises:
            RolledBack, NeedsPerson: a host did not answer, and so every host went back.
        """
        try:
            with _undisturbed(self._events, "the release is being confirmed"):
                self._fleet.each(Phase.CONFIRM, self._confirm, tuple(self._switched))
        except (FleetError, Interrupted) as error:
            raise self.go_back(error) from error
        self._switched = {}

    @property
    def unconfirmed(self) -> bool:
        """Whether a host is switched and nobody confirmed it."""
        return bool(self._switched)

    def go_back(self, error: AideployError) -> AideployError:
        """Take every host back that is switched and not confirmed.

        Args:
            error: why.

        Returns:
            the error that says where the hosts are now.
        """
        switched, self._switched = self._switched, {}
        causes = error.causes or (error,)
        what = "interrupted" if isinstance(error, Interrupted) else _told(causes)
        for name in switched:
            back = self._facts[name].previous or "nothing, as before"
            self.states[name] = HostState(
                host=name, state=f"was switched; goes back by itself to {back}", release=back
            )
        try:
            with _undisturbed(self._events, "the hosts are going back"):
                outcomes = self._fleet.attempt(
                    Phase.REVERT,
                    lambda session: self._revert(session, switched[session.host.name], what),
                    tuple(switched),
                    note=what,
                    stop_at_failure=False,
                )
        except (Interrupted, KeyboardInterrupt):
            return Interrupted(
                "interrupted twice; hosts that had switched go back by themselves",
                next_step="see in a minute how they are: fab status",
                phase=Phase.REVERT,
            )
        if outcomes.errors:
            for name, cause in outcomes.errors.items():
                self._say_stuck(name, cause)
            return NeedsPerson(
                f"the release failed, and {', '.join(outcomes.errors)} could not be brought back",
                next_step="look at these hosts: fab status, fab logs; then fab rollback",
                causes=(*causes, *outcomes.errors.values()),
            )
        if isinstance(error, Interrupted):
            what_now = (
                "every host that had switched is back on its previous release"
                if switched
                else "nothing was switched"
            )
            return Interrupted(f"interrupted; {what_now}", phase=error.phase)
        return RolledBack(
            "the release failed; every host that had switched is back on its previous release",
            next_step="correct it, push, and run fab deploy again",
            causes=causes,
        )

    # -- inside ---------------------------------------------------------------------------------

    def _switch(self, session: Session, targets: Mapping[str, Target]) -> Health:
        name = session.host.name
        target = targets[name]
        back = self._reverting(name, target, "nobody confirmed it")
        arm = due.arm(self._settings, self._facts[name], back)
        self._switched[name] = target
        self.states[name] = HostState(host=name, state="half switched", release=target.release)
        live = self._entry(Verdict.LIVE, target, self._why)
        script = service.switch(
            self._settings, self._hosts[name], self._facts[name], target, Direction.ON, (live,)
        )
        health = service.read_health(session.run(Phase.SWITCH, arm, script)[1])
        self.states[name] = HostState(
            host=name, state=f"serves {target.release}", release=target.release, healthy=True
        )
        return health

    def _watch(self, session: Session, targets: Mapping[str, Target]) -> Health:
        name = session.host.name
        known = self._facts[name]
        # The bake, not the switch before it, has to fit into the time for the confirmation.
        extend = due.extend(known, self._settings.rollout.confirm)
        watch = service.watch(self._settings, self._hosts[name], known, targets[name].revision)
        return service.read_health(session.run(Phase.WATCH, extend, watch)[1])

    def _confirm(self, session: Session) -> None:
        name = session.host.name
        self._perhaps_confirmed.add(name)
        session.run(Phase.CONFIRM, due.confirm(self._facts[name]))

    def _say_stuck(self, name: str, cause: AideployError) -> None:
        """Note the state of a host that could not be brought back."""
        back = self._facts[name].previous
        if isinstance(cause, Locked):
            self.states[name] = HostState(host=name, state=cause.what)
        elif isinstance(cause, HostNotReady):
            state = self._out_of_reach(name, back or "nothing")
            self.states[name] = HostState(host=name, state=state)
        else:
            state = f"back on {back}" if back else "should serve nothing, as before"
            self.states[name] = HostState(host=name, state=state, release=back, healthy=False)

    def _out_of_reach(self, name: str, back: str) -> str:
        if name in self._perhaps_confirmed:
            return f"out of reach; goes back by itself to {back} unless it heard the confirmation"
        latest = self._settings.rollout.confirm.total_seconds()
        return (
            f"out of reach; goes back by itself to {back}: "
            f"within {latest:g} s if it is up, else as soon as it starts"
        )

    def _revert(self, session: Session, target: Target, why: str) -> Health:
        name = session.host.name
        script = self._reverting(name, target, why)
        if session.is_open:
            try:
                result = session.run(Phase.REVERT, script)[0]
            except ConnectionLost:
                result = self._reconnected(session).run(Phase.REVERT, script)[0]
        else:
            result = self._reconnected(session).run(Phase.REVERT, script)[0]
        back = self._facts[name].previous
        self.states[name] = HostState(
            host=name,
            state=f"back on {back}" if back else "nothing is live, as before",
            release=back,
            healthy=True if back else None,
        )
        return service.read_health(result)

    def _reconnected(self, session: Session) -> Session:
        """Open the session again.

        The host may still hold the lock of the session that was lost and be going back by itself;
        a line that was cut may be mended.
        """
        deadline = time.monotonic() + _RECONNECT_SECONDS
        session.close()
        while True:
            try:
                session.open(Lock.HELD, looking.script(self._settings))
                return session
            except (Locked, Unreachable, ConnectionLost):
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def _reverting(self, name: str, target: Target, why: str) -> Script:
        known = self._facts[name]
        previous = service.known_target(known, known.previous)
        entries = [self._entry(Verdict.REVERTED, target, why)]
        if previous.release:
            entries.append(self._entry(Verdict.LIVE, previous, why))
        return service.switch(
            self._settings, self._hosts[name], known, previous, Direction.BACK, tuple(entries)
        )

    def _entry(self, verdict: Verdict, target: Target, why: str) -> Entry:
        return Entry(
            verdict=verdict,
            release=target.release or "",
            at=datetime.now(UTC),
            who=self._who,
            why=why,
            revision=target.revision,
            model=target.model,
        )


def conclude(
    fleet: Fleet, events: Events, work: Callable[[Session], None], hosts: Iterable[str]
) -> None:
    """Do the work of the last phase, after which nothing goes back any more, on these hosts.

    Raises:
        NeedsPerson: a host did not get so far; what it serves does not change any more.
    """
    with _undisturbed(events, "the release is live, the last word is being written"):
        outcomes = fleet.attempt(Phase.FINISH, work, hosts, stop_at_failure=False)
    if outcomes.errors:
        raise NeedsPerson(
            f"the release is live, but {', '.join(outcomes.errors)} could not finish",
            next_step="when that is put right, run the same command again",
            causes=tuple(outcomes.errors.values()),
        )


@contextmanager
def _undisturbed(events: Events, what: str) -> Iterator[None]:
    """Let the first Ctrl-C (or SIGTERM, or SIGHUP) pass; the second one counts.

    Args:
        events: where the user is told.
        what: what is going on that had better come to its end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(*_: object) -> None:
        restore()
        text = f"{what}, which takes a moment; another Ctrl-C stops it half-way"
        events.publish(Notice(text=text, level="warning"))

    for number in _STOP_SIGNALS:
        signal.signal(number, note)
    try:
        yield
    finally:
        restore()


def _told(causes: Iterable[AideployError]) -> str:
    return "; ".join(dict.fromkeys(f"{cause.host}: {cause.what}" for cause in causes))


def untouched(known: HostFacts) -> HostState:
    """Return the state of a host that nothing was done to."""
    state = (
        f"serves {known.current} (untouched)" if known.current else "nothing is live (untouched)"
    )
    return HostState(host=known.host, state=state, release=known.current)
