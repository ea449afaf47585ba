"""What a host tells Prometheus' node_exporter of an app: which files it writes, and with what.

Pure. `files` renders the programs with it, `setup` makes the links: node_exporter's folder is
root's, and holds links to files in the app's own folder, so that nobody needs rights there.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

from aideploy.monitoring.naming import name_of
from aideploy.phases.programs import loaded
from aideploy.settings import Host, Role, Settings


def is_told(settings: Settings, host: Host) -> bool:
    """Whether this host writes metrics of its releases and trainings."""
    tells = bool(host.roles & {Role.SERVE, Role.TRAIN})
    return settings.monitoring.textfile is not None and tells


def looks_for_drift(settings: Settings, host: Host) -> bool:
    """Whether this host looks for drift."""
    return settings.drift is not None and Role.SERVE in host.roles and is_told(settings, host)


def metric_files(settings: Settings, host: Host) -> tuple[str, ...]:
    """Return the files that this host writes, below the app's folder. Their names are unique in a
    folder that many apps share."""
    name = f"aideploy-{name_of(settings)}"
    told = (f"metrics/{name}.prom",) if is_told(settings, host) else ()
    return (*told, f"drift/{name}.drift.prom") if looks_for_drift(settings, host) else told


def values(settings: Settings, host: Host, root: PurePosixPath) -> dict[str, Any]:
    """Return what the templates of these programs may use."""
    files = metric_files(settings, host)
    words = {
        "python": settings.install.python,
        "metrics_program": loaded("exposition", "metrics"),
        "metrics_words": [str(root), settings.app.name, settings.environment, f"{root}/{files[0]}"]
        if files
        else [],
        "drift_program": loaded("exposition", "drift_scores", "drift"),
    }
    drift = settings.drift
    if drift is None or not looks_for_drift(settings, host):
        return words
    request = {
        "root": str(root),
        "app": settings.app.name,
        "environment": settings.environment,
        "file": f"{root}/{files[1]}",
        "reference": str(drift.reference),
        "log": str(drift.log) if drift.log else "",
        "command": drift.command or "",
        "timeout": drift.timeout.total_seconds(),
        "window": drift.window.total_seconds(),
        "methods": [method.value for method in dict.fromkeys(drift.methods)],
        "min_rows": drift.min_rows,
    }
    return {
        **words,
        "drift_request": json.dumps(request),
        "drift_command": drift.command is not None,
        "drift_seconds": max(1, round(drift.schedule.total_seconds())),
        "drift_limit": max(60, round(drift.timeout.total_seconds()) + 60),
    }
