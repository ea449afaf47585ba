"""The fleet transaction: every host switches and stays well, or every one that switched goes back.

Used by deploy and by rollback. It decides; the fleet does. Hosts switch batch by batch, and those
that have are watched for as long as others follow. A host that is switched holds a script of ours
that takes it back if the controller dies before it confirms, or the host itself starts again. The
confirmation is the point of no return, once, for all batches: every host has answered it, or all go
back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from aideploy.analysing import Analyses, Undecided, Watch
from aideploy.analysis.arms import Arms
from aideploy.errors import (
    Aborted,
    AideployError,
    AnalysisFailed,
    Held,
    Interrupted,
    NeedsPerson,
    RolledBack,
)
from aideploy.events import Events, HostState, Notice, Phase
from aideploy.hooks import HookFailed, HookRefused, Hooks
from aideploy.monitoring.telling import Telling
from aideploy.phases import control, due, service, share
from aideploy.phases.batches import Course
from aideploy.phases.control import Doing, Request, Steering
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Verdict
from aideploy.phases.service import Direction, Health, Target
from aideploy.remote.fleet import Fleet, FleetError
from aideploy.remote.result import ScriptFailed
from aideploy.remote.script import Script
from aideploy.remote.session import Session
from aideploy.report.wording import host_count, joined
from aideploy.undisturbed import undisturbed
from aideploy.way_back import WayBack, entry

if TYPE_CHECKING:
    from aideploy.settings import Settings

# How long hosts are watched at a time, at most, before they are told that the controller is there.
_LONGEST_LOOK = timedelta(minutes=5)
# Less than this is not worth another round trip.
_LEAST_LOOK = timedelta(milliseconds=500)


class Rollout:
    """One switch of the serve hosts, from what they run to their targets.

    Args:
        settings: of the environment.
        fleet: with open sessions.
        facts: of every host that switches.
        events: where everything is told.
        targets: of every host that switches.
        course: who switches when, how long it is watched, how many failures are borne.
        who: who asked for it.
        why: for the journal.
        hooks: what runs before and after its phases; a rollback has none.
        analyses: what Prometheus is asked while it is watched, if anything.
    """

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        facts: Mapping[str, HostFacts],
        events: Events,
        targets: Mapping[str, Target],
        course: Course,
        *,
        who: str,
        why: str = "",
        hooks: Hooks | None = None,
        analyses: Analyses | None = None,
    ) -> None:
        self._settings = settings
        self._fleet = fleet
        self._facts = facts
        self._events = events
        self._targets = targets
        self._course = course
        self._who = who
        self._why = why
        self._hooks = hooks
        self._analyses = analyses or Analyses(settings, events)
        self._slots: dict[str, str] = {}
        self._hosts = {host.name: host for host in settings.hosts if host.name in facts}
        self._way_back = WayBack(settings, facts, who)
        self._telling = Telling(settings, fleet.sessions, events)
        self._switched: dict[str, Target] = {}
        self._stuck: dict[str, AideployError] = {}
        target = next(iter(targets.values()), Target(None))
        self._state = control.beginning(course, target.release or "", target.revision, who)
        self._steering = Steering(self._state.rollout)
        self._heeding = threading.Lock()
        self.failed: dict[str, AideployError] = {}
        self._perhaps_confirmed: set[str] = set()
        self.states = {name: untouched(known) for name, known in facts.items()}

    def run(self, adopted: Collection[str] = ()) -> None:
        """Switch every host to its target, batch by batch, and watch it; `confirm` has to follow.

        Args:
            adopted: see `adopt`; these come first.

        Raises:
            RolledBack: it failed; every host that switched is back and well.
            NeedsPerson: it failed, and a host could not be brought back.
            Held: it failed, and a person decides; what is well stays as it is.
            Interrupted: as RolledBack, after Ctrl-C.
        """
        try:
            self._before(Phase.SWITCH)
            self.adopt(adopted)
            self._raise_shares()
            for index in range(len(self._course.batches)):
                self._switch_batch(index)
                self._watch_batch(index)
            self._after(Phase.WATCH)
        except HookRefused:
            raise
        except (
            FleetError,
            Interrupted,
            Aborted,
            HookFailed,
            AnalysisFailed,
            Undecided,
        ) as error:
            raise self.go_back(error) from error
        except KeyboardInterrupt as error:
            # Between two phases.
            raise self.go_back(Interrupted("interrupted")) from error

    def adopt(self, hosts: Collection[str]) -> None:
        """Answer for hosts that an earlier run left on their targets, as if we had switched them.

        From here on they go back by themselves, too, to what the facts of this rollout say.

        Raises:
            FleetError, Interrupted: some could not be told so; `go_back` has to follow.
        """

        def work(session: Session) -> None:
            name = session.host.name
            target = self._targets[name]
            self._switched[name] = target
            self.states[name] = HostState(
                host=name, state=f"serves {target.release}", release=target.release
            )
            session.run(Phase.HOLD, self._armed(name))

        self._fleet.each(Phase.HOLD, work, hosts, "taken up again")

    def confirm(self) -> None:
        """Take back the scripts that would revert the hosts: the point of no return.

        Raises:
            RolledBack, NeedsPerson: a host did not answer, and so every host went back.
        """
        self._telling.tell()
        try:
            self._before(Phase.CONFIRM)
            with undisturbed(self._events, "the release is being confirmed"):
                self._fleet.each(Phase.CONFIRM, self._confirm, tuple(self._switched))
        except (FleetError, Interrupted, HookFailed) as error:
            raise self.go_back(error) from error
        self._switched = {}
        self._telling.settle()
        if self._hooks:
            self._hooks.after_all_the_same(Phase.CONFIRM)

    def shortfall(self) -> NeedsPerson | None:
        """Return what a person has to know of the hosts that failed while the others did not."""
        if not self.failed:
            return None
        names = ", ".join(self.failed)
        return NeedsPerson(
            f"the release is live, but not on {names}",
            next_step="look there: fab status, fab logs; fab deploy brings them along",
            causes=(*self.failed.values(), *self._stuck.values()),
        )

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
        self._telling.tell()
        causes = error.causes or (error,)
        what = "interrupted" if isinstance(error, Interrupted) else _told(causes)
        for name in switched:
            back = self._facts[name].previous or "nothing, as before"
            self.states[name] = HostState(
                host=name, state=f"was switched; goes back by itself to {back}", release=back
            )
        try:
            with undisturbed(self._events, "the hosts are going back"):
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
        self._telling.settle()
        for name, cause in outcomes.errors.items():
            self._say_stuck(name, cause)
        if self._stuck:
            begin = error.what if isinstance(error, Aborted) else "the release failed"
            return NeedsPerson(
                f"{begin}, and {', '.join(self._stuck)} could not be brought back",
                next_step="look at these hosts: fab status, fab logs; then fab rollback",
                causes=(*causes, *self._stuck.values()),
            )
        if isinstance(error, Aborted):
            return RolledBack(
                f"{error.what}; every host that had switched is back on its previous release",
                next_step="fab deploy, when it may go on",
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

    def _before(self, phase: Phase) -> None:
        """Run the hook before a phase, once, however many batches go through it."""
        if self._hooks:
            self._hooks.before(phase)

    def _after(self, phase: Phase) -> None:
        """Run the hook after a phase that all batches are through."""
        if self._hooks:
            self._hooks.after(phase)

    def _raise_shares(self) -> None:
        """Let the first batch serve more and more of its requests with the release.

        Whatever fails here takes all back, and nothing is borne or held: to find out is what the
        shares are for.
        """
        course = self._course
        sharing = share.sharing(course, self._facts)
        for percent in course.weights if sharing else ():
            if self._steering.promoted_by:
                return
            self._note(doing=Doing.SWITCHING, share=percent)
            outcomes = self._fleet.attempt(
                Phase.SWITCH,
                lambda session: self._share(session, self._state.share),
                sharing,
                note=share.in_words(percent),
                batch=course.batch(0),
            )
            self._bear(0, Phase.SWITCH, outcomes.errors)
            self._watch_batch(0)

    def _switch_batch(self, index: int) -> None:
        self._note(batch=index + 1, doing=Doing.SWITCHING, share=0)
        self._telling.tell({*self._switched, *self._course.batches[index]})
        # Where a host may fail and go back alone, the others end what they began.
        bears = self._course.holds or len(self.failed) < self._course.tolerated(index)
        outcomes = self._fleet.attempt(
            Phase.SWITCH,
            self._switch,
            self._course.batches[index],
            batch=self._course.batch(index),
            stop_at_failure=not bears,
        )
        self._bear(index, Phase.SWITCH, outcomes.errors)
        if index + 1 == len(self._course.batches):
            self._after(Phase.SWITCH)

    def _watch_batch(self, index: int) -> None:
        """Watch every host that has switched; between batches at least once.

        The last batch has no pause behind it, nor has a share of the requests. Who pauses the
        rollout stops it here, before the next batch or before the confirmation.
        """
        self._before(Phase.WATCH)
        course = self._course
        shares = self._state.share > 0
        last = index + 1 == len(course.batches)
        length = course.bake if last or shares else course.bake + course.pause
        end = time.monotonic() + length.total_seconds()
        looked = last and not shares
        with self._analyses.watch(self._sides(), self._watched(index), length) as judging:
            while True:
                judging.check()
                left = timedelta(seconds=max(end - time.monotonic(), 0))
                if self._steering.promoted_by:
                    left = timedelta(0)
                elif self._steering.paused_by:
                    left = _LONGEST_LOOK
                elif left < _LEAST_LOOK:
                    left = judging.more()
                if looked and left < _LEAST_LOOK:
                    break
                at_most = min(_LONGEST_LOOK, self._settings.rollout.confirm / 2)
                looked = self._look(index, min(left, at_most), judging)
        if not self._steering.promoted_by:
            self._decide(index, judging)

    def _decide(self, index: int, judging: Watch) -> None:
        """Go on with a release that the analysis lets pass; at a share nothing can be held."""
        try:
            judging.decide()
        except Undecided as error:
            if judging.holds and not self._state.share:
                raise self._hold(index, (error,)) from error
            raise

    def _sides(self) -> Arms:
        """Return what the analysis compares: what has switched, and what has not."""
        if self._state.share:
            return self._analyses.shared(self._slots)
        stays = self._facts.keys() - self._switched.keys() - self.failed.keys()
        served = [name for name, known in self._facts.items() if known.current]
        return self._analyses.sides(
            tuple(self._switched),
            [name for name in served if name in stays],
            [name for name in served if name in self._switched],
        )

    def _watched(self, index: int) -> str:
        batch = str(self._course.batch(index)) or "the only batch"
        return joined(batch, share.in_words(self._state.share))

    def _look(self, index: int, length: timedelta, judging: Watch) -> bool:
        """Watch every host that has switched for so long, or until somebody asks for something.

        Returns:
            whether all were well; those that were not are back, alone.
        """
        paused_by = self._steering.paused_by
        self._note(doing=Doing.PAUSED if paused_by else Doing.WATCHING, by=paused_by)
        names = tuple(self._switched)
        with judging.may_end(lambda: self._fleet.cancel(names)):
            outcomes = self._fleet.attempt(
                Phase.WATCH,
                lambda session: self._watch(session, length),
                names,
                note=joined(
                    share.in_words(self._state.share), f"paused by {paused_by}" if paused_by else ""
                ),
                batch=self._course.batch(index),
            )
        judging.check()
        self._bear(index, Phase.WATCH, outcomes.errors)
        return not outcomes.errors

    def _bear(self, index: int, phase: Phase, errors: Mapping[str, AideployError]) -> None:
        """Take back alone those that failed, as long as the course bears it.

        Raises:
            FleetError: it does not, and all have to go back.
            Held: it does not, and a person decides.
            Aborted: that was why.
        """
        failed = {name: error for name, error in errors.items() if not _was_stopped(error)}
        for error in failed.values():
            if isinstance(error, Aborted):
                raise error
        if not errors:
            return
        causes = tuple(failed.values()) or tuple(errors.values())
        tolerated = 0 if self._state.share else self._course.tolerated(index)
        too_many = len(self.failed) + len(failed) > tolerated
        if too_many and (self._state.share or not self._course.holds):
            raise FleetError(phase, causes)
        self.failed |= failed
        self._take_back_alone(failed)
        if not self._switched:
            raise FleetError(phase, causes)
        if too_many:
            raise self._hold(index, causes)

    def _take_back_alone(self, failed: Mapping[str, AideployError]) -> None:
        """Take these hosts back; whatever comes of it, the others stay on the release."""
        what = _told(failed.values())
        outcomes = self._fleet.attempt(
            Phase.REVERT,
            lambda session: self._revert(session, self._switched[session.host.name], what),
            [name for name in failed if name in self._switched],
            note="alone, the others stay",
            stop_at_failure=False,
        )
        for name in failed:
            self._switched.pop(name, None)
        self._telling.tell(tuple(self._switched))
        for name, cause in outcomes.errors.items():
            self._say_stuck(name, cause)

    def _hold(self, index: int, causes: tuple[AideployError, ...]) -> AideployError:
        """Leave every host as it is, without a script that takes it back, for a person to decide.

        Returns:
            the error that says so.
        """
        self._note(doing=Doing.HELD, why=_told(causes))

        def work(session: Session) -> None:
            name = session.host.name
            known = self._facts[name]
            hold = control.hold(known.root, self._state)
            if name not in self._switched:
                session.run(Phase.HOLD, hold)
            else:
                self._perhaps_confirmed.add(name)
                session.run(Phase.HOLD, hold, due.confirm(known))
                self._keep(session, Phase.HOLD)
                self.states[name] = replace(
                    self.states[name], state=f"{self.states[name].state} (held)"
                )

        names = tuple(self._facts)
        with undisturbed(self._events, "the rollout is being held"):
            outcomes = self._fleet.attempt(Phase.HOLD, work, names, stop_at_failure=False)
        for name in outcomes.errors.keys() & self._switched.keys():
            self.states[name] = self._way_back.out_of_reach(name, perhaps_confirmed=True)
        kept = [name for name in self._switched if name not in outcomes.errors]
        self._switched = {}
        return Held(
            f"held in {str(self._course.batch(index)) or 'the only batch'}: "
            f"the new release is on {len(kept)} of {host_count(len(names))}",
            next_step="look: fab rollout.status, fab logs; then go on or back: "
            "fab rollout.promote or fab rollout.abort",
            causes=(*causes, *outcomes.errors.values()),
        )

    def _note(self, **changes: object) -> None:
        """Remember how the rollout stands; the hosts hear it with the next script."""
        self._state = self._state.now(
            before=self._releases_before(), failed=tuple(self.failed), **changes
        )

    def _releases_before(self) -> Mapping[str, str | None]:
        return {name: self._facts[name].previous for name in self._switched}

    def _share(self, session: Session, percent: int) -> Health:
        name = session.host.name
        target = self._targets[name]
        known = self._facts[name]
        self._switched[name] = target
        self.states[name] = HostState(
            host=name,
            state=f"serves {known.current}, {target.release} gets {share.in_words(percent)}",
            release=known.current,
        )
        hear = control.hear(known.root, self._state)
        script = share.give(self._settings, known, target, percent)
        given = session.run(Phase.SWITCH, self._armed(name), hear, script)[2]
        self._slots[name] = given.text("slot")
        return service.read_health(given)

    def _switch(self, session: Session) -> Health:
        name = session.host.name
        target = self._targets[name]
        known = self._facts[name]
        arm = self._armed(name)
        self._switched[name] = target
        self.states[name] = HostState(host=name, state="half switched", release=target.release)
        live = entry(Verdict.LIVE, target, self._who, self._why)
        script = service.switch(
            self._settings, self._hosts[name], known, target, Direction.ON, (live,)
        )
        hear = control.hear(known.root, self._state)
        health = service.read_health(session.run(Phase.SWITCH, arm, hear, script)[2])
        self.states[name] = HostState(
            host=name, state=f"serves {target.release}", release=target.release, healthy=True
        )
        return health

    def _watch(self, session: Session, length: timedelta) -> Health:
        name = session.host.name
        known = self._facts[name]
        # The look, not what was before it, has to fit into the time for the confirmation.
        extend = due.extend(known, self._settings.rollout.confirm)
        script = self._watching(name, length)
        hear = control.hear(known.root, self._state)
        _, _, watched, heard = session.run(Phase.WATCH, extend, hear, script, hear)
        if request := control.heard(heard):
            self._heed(request)
        return service.read_health(watched)

    def _watching(self, name: str, length: timedelta) -> Script:
        settings, known, target = self._settings, self._facts[name], self._targets[name]
        until = control.request_file(known.root)
        if self._state.share:
            return share.watch(settings, known, target, length, until)
        host = self._hosts[name]
        return service.watch(settings, host, known, target.revision, length, until)

    def _heed(self, request: Request) -> None:
        with self._heeding:
            if text := self._steering.heed(request):
                self._events.publish(Notice(text=text))

    def _confirm(self, session: Session) -> None:
        name = session.host.name
        self._perhaps_confirmed.add(name)
        session.run(Phase.CONFIRM, due.confirm(self._facts[name]))
        self._keep(session, Phase.CONFIRM)

    def _armed(self, name: str) -> Script:
        """Return the script that leaves the way back on a host, for when nobody confirms."""
        back = self._way_back.script(name, self._targets[name], "nobody confirmed it")
        return due.arm(self._settings, self._facts[name], back)

    def _revert(self, session: Session, target: Target, why: str) -> Health:
        name = session.host.name
        health = self._way_back.take(session, target, why)
        self.states[name] = self._way_back.taken(name)
        self._keep(session, Phase.REVERT)
        return health

    def _keep(self, session: Session, phase: Phase) -> None:
        """Keep on a host what the analysis found; where that fails it is in the log alone."""
        if kept := self._analyses.kept(self._facts[session.host.name].root):
            with suppress(AideployError):
                session.run(phase, *kept)

    def _say_stuck(self, name: str, cause: AideployError) -> None:
        """Note that a host could not be brought back."""
        self._stuck[name] = cause
        self.states[name] = self._way_back.missed(
            name, cause, perhaps_confirmed=name in self._perhaps_confirmed
        )


def conclude(
    fleet: Fleet, events: Events, work: Callable[[Session], None], hosts: Iterable[str]
) -> None:
    """Do the work of the last phase, after which nothing goes back any more, on these hosts.

    Raises:
        NeedsPerson: a host did not get so far; what it serves does not change any more.
    """
    with undisturbed(events, "the release is live, the last word is being written"):
        outcomes = fleet.attempt(Phase.FINISH, work, hosts, stop_at_failure=False)
    if outcomes.errors:
        raise NeedsPerson(
            f"the release is live, but {', '.join(outcomes.errors)} could not finish",
            next_step="when that is put right, run the same command again",
            causes=tuple(outcomes.errors.values()),
        )


def _was_stopped(error: AideployError) -> bool:
    """Whether the host did not fail: it was stopped because another one did."""
    return isinstance(error, ScriptFailed) and error.code == "cancelled"


def _told(causes: Iterable[AideployError]) -> str:
    said = (f"{cause.host}: {cause.what}" if cause.host else cause.what for cause in causes)
    return "; ".join(dict.fromkeys(said))


def untouched(known: HostFacts) -> HostState:
    """Return the state of a host that nothing was done to."""
    state = (
        f"serves {known.current} (untouched)" if known.current else "nothing is live (untouched)"
    )
    return HostState(host=known.host, state=state, release=known.current)
