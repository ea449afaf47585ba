"""Who keeps a service running on a host, and under which names.

Scripts that touch a service load the functions of its manager in front of themselves: the same
functions for every manager (`service_start SLOT`, …; scripts/manager_*.sh). Nothing here runs.
"""

from __future__ import annotations

from enum import StrEnum

from aideploy.settings import Settings
from aideploy.settings.serve import Manager, Serve


class Slot(StrEnum):
    """A place from which a release is served: where users are, or where it is proven before."""

    LIVE = "live"
    STAGED = "staged"


_LIBRARIES = {
    Manager.SYSTEMD: ("slots", "manager_systemd", "units"),
    Manager.SYSTEMD_USER: ("slots", "manager_systemd_user", "units"),
    Manager.SUPERVISOR: ("slots", "manager_supervisor"),
}


def libraries(manager: Manager) -> tuple[str, ...]:
    """Return the libraries, for `Script`, that define `service_start` and its companions.

    A script sets `app` and `root` before it calls one of them.
    """
    return _LIBRARIES[manager]


def service_user(settings: Settings, serve: Serve) -> str:
    """Return the Linux user that the service runs as, under systemd."""
    return serve.user or settings.app.name
