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
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from aideploy.analysis.arms import Arms
from aideploy.errors import Aborted, AideployError, AnalysisFailed, Interrupted, NeedsPerson
from aideploy.events import Events, HostState, Notice, Phase
from aideploy.hooks import HookFailed, HookRefused, Hooks
from aideploy.monitoring.telling import Telling
from aideploy.phases import share
from aideploy.phases.batches import Course
from aideploy.phases.control import Doing, Request, Steering
from aideploy.phases.facts import HostFacts
from aideploy.phases.service import Health, Target
from aideploy.remote.fleet import Fleet, FleetError
from aideploy.remote.session import Session
from aideploy.report.next_command import typed
from aideploy.report.wording import joined
from aideploy.transaction.analysing import Analyses, Undecided, Watch
from aideploy.transaction.failures import Failures
from aideploy.transaction.standing import Standing
from aideploy.transaction.switching import Switching
from aideploy.transaction.undisturbed import undisturbed

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
        self._events = events
        self._course = course
        self._hooks = hooks
        self._analyses = analyses or Analyses(settings, events)
        self._telling = Telling(settings, fleet.sessions, events)
        self._standing = Standing(settings, facts, targets, course, who)
        self._switching = Switching(settings, self._standing, self._analyses, who=who, why=why)
        self._failures = Failures(
            fleet, events, course, self._standing, self._switching, self._telling
        )
        self._steering = Steering(self._standing.told.rollout)
        self._heeding = threading.Lock()

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
        self._fleet.each(Phase.HOLD, self._switching.adopt, hosts, "taken up again")

    def confirm(self) -> None:
        """Take back the scripts that would revert the hosts: the point of no return.

        Raises:
            RolledBack, NeedsPerson: a host did not answer, and so every host went back.
        """
        self._telling.tell()
        try:
            self._before(Phase.CONFIRM)
            with undisturbed(self._events, "the release is being confirmed"):
                self._fleet.each(
                    Phase.CONFIRM, self._switching.confirm, tuple(self._standing.switched)
                )
        except (FleetError, Interrupted, HookFailed) as error:
            raise self.go_back(error) from error
        self._standing.let_go()
        self._telling.settle()
        if self._hooks:
            self._hooks.after_all_the_same(Phase.CONFIRM)

    def shortfall(self) -> NeedsPerson | None:
        """Return what a person has to know of the hosts that failed while the others did not."""
        return self._failures.shortfall()

    @property
    def unconfirmed(self) -> bool:
        """Whether a host is switched and nobody confirmed it."""
        return bool(self._standing.switched)

    @property
    def failed(self) -> Mapping[str, AideployError]:
        """The hosts that failed and went back alone, and why."""
        return self._standing.failed

    @property
    def states(self) -> Mapping[str, HostState]:
        """The state of every host, as it is now."""
        return self._standing.states

    def go_back(self, error: AideployError) -> AideployError:
        """Take every host back that is switched and not confirmed.

        Args:
            error: why.

        Returns:
            the error that says where the hosts are now.
        """
        return self._failures.go_back(error)

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
        sharing = share.sharing(course, self._standing.facts)
        for percent in course.weights if sharing else ():
            if self._steering.promoted_by:
                return
            self._standing.note(doing=Doing.SWITCHING, share=percent)
            outcomes = self._fleet.attempt(
                Phase.SWITCH,
                self._switching.share,
                sharing,
                note=share.in_words(percent),
                batch=course.batch(0),
            )
            self._failures.bear(0, Phase.SWITCH, outcomes.errors)
            self._watch_batch(0)

    def _switch_batch(self, index: int) -> None:
        self._standing.note(batch=index + 1, doing=Doing.SWITCHING, share=0)
        self._telling.tell({*self._standing.switched, *self._course.batches[index]})
        # Where a host may fail and go back alone, the others end what they began.
        outcomes = self._fleet.attempt(
            Phase.SWITCH,
            self._switching.switch,
            self._course.batches[index],
            batch=self._course.batch(index),
            stop_at_failure=not self._failures.can_bear_one(index),
        )
        self._failures.bear(index, Phase.SWITCH, outcomes.errors)
        if index + 1 == len(self._course.batches):
            self._after(Phase.SWITCH)

    def _watch_batch(self, index: int) -> None:
        """Watch every host that has switched; between batches at least once.

        The last batch has no pause behind it, nor has a share of the requests. Who pauses the
        rollout stops it here, before the next batch or before the confirmation.
        """
        self._before(Phase.WATCH)
        course = self._course
        shares = self._standing.told.share > 0
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
            if judging.holds and not self._standing.told.share:
                raise self._failures.hold(index, (error,)) from error
            raise

    def _sides(self) -> Arms:
        """Return what the analysis compares: what has switched, and what has not."""
        standing = self._standing
        if standing.told.share:
            return self._analyses.shared(self._switching.slots)
        stays = standing.facts.keys() - standing.switched.keys() - standing.failed.keys()
        served = [name for name, known in standing.facts.items() if known.current]
        return self._analyses.sides(
            tuple(standing.switched),
            [name for name in served if name in stays],
            [name for name in served if name in standing.switched],
        )

    def _watched(self, index: int) -> str:
        batch = str(self._course.batch(index)) or "the only batch"
        return joined(batch, share.in_words(self._standing.told.share))

    def _look(self, index: int, length: timedelta, judging: Watch) -> bool:
        """Watch every host that has switched for so long, or until somebody asks for something.

        Returns:
            whether all were well; those that were not are back, alone.
        """
        paused_by = self._steering.paused_by
        self._standing.note(doing=Doing.PAUSED if paused_by else Doing.WATCHING, by=paused_by)
        names = tuple(self._standing.switched)

        def work(session: Session) -> Health:
            health, request = self._switching.watch(session, length)
            if request:
                self._heed(request)
            return health

        with judging.may_end(lambda: self._fleet.cancel(names)):
            outcomes = self._fleet.attempt(
                Phase.WATCH,
                work,
                names,
                note=joined(
                    share.in_words(self._standing.told.share),
                    f"paused by {paused_by}" if paused_by else "",
                ),
                batch=self._course.batch(index),
            )
        judging.check()
        self._failures.bear(index, Phase.WATCH, outcomes.errors)
        return not outcomes.errors

    def _heed(self, request: Request) -> None:
        with self._heeding:
            if text := self._steering.heed(request):
                self._events.publish(Notice(text=typed(text, self._settings)))
