"""The test phase as it happens: the project's own tests, on the first host that trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aideploy.delivery.participants import Participants
from aideploy.events import Phase
from aideploy.phases import test
from aideploy.phases.tests_output import RanTests
from aideploy.remote.result import ScriptFailed
from aideploy.remote.session import Session
from aideploy.settings.hosts import Role

if TYPE_CHECKING:
    from aideploy.settings import Settings
    from aideploy.settings.train import ProjectTests


def run(
    settings: Settings, tests: ProjectTests, participants: Participants, release: str
) -> RanTests | None:
    """Run the tests of a release.

    Args:
        settings, tests: of the environment.
        participants: the hosts; where none of them trains, another one takes it on.
        release: its id.

    Returns:
        how they came out; None where they do not say it.

    Raises:
        Refused: one failed, or none were found.
    """
    script = test.script(settings, tests, release)
    name = next(iter(participants.names(Role.TRAIN)), participants.deployed[0])

    def work(session: Session) -> RanTests | None:
        try:
            return test.read(session.run(Phase.TEST, script)[0], name)
        except ScriptFailed as error:
            raise test.refusal(error, name) from error

    return participants.each(Phase.TEST, work, [name])[name]
