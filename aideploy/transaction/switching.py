"""What each host of a rollout is told, from the first share of its requests to its confirmation.

Every method is the work of one host and one round trip; the transaction decides which hosts get it
and when. What a host is at is noted in the standing before it is told.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from aideploy.errors import AideployError
from aideploy.events import Phase
from aideploy.phases import control, due, service, share
from aideploy.phases.control import Request
from aideploy.phases.journal import Verdict
from aideploy.phases.service import Direction, Health
from aideploy.remote.script import Script
from aideploy.remote.session import Session
from aideploy.transaction.analysing import Analyses
from aideploy.transaction.standing import Standing
from aideploy.transaction.way_back import WayBack, entry

if TYPE_CHECKING:
    from aideploy.settings import Settings


class Switching:
    """The hosts' own part in one rollout.

    Args:
        settings: of the environment.
        standing: of the rollout.
        analyses: what was found is kept on each host when it is through.
        who: who asked for it.
        why: for the journal.
    """

    def __init__(
        self, settings: Settings, standing: Standing, analyses: Analyses, *, who: str, why: str
    ) -> None:
        self._settings = settings
        self._standing = standing
        self._facts = standing.facts
        self._targets = standing.targets
        self._analyses = analyses
        self._who = who
        self._why = why
        self._hosts = {host.name: host for host in settings.hosts if host.name in standing.facts}
        self._way_back = WayBack(settings, standing.facts, who)
        self.slots: dict[str, str] = {}

    def adopt(self, session: Session) -> None:
        """Answer for a host that an earlier run left on its target: from here on it goes back by
        itself, too."""
        name = session.host.name
        self._standing.adopted(name)
        session.run(Phase.HOLD, self._armed(name))

    def share(self, session: Session) -> Health:
        """Let a host give a part of its requests, as large as is told, to its target."""
        name = session.host.name
        known, told = self._facts[name], self._standing.told
        self._standing.sharing(name)
        hear = control.hear(known.root, told)
        script = share.give(self._settings, known, self._targets[name], told.share)
        given = session.run(Phase.SWITCH, self._armed(name), hear, script)[2]
        self.slots[name] = given.text("slot")
        return service.read_health(given)

    def switch(self, session: Session) -> Health:
        """Leave the way back on a host, and make its target live there."""
        name = session.host.name
        target = self._targets[name]
        known = self._facts[name]
        arm = self._armed(name)
        self._standing.switching(name)
        live = entry(Verdict.LIVE, target, self._who, self._why)
        script = service.switch(
            self._settings, self._hosts[name], known, target, Direction.ON, (live,)
        )
        hear = control.hear(known.root, self._standing.told)
        health = service.read_health(session.run(Phase.SWITCH, arm, hear, script)[2])
        self._standing.serving(name)
        return health

    def watch(self, session: Session, length: timedelta) -> tuple[Health, Request | None]:
        """Watch a host for so long, or until somebody asks for something.

        Returns:
            what its health was, and what was asked.
        """
        name = session.host.name
        known = self._facts[name]
        # The look, not what was before it, has to fit into the time for the confirmation.
        extend = due.extend(known, self._settings.rollout.confirm)
        script = self._watching(name, length)
        hear = control.hear(known.root, self._standing.told)
        _, _, watched, heard = session.run(Phase.WATCH, extend, hear, script, hear)
        return service.read_health(watched), control.heard(heard)

    def hold(self, session: Session) -> None:
        """Write down on a host that the rollout is held; one that has switched stays there."""
        name = session.host.name
        known = self._facts[name]
        hold = control.hold(known.root, self._standing.told)
        if name not in self._standing.switched:
            session.run(Phase.HOLD, hold)
            return
        self._standing.may_be_confirmed(name)
        session.run(Phase.HOLD, hold, due.confirm(known))
        self._keep(session, Phase.HOLD)
        self._standing.held(name)

    def confirm(self, session: Session) -> None:
        """Take the way back away from a host."""
        name = session.host.name
        self._standing.may_be_confirmed(name)
        session.run(Phase.CONFIRM, due.confirm(self._facts[name]))
        self._keep(session, Phase.CONFIRM)

    def revert(self, session: Session, why: str) -> Health:
        """Take a host back to what it ran before."""
        name = session.host.name
        health = self._way_back.take(session, self._targets[name], why)
        self._standing.back(name)
        self._keep(session, Phase.REVERT)
        return health

    # -- inside ---------------------------------------------------------------------------------

    def _watching(self, name: str, length: timedelta) -> Script:
        settings, known, target = self._settings, self._facts[name], self._targets[name]
        until = control.request_file(known.root)
        if self._standing.told.share:
            return share.watch(settings, known, target, length, until)
        host = self._hosts[name]
        return service.watch(settings, host, known, target.revision, length, until)

    def _armed(self, name: str) -> Script:
        """Return the script that leaves the way back on a host, for when nobody confirms."""
        back = self._way_back.script(name, self._targets[name], "nobody confirmed it")
        return due.arm(self._settings, self._facts[name], back)

    def _keep(self, session: Session, phase: Phase) -> None:
        """Keep on a host what the analysis found; where that fails it is in the log alone."""
        if kept := self._analyses.kept(self._facts[session.host.name].root):
            with suppress(AideployError):
                session.run(phase, *kept)
