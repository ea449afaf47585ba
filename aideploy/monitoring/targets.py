"""The hosts that serve, as targets for Prometheus.

The end of a deploy writes them on the monitor hosts, into a folder that a `file_sd_configs` of
their Prometheus reads. Nothing is decided here but the labels.
"""

from __future__ import annotations

from aideploy.rendering import render
from aideploy.settings import Host, Role, Settings


def targets_file(settings: Settings, host: Host) -> tuple[str, str]:
    """Return path and content of the file on this host; both empty where none is wanted.

    Raises:
        SettingsError: the template cannot be rendered.
    """
    folder = settings.monitoring.file_sd
    if folder is None or Role.MONITOR not in host.roles:
        return "", ""
    name = f"{settings.app.name}-{settings.environment}.json"
    return str(folder / name), targets(settings)


def targets(settings: Settings) -> str:
    """Return the JSON that Prometheus' file-based service discovery reads: an entry per serve host.

    The labels are app, env, host, roles and the host's own, which do not replace those.
    Format: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config

    Raises:
        SettingsError: the template cannot be rendered.
    """
    entries: list[dict[str, object]] = []
    if settings.serve is not None:
        port = settings.serve.port
        entries = [_entry(settings, host, port) for host in settings.with_role(Role.SERVE)]
    return render("prometheus/targets.json.j2", {"targets": entries}, folder=settings.path.parent)


def _entry(settings: Settings, host: Host, port: int) -> dict[str, object]:
    address = f"[{host.address}]" if ":" in host.address else host.address
    return {
        "targets": [f"{address}:{port}"],
        "labels": {
            **host.labels,
            "app": settings.app.name,
            "env": settings.environment,
            "host": host.name,
            "roles": ",".join(sorted(host.roles)),
        },
    }
