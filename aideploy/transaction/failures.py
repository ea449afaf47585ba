"""What the failures of hosts lead to: they are borne, the rollout is held, or every host goes back.

Called by the transaction with whatever failed. How many failures are borne is in the course; who
went back, who stays and who could not be brought back is said in the error that comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aideploy.errors import (
    Aborted,
    AideployError,
    Held,
    Interrupted,
    NeedsPerson,
    RolledBack,
)
from aideploy.events import Events, Phase
from aideploy.monitoring.telling import Telling
from aideploy.phases.batches import Course
from aideploy.phases.control import Doing
from aideploy.remote.fleet import Fleet, FleetError
from aideploy.remote.result import ScriptFailed
from aideploy.report.wording import host_count
from aideploy.transaction.standing import Standing
from aideploy.transaction.switching import Switching
from aideploy.transaction.undisturbed import undisturbed


class Failures:
    """What failed in one rollout, and what was done about it.

    Args:
        fleet: with open sessions.
        events: where everything is told.
        course: how many failures are borne, and what comes then.
        standing: of the rollout.
        switching: takes hosts back.
        telling: lets Prometheus know who has gone back.
    """

    def __init__(
        self,
        fleet: Fleet,
        events: Events,
        course: Course,
        standing: Standing,
        switching: Switching,
        telling: Telling,
    ) -> None:
        self._fleet = fleet
        self._events = events
        self._course = course
        self._standing = standing
        self._switching = switching
        self._telling = telling
        self._stuck: dict[str, AideployError] = {}

    def can_bear_one(self, index: int) -> bool:
        """Whether one more host of the batch with this index may fail without taking all back."""
        return self._course.holds or len(self._standing.failed) < self._course.tolerated(index)

    def bear(self, index: int, phase: Phase, errors: Mapping[str, AideployError]) -> None:
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
        sharing = self._standing.told.share > 0
        tolerated = 0 if sharing else self._course.tolerated(index)
        too_many = len(self._standing.failed) + len(failed) > tolerated
        if too_many and (sharing or not self._course.holds):
            raise FleetError(phase, causes)
        self._standing.failed |= failed
        self._take_back_alone(failed)
        if not self._standing.switched:
            raise FleetError(phase, causes)
        if too_many:
            raise self.hold(index, causes)

    def hold(self, index: int, causes: tuple[AideployError, ...]) -> Held:
        """Leave every host as it is, without a script that takes it back, for a person to decide.

        Returns:
            the error that says so.
        """
        standing = self._standing
        standing.note(doing=Doing.HELD, why=_told(causes))
        names = tuple(standing.facts)
        with undisturbed(self._events, "the rollout is being held"):
            outcomes = self._fleet.attempt(
                Phase.HOLD, self._switching.hold, names, stop_at_failure=False
            )
        for name in outcomes.errors.keys() & standing.switched.keys():
            standing.out_of_reach(name)
        kept = [name for name in standing.let_go() if name not in outcomes.errors]
        return Held(
            f"held in {str(self._course.batch(index)) or 'the only batch'}: "
            f"the new release is on {len(kept)} of {host_count(len(names))}",
            next_step="look: fab rollout.status, fab logs; then go on or back: "
            "fab rollout.promote or fab rollout.abort",
            causes=(*causes, *outcomes.errors.values()),
        )

    def go_back(self, error: AideployError) -> AideployError:
        """Take every host back that is switched and not confirmed.

        Args:
            error: why.

        Returns:
            the error that says where the hosts are now.
        """
        switched = self._standing.let_go()
        self._telling.tell()
        causes = error.causes or (error,)
        what = "interrupted" if isinstance(error, Interrupted) else _told(causes)
        self._standing.going_back(switched)
        try:
            with undisturbed(self._events, "the hosts are going back"):
                self._take_back(switched, what, note=what)
        except (Interrupted, KeyboardInterrupt):
            return Interrupted(
                "interrupted twice; hosts that had switched go back by themselves",
                next_step="see in a minute how they are: fab status",
                phase=Phase.REVERT,
            )
        self._telling.settle()
        return self._came_back(error, causes, any_switched=bool(switched))

    def shortfall(self) -> NeedsPerson | None:
        """Return what a person has to know of the hosts that failed while the others did not."""
        failed = self._standing.failed
        if not failed:
            return None
        return NeedsPerson(
            f"the release is live, but not on {', '.join(failed)}",
            next_step="look there: fab status, fab logs; fab deploy brings them along",
            causes=(*failed.values(), *self._stuck.values()),
        )

    # -- inside ---------------------------------------------------------------------------------

    def _take_back_alone(self, failed: Mapping[str, AideployError]) -> None:
        """Take these hosts back; whatever comes of it, the others stay on the release."""
        standing = self._standing
        switched = [name for name in failed if name in standing.switched]
        self._take_back(switched, _told(failed.values()), note="alone, the others stay")
        for name in failed:
            standing.switched.pop(name, None)
        self._telling.tell(tuple(standing.switched))

    def _take_back(self, names: Iterable[str], why: str, *, note: str) -> None:
        """Take these hosts back, and note those that could not be brought back."""
        outcomes = self._fleet.attempt(
            Phase.REVERT,
            lambda session: self._switching.revert(session, why),
            names,
            note=note,
            stop_at_failure=False,
        )
        for name, cause in outcomes.errors.items():
            self._stuck[name] = cause
            self._standing.stuck(name, cause)

    def _came_back(
        self, error: AideployError, causes: tuple[AideployError, ...], *, any_switched: bool
    ) -> AideployError:
        """Return the error that says how it is after the hosts went back because of this one."""
        if self._stuck:
            begin = error.what if isinstance(error, Aborted) else "the release failed"
            return NeedsPerson(
                f"{begin}, and {', '.join(self._stuck)} could not be brought back",
                next_step="look at these hosts: fab status, fab logs; then fab rollback",
                causes=(*causes, *self._stuck.values()),
            )
        back = "every host that had switched is back on its previous release"
        if isinstance(error, Aborted):
            return RolledBack(f"{error.what}; {back}", next_step="fab deploy, when it may go on")
        if isinstance(error, Interrupted):
            what_now = back if any_switched else "nothing was switched"
            return Interrupted(f"interrupted; {what_now}", phase=error.phase)
        return RolledBack(
            f"the release failed; {back}",
            next_step="correct it, push, and run fab deploy again",
            causes=causes,
        )


def _was_stopped(error: AideployError) -> bool:
    """Whether the host did not fail: it was stopped because another one did."""
    return isinstance(error, ScriptFailed) and error.code == "cancelled"


def _told(causes: Iterable[AideployError]) -> str:
    said = (f"{cause.host}: {cause.what}" if cause.host else cause.what for cause in causes)
    return "; ".join(dict.fromkeys(said))
