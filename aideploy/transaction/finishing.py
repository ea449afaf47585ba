"""The finish phase as it happens: the last word is written, room is made, and nothing goes back.

Called behind the point of no return, and by whoever makes room without a rollout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from aideploy.errors import NeedsPerson
from aideploy.events import Events, Phase
from aideploy.jobs import scripts as jobs
from aideploy.phases import image, service
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Entry
from aideploy.remote.fleet import Fleet
from aideploy.remote.script import Script
from aideploy.remote.session import Session
from aideploy.transaction.undisturbed import undisturbed

if TYPE_CHECKING:
    from aideploy.settings import Settings


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


def scripts(
    settings: Settings,
    facts: HostFacts,
    keep: Iterable[str],
    entries: tuple[Entry, ...] = (),
    stand_by: timedelta | None = None,
) -> tuple[Script, ...]:
    """Return the scripts that end a deploy on a host, and leave nothing that no release needs.

    Args:
        settings, facts: of the host.
        keep: the releases that stay.
        entries: what goes to the journal.
        stand_by: how long the old release stands by from now on; None where none does.
    """
    return (
        service.finish(settings, facts, entries, keep, stand_by=stand_by),
        jobs.prune(settings),
        *image.prune(settings),
    )
