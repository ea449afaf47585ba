"""The phase `setup`: make a host ready to be deployed to, once, and again after settings changed.

It makes the folders, the service's user and the configuration files, and tells the service manager.
`fab setup` calls it; a deploy never does. Run again it changes nothing. Decides only; what it
decides is done by scripts/setup.sh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from aideploy.monitoring.targets import metrics_port
from aideploy.remote.result import Result
from aideploy.remote.script import Script
from aideploy.rendering import render
from aideploy.services.files import rendered_files
from aideploy.services.manager import bind, service_user, slot_bind, slots
from aideploy.services.telling_metrics import metric_files
from aideploy.settings import Host, Role, Settings
from aideploy.settings.monitoring import Exporter
from aideploy.settings.serve import Manager, Serve

# sudo reads no file with a dot in its name. With a dash it would be that of an app monitor-APP.
_RIGHTS = "/etc/sudoers.d/aideploy-monitor"


@dataclass(frozen=True)
class SetUp:
    """What setup did to one host.

    Args:
        changed: what was made or replaced, in words; empty when everything was as it should be.
        notices: what a person still has to do or to know.
    """

    changed: tuple[str, ...]
    notices: tuple[str, ...]

    def __str__(self) -> str:
        return f"{len(self.changed)} changes" if self.changed else "nothing to change"


def setup(settings: Settings, host: Host, *, root: PurePosixPath, user: str) -> Script:
    """Return the script that sets this host up.

    Args:
        settings: the settings of the environment.
        host: the host.
        root: the absolute path of the app's folder on the host.
        user: the user on the host that deploys.

    Raises:
        SettingsError: a configuration file cannot be rendered.
    """
    serve = settings.serve if Role.SERVE in host.roles else None
    targets = settings.monitoring.file_sd if Role.MONITOR in host.roles else None
    linked = [str(item.path) + "/" * item.directory for item in serve.linked] if serve else []
    files = [
        argument
        for file in rendered_files(settings, host, root=root, user=user)
        for argument in (str(file.path), f"{file.mode:o}", file.validator, file.content)
    ]
    return Script(
        "setup",
        (
            str(root),
            settings.app.name,
            serve.manager if serve else "none",
            serve.strategy if serve else "none",
            service_user(settings, serve) if serve and serve.manager is Manager.SYSTEMD else "",
            _addresses(settings, serve, host) if serve else "",
            str(targets or ""),
            str(settings.monitoring.textfile or ""),
            " ".join(metric_files(settings, host)),
            str(len(linked)),
            *linked,
            *files,
        ),
        libraries=("files", "packages", "ports", "setup_haproxy", "setup_metrics"),
    )


def _addresses(settings: Settings, serve: Serve, host: Host) -> str:
    """Return what the service listens on, first what users reach."""
    own = [f"{slot_bind(serve, host)}:{port}" for port in slots(serve).values()]
    if port := metrics_port(settings):
        own.append(f"{bind(serve, host)}:{port}")
    return " ".join(dict.fromkeys([f"{bind(serve, host)}:{serve.port}", *own]))


def monitoring(settings: Settings, host: Host, *, user: str) -> Script | None:
    """Return the script that makes the host ready to be watched; None where nobody shall watch.

    Args:
        settings: the settings of the environment.
        host: the host.
        user: the user on the host that deploys.

    Raises:
        SettingsError: a configuration file cannot be rendered.
    """
    table = settings.monitoring
    watches = Role.MONITOR in host.roles and table.prometheus is not None and table.file_sd
    programs = [f"prometheus-{name}" for name in _exporters(settings, host)]
    if watches:
        programs += ["prometheus", *(["prometheus-alertmanager"] if table.alertmanager else [])]
    if not (watches or programs):
        return None
    granted = watches and user != "root"
    values = {"user": user}
    return Script(
        "setup_monitoring",
        (
            "yes" if table.install else "",
            " ".join(programs),
            str(table.prometheus.directory) if watches and table.prometheus else "",
            str(table.file_sd or "") if watches else "",
            str(table.grafana.directory) if watches and table.grafana else "",
            f"{_RIGHTS}_{settings.app.name}" if granted else "",
            render("sudoers_monitor.j2", values, folder=settings.path.parent) if watches else "",
            f"{_RIGHTS}-{settings.app.name}" if granted else "",
        ),
        libraries=("files", "packages", "ports"),
    )


def _exporters(settings: Settings, host: Host) -> list[str]:
    """Return the exporters that are packages of the system and belong on this host."""
    table = settings.monitoring
    places = {Exporter.NODE: True, Exporter.BLACKBOX: Role.MONITOR in host.roles}
    wanted = [kind for kind in table.exporters if table.install and places.get(kind)]
    return [f"{kind}-exporter" for kind in wanted]


def set_up(results: Sequence[Result]) -> SetUp:
    """Return what the scripts did."""
    return SetUp(
        changed=tuple(one for result in results for one in result.all("changed")),
        notices=tuple(one for result in results for one in result.all("notice")),
    )
