"""What a host does by itself, whoever has died: it takes back a switch that nobody confirms.

Pure: which script leaves, extends and takes away that job. `fab setup` puts there what runs it; the
protocol is in scripts/due.sh.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from aideploy.phases.facts import HostFacts
from aideploy.remote.script import Script
from aideploy.services.manager import libraries

if TYPE_CHECKING:
    from aideploy.settings import Settings


def arm(settings: Settings, facts: HostFacts, back: Script) -> Script:
    """Return the script that leaves the way back on the host, for `[rollout] confirm`.

    Args:
        settings: of the environment.
        facts: of the host.
        back: the script that goes back.
    """
    # Hosts that serve without a [serve] do not get past the settings' own checks.
    assert settings.serve is not None, "[serve] is missing"
    return Script(
        "arm",
        (
            str(facts.root),
            settings.app.name,
            _seconds(settings.rollout.confirm),
            f"goes back to {facts.previous or 'nothing'} unless what is live is confirmed",
            back.text(),
        ),
        libraries=("due", *libraries(settings.serve)),
    )


def extend(facts: HostFacts, confirm: timedelta) -> Script:
    """Return the script that gives the deploy so long, from now on, to confirm the switch.

    It fails where there is nothing to extend: the host went back.
    """
    return Script("extend", (str(facts.root), _seconds(confirm)), libraries=("due",))


def confirm(facts: HostFacts) -> Script:
    """Return the script after which the host does not go back by itself any more."""
    return Script("confirm", (str(facts.root),), libraries=("due",))


def _seconds(length: timedelta) -> str:
    return str(math.ceil(length.total_seconds()))
