"""The hosts of a deploy: who takes part as what, opened, looked at, given the work of phases.

Used by the story and by the phases up to the switch: whatever fails on a host here leaves all hosts
as they were, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

from aideploy.delivery.endings import judged
from aideploy.errors import HostNotReady, Interrupted, UsageError
from aideploy.events import HostState, Phase
from aideploy.phases import facts as looking
from aideploy.phases import gpu, service
from aideploy.phases.facts import HostFacts
from aideploy.remote.fleet import Fleet, FleetError
from aideploy.remote.session import Lock, Session
from aideploy.settings.hosts import Role
from aideploy.transaction.standing import untouched

if TYPE_CHECKING:
    from aideploy.settings import Settings

T = TypeVar("T")


class Participants:
    """The hosts of one deploy.

    Args:
        settings: of the environment; only its hosts take part.
        fleet: not yet open.
    """

    def __init__(self, settings: Settings, fleet: Fleet) -> None:
        self._settings = settings
        self._fleet = fleet
        self._hosts = {host.name: host for host in settings.hosts}
        self.facts: dict[str, HostFacts] = {}

    def names(self, *roles: Role) -> tuple[str, ...]:
        """Return the names of the hosts with one of these roles, in the order of hosts.toml."""
        wanted = set(roles)
        return tuple(name for name, host in self._hosts.items() if wanted & host.roles)

    @property
    def deployed(self) -> tuple[str, ...]:
        """The names of the hosts that train or serve: a release comes to all of them."""
        return self.names(Role.TRAIN, Role.SERVE)

    @property
    def serving(self) -> dict[str, HostFacts]:
        """The facts of the hosts that serve."""
        return {name: self.facts[name] for name in self.names(Role.SERVE)}

    @property
    def sessions(self) -> Mapping[str, Session]:
        """The sessions by host name."""
        return self._fleet.sessions

    @property
    def states(self) -> dict[str, HostState]:
        """The state of every host as long as nothing was switched."""
        return {
            name: untouched(self.facts[name])
            if name in self.facts
            else HostState(host=name, state="as it was (nothing was begun)")
            for name in self._hosts
        }

    def require_roles(self) -> None:
        """See to it that there is a host for every role; a selection of hosts may lack one.

        Raises:
            UsageError: it does.
        """
        needed = {Role.TRAIN: self._settings.train, Role.SERVE: self._settings.serve}
        for role, table in needed.items():
            if table is not None and not self.names(role):
                raise UsageError(
                    f"none of the chosen hosts has the role {role}",
                    why=f"chosen: {', '.join(self._hosts)}",
                    next_step=f"add a host with the role {role} to --only, or leave --only out",
                )

    def open(self, *, wait_lock: bool) -> None:
        """Connect to every host, take the locks, look around.

        Raises:
            AideployError: a host is unreachable, locked or not ready.
        """
        try:
            results = self._fleet.open(
                Lock.HELD, looking.script(self._settings), wait_lock=wait_lock
            )
        except FleetError as error:
            raise judged(error) from error
        self.facts = {name: looking.read(name, result) for name, result in results.items()}
        refusals = [
            refusal
            for name, known in self.facts.items()
            if (refusal := looking.refusal(known, self._hosts[name]))
        ]
        if refusals:
            raise judged(FleetError(Phase.OPEN, tuple(refusals)))
        self._require_room()

    def require_setup(self) -> None:
        """See to it, before a switch that no stage of ours came before, that every serve host was
        set up for what the settings say.

        Raises:
            AideployError: one was not; nothing was switched.
        """

        def work(session: Session) -> None:
            session.run(Phase.OPEN, service.require_setup(self._settings, session.host))

        self.each(Phase.OPEN, work, self.names(Role.SERVE))

    def each(
        self,
        phase: Phase,
        work: Callable[[Session], T],
        hosts: Iterable[str],
        note: str = "",
    ) -> Mapping[str, T]:
        """Do the work of a phase on these hosts; the first failure ends it on the others.

        Raises:
            AideployError: it failed somewhere; nothing was switched.
            Interrupted: Ctrl-C.
        """
        try:
            return self._fleet.each(phase, work, hosts, note)
        except FleetError as error:
            raise judged(error) from error
        except Interrupted as error:
            raise Interrupted("interrupted; nothing was switched", phase=error.phase) from error

    def _require_room(self) -> None:
        """Two copies of the model fit on the GPUs where two have to run at once."""

        def work(session: Session) -> None:
            script = gpu.script(self._settings, self.facts[session.host.name])
            for what, next_step in gpu.obstacles(session.run(Phase.OPEN, script)[0]):
                raise HostNotReady(
                    what, next_step=next_step, host=session.host.name, phase=Phase.OPEN
                )

        tight = [name for name, host in self._hosts.items() if gpu.needs_room(self._settings, host)]
        if tight:
            self.each(Phase.OPEN, work, tight)
