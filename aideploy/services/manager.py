"""Who keeps a service running on a host, and under which names.

Scripts that touch a service load the functions of its manager in front of themselves: the same
functions for every manager (`service_start SLOT`, …; scripts/manager_*.sh), and behind them those
of its strategy, the same for every strategy (`prove_beside RELEASE …`, `go_live RELEASE …`, …;
scripts/in_place.sh and scripts/blue_green.sh). Nothing here runs.
"""

from __future__ import annotations

from enum import StrEnum

from aideploy.settings import Host, Settings
from aideploy.settings.serve import Manager, Serve, Strategy


class Place(StrEnum):
    """Where a release is: where users are, or where it is proven before."""

    LIVE = "live"
    STAGED = "staged"


class Slot(StrEnum):
    """An instance of the service, with a port of its own: what a release is served from."""

    LIVE = "live"
    STAGED = "staged"
    BLUE = "blue"
    GREEN = "green"


_OWN_HOST = "127.0.0.1"
_LIBRARIES = {
    Manager.SYSTEMD: ("slots", "manager_systemd", "units"),
    Manager.SYSTEMD_USER: ("slots", "manager_systemd_user", "units"),
    Manager.SUPERVISOR: ("slots", "manager_supervisor"),
}


def libraries(serve: Serve) -> tuple[str, ...]:
    """Return the libraries, for `Script`, that define `service_start` and its companions, and
    `go_live` and its companions.

    A script sets `app`, `root` and `python` before it calls one of them.
    """
    strategy = "blue_green" if serve.strategy is Strategy.BLUE_GREEN else "in_place"
    return (*_LIBRARIES[serve.manager], strategy)


def slots(serve: Serve) -> dict[Slot, int]:
    """Return the slots of the service and their ports."""
    if serve.strategy is Strategy.BLUE_GREEN:
        return dict(zip((Slot.BLUE, Slot.GREEN), serve.slot_ports, strict=True))
    return {Slot.LIVE: serve.port, Slot.STAGED: serve.slot_port}


def slot_bind(serve: Serve, host: Host) -> str:
    """Return the address that the slots listen on: users reach those behind HAProxy through it."""
    return _OWN_HOST if serve.strategy is Strategy.BLUE_GREEN else bind(serve, host)


def bind(serve: Serve, host: Host) -> str:
    """Return the address that users reach, on this host."""
    return host.bind or serve.bind


def service_user(settings: Settings, serve: Serve) -> str:
    """Return the Linux user that the service runs as, under systemd."""
    return serve.user or settings.app.name
