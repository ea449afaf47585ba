"""The install phase as it happens: what the release runs in is found or built on every host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aideploy.delivery.participants import Participants
from aideploy.delivery.underway import Underway
from aideploy.events import Phase
from aideploy.phases import golden, install
from aideploy.phases.install import Installed
from aideploy.remote.session import Session

if TYPE_CHECKING:
    from aideploy.settings import Settings


def environments(
    settings: Settings, participants: Participants, underway: Underway
) -> dict[str, Installed]:
    """Find or build the environment of a release, and check its golden file on the way.

    Args:
        settings: of the environment.
        participants: the hosts.
        underway: the release.

    Returns:
        what each host that trains or serves has; nothing of those where a container is all.
    """
    release, tree = underway.release, underway.commit.tree

    def work(session: Session) -> Installed | None:
        scripts = []
        if settings.golden:
            scripts.append(golden.check(settings, settings.golden, release))
        if not install.is_needed(settings):
            if scripts:
                session.run(Phase.INSTALL, *scripts)
            return None
        scripts.append(install.script(settings, release, tree))
        return install.read(session.run(Phase.INSTALL, *scripts)[-1])

    found = participants.each(Phase.INSTALL, work, participants.deployed)
    return {name: one for name, one in found.items() if one}
