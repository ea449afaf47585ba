"""How a host comes back to what it ran before a switch, over a new connection if need be.

Used by the transaction. The same script lies on the host itself, for when nobody is left to send
it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aideploy.errors import ConnectionLost, Locked, Unreachable
from aideploy.events import Phase
from aideploy.phases import facts as looking
from aideploy.phases import service
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Entry, Verdict
from aideploy.phases.service import Direction, Health, Target
from aideploy.remote.script import Script
from aideploy.remote.session import Lock, Session

if TYPE_CHECKING:
    from aideploy.settings import Settings

_RECONNECT_SECONDS = 60.0


class WayBack:
    """The way back of every host that switches.

    Args:
        settings: of the environment.
        facts: of these hosts, from before the switch.
        who: who asked for the switch, for the journal.
    """

    def __init__(self, settings: Settings, facts: Mapping[str, HostFacts], who: str) -> None:
        self._settings = settings
        self._facts = facts
        self._who = who
        self._hosts = {host.name: host for host in settings.hosts if host.name in facts}

    def script(self, name: str, target: Target, why: str) -> Script:
        """Return the script that takes a host back from this target."""
        known = self._facts[name]
        previous = service.known_target(known, known.previous)
        entries = [entry(Verdict.REVERTED, target, self._who, why)]
        if previous.release:
            entries.append(entry(Verdict.LIVE, previous, self._who, why))
        return service.switch(
            self._settings, self._hosts[name], known, previous, Direction.BACK, tuple(entries)
        )

    def take(self, session: Session, target: Target, why: str) -> Health:
        """Take a host back from this target, over a new connection if the old one is lost.

        Raises:
            ScriptFailed: it did not become well.
            HostNotReady: it is out of reach.
            Locked: somebody else has it by now.
        """
        script = self.script(session.host.name, target, why)
        if session.is_open:
            try:
                result = session.run(Phase.REVERT, script)[0]
            except ConnectionLost:
                result = self._reconnected(session).run(Phase.REVERT, script)[0]
        else:
            result = self._reconnected(session).run(Phase.REVERT, script)[0]
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


def entry(verdict: Verdict, target: Target, who: str, why: str) -> Entry:
    """Return what the journal says of a target at this moment."""
    return Entry(
        verdict=verdict,
        release=target.release or "",
        at=datetime.now(UTC),
        who=who,
        why=why,
        revision=target.revision,
        model=target.model,
    )
