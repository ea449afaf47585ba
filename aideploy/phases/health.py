"""When a service counts as healthy: the request that `probe.py` puts to it on its host.

Pure. Used by the phases that start or watch a service.
"""

from __future__ import annotations

import json
from datetime import timedelta
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aideploy.settings.health import Health


@cache
def program() -> str:
    """Return the text of probe.py, which the hosts run."""
    return resources.files("aideploy.scripts").joinpath("probe.py").read_text(encoding="utf-8")


def until_healthy(health: Health, bind: str, port: int, revision: str) -> str:
    """Return the request "tell me when it is well", as JSON.

    Args:
        health: what well means.
        bind, port: where the service listens on its host.
        revision: the full commit, filled in for $REVISION.
    """
    return _request(health, bind, port, revision, health.timeout, steady=False)


def of_slot(health: Health, revision: str) -> str:
    """Return the request "tell me when it is well" for a slot, which knows its own address."""
    return _request(health, "", 0, revision, health.timeout, steady=False)


def staying_healthy(
    health: Health, bind: str, port: int, revision: str, length: timedelta, until: str = ""
) -> str:
    """Return the request "does it stay well for so long", as JSON; see `until_healthy`.

    Args:
        length: for how long.
        until: a file on the host whose appearance ends it sooner.
    """
    return _request(health, bind, port, revision, length, steady=True, until=until)


def asked_once(health: Health, bind: str, port: int) -> str:
    """Return the request "are you well now?", as JSON; the host fills in $REVISION itself."""
    return _request(health, bind, port, "$REVISION", timedelta(0), steady=False)


def address(bind: str) -> str:
    """Return where to reach, on its own host, a service that listens on `bind`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}.get(bind, bind)  # noqa: S104


def _request(
    health: Health,
    bind: str,
    port: int,
    revision: str,
    limit: timedelta,
    *,
    steady: bool,
    until: str = "",
) -> str:
    fields = {
        name: value.replace("$REVISION", revision) if isinstance(value, str) else value
        for name, value in health.json_fields.items()
        # Of a release whose commit nobody knows any more it cannot be asked.
        if revision or "$REVISION" not in str(value)
    }
    return json.dumps(
        {
            "host": address(bind),
            "port": port,
            "path": health.path,
            "status": health.status,
            "fields": fields,
            "command": health.command or "",
            "timeout": limit.total_seconds(),
            "interval": health.interval.total_seconds(),
            "steady": steady,
            "until": until,
        }
    )
