"""The steps before a switch with `[rollout] weights`: the new release gets a part of the requests.

Pure: which hosts take these steps, which scripts run there. Only for the strategy blue_green, which
the settings make sure of. `current` stays on the old release until the switch, so that going back
from here is the same as going back from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from aideploy.phases import health, service
from aideploy.phases.facts import HostFacts
from aideploy.phases.service import Target
from aideploy.remote.script import Script

if TYPE_CHECKING:
    from aideploy.phases.batches import Course
    from aideploy.settings import Settings


def sharing(course: Course, facts: Mapping[str, HostFacts]) -> tuple[str, ...]:
    """Return the hosts that take these steps: of the first batch, where something is live to share
    the requests with."""
    first = course.batches[0] if course.weights and course.batches else ()
    return tuple(name for name in first if name in facts and facts[name].current)


def in_words(percent: int) -> str:
    """Return what a release gets, for a line; nothing for none."""
    return f"{percent}% of the requests" if percent else ""


def give(settings: Settings, facts: HostFacts, target: Target, percent: int) -> Script:
    """Return the script that gives a staged release a part of the requests, and asks it.

    Args:
        settings, facts: of the host.
        target: the release.
        percent: how many of 100 requests, 1 to 99.
    """
    return Script(
        "share",
        (
            str(facts.root),
            settings.app.name,
            target.release or "",
            str(percent),
            settings.install.python,
            health.program(),
            health.of_slot(settings.health, target.revision),
            *service.stopping(settings, facts),
        ),
        libraries=("due", *service.serving_libraries(settings)),
    )


def watch(
    settings: Settings, facts: HostFacts, target: Target, length: timedelta, until: str
) -> Script:
    """Return the script that watches a release with a part of the requests for so long.

    Args:
        settings, facts, target: as for `give`.
        length: how long.
        until: a file on the host whose appearance ends it sooner.
    """
    return Script(
        "watch_share",
        (
            str(facts.root),
            settings.app.name,
            target.release or "",
            settings.install.python,
            health.program(),
            # Users' own address would ask the old release most of the time.
            health.staying_healthy(settings.health, "", 0, target.revision, length, until),
        ),
        libraries=service.serving_libraries(settings),
    )
