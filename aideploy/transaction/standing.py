"""Where the hosts of a rollout stand: which have switched, which failed, what is said of each.

Kept by the transaction while its hosts work, and read by all of its parts. It decides nothing and
tells no host anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from aideploy.errors import AideployError, HostNotReady, Locked
from aideploy.events import HostState
from aideploy.phases import control, share
from aideploy.phases.batches import Course
from aideploy.phases.facts import HostFacts
from aideploy.phases.service import Target

if TYPE_CHECKING:
    from aideploy.settings import Settings


class Standing:
    """The hosts of one rollout.

    Args:
        settings: of the environment.
        facts: of every host that switches, from before the switch.
        targets: of the same hosts.
        course: who switches when.
        who: who asked for it.
    """

    def __init__(
        self,
        settings: Settings,
        facts: Mapping[str, HostFacts],
        targets: Mapping[str, Target],
        course: Course,
        who: str,
    ) -> None:
        self.facts = facts
        self.targets = targets
        self.states = {name: untouched(known) for name, known in facts.items()}
        self.switched: dict[str, Target] = {}
        self.failed: dict[str, AideployError] = {}
        target = next(iter(targets.values()), Target(None))
        self.told = control.beginning(course, target.release or "", target.revision, who)
        self._confirm_seconds = settings.rollout.confirm.total_seconds()
        self._perhaps_confirmed: set[str] = set()

    def note(self, **changes: object) -> None:
        """Remember how the rollout stands; the hosts hear it with the next script."""
        before = {name: self.facts[name].previous for name in self.switched}
        self.told = self.told.now(before=before, failed=tuple(self.failed), **changes)

    def let_go(self) -> Mapping[str, Target]:
        """Return the hosts that have switched; from now on none is ours to take back."""
        switched, self.switched = self.switched, {}
        return switched

    def may_be_confirmed(self, name: str) -> None:
        """Remember that a host is being told not to go back by itself any more."""
        self._perhaps_confirmed.add(name)

    # -- what is said of a host -----------------------------------------------------------------

    def adopted(self, name: str) -> None:
        """An earlier run left it on its target."""
        target = self.switched[name] = self.targets[name]
        self._say(name, f"serves {target.release}", target.release)

    def sharing(self, name: str) -> None:
        """It begins to give its target a part of the requests."""
        target = self.switched[name] = self.targets[name]
        current = self.facts[name].current
        gets = f"{target.release} gets {share.in_words(self.told.share)}"
        self._say(name, f"serves {current}, {gets}", current)

    def switching(self, name: str) -> None:
        """It begins to switch."""
        target = self.switched[name] = self.targets[name]
        self._say(name, "half switched", target.release)

    def serving(self, name: str) -> None:
        """It has switched and is well."""
        target = self.targets[name]
        self._say(name, f"serves {target.release}", target.release, healthy=True)

    def held(self, name: str) -> None:
        """It stays on its target until a person decides."""
        self.states[name] = replace(self.states[name], state=f"{self.states[name].state} (held)")

    def going_back(self, names: Iterable[str]) -> None:
        """They are being taken back, or do it by themselves."""
        for name in names:
            back = self.facts[name].previous or "nothing, as before"
            self._say(name, f"was switched; goes back by itself to {back}", back)

    def back(self, name: str) -> None:
        """It is back."""
        back = self.facts[name].previous
        state = f"back on {back}" if back else "nothing is live, as before"
        self._say(name, state, back, healthy=True if back else None)

    def stuck(self, name: str, cause: AideployError) -> None:
        """It could not be brought back, because of this error."""
        back = self.facts[name].previous
        if isinstance(cause, Locked):
            self._say(name, cause.what)
        elif isinstance(cause, HostNotReady):
            self.out_of_reach(name)
        else:
            state = f"back on {back}" if back else "should serve nothing, as before"
            self._say(name, state, back, healthy=False)

    def out_of_reach(self, name: str) -> None:
        """It has switched, and nobody reaches it; it may know that it is confirmed."""
        back = self.facts[name].previous or "nothing"
        if name in self._perhaps_confirmed:
            when = " unless it heard the confirmation"
        else:
            when = f": within {self._confirm_seconds:g} s if it is up, else as soon as it starts"
        self._say(name, f"out of reach; goes back by itself to {back}{when}")

    def _say(
        self, name: str, state: str, release: str | None = None, *, healthy: bool | None = None
    ) -> None:
        self.states[name] = HostState(host=name, state=state, release=release, healthy=healthy)


def untouched(known: HostFacts) -> HostState:
    """Return the state of a host that nothing was done to."""
    state = (
        f"serves {known.current} (untouched)" if known.current else "nothing is live (untouched)"
    )
    return HostState(host=known.host, state=state, release=known.current)
