"""The phase `setup`: make a host ready to be deployed to, once, and again after settings changed.

It makes the folders, the service's user and the configuration files, and tells the service manager.
`fab setup` calls it; a deploy never does. Run again it changes nothing. Decides only; what it
decides is done by scripts/setup.sh.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from aideploy.remote.result import Result
from aideploy.remote.script import Script
from aideploy.services.files import rendered_files
from aideploy.services.manager import bind, service_user, slot_bind, slots
from aideploy.services.telling_metrics import metric_files
from aideploy.settings import Host, Role, Settings
from aideploy.settings.serve import Manager, Serve


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
            _addresses(serve, host) if serve else "",
            str(targets or ""),
            str(settings.monitoring.textfile or ""),
            " ".join(metric_files(settings, host)),
            str(len(linked)),
            *linked,
            *files,
        ),
        libraries=("files", "ports", "setup_haproxy", "setup_metrics"),
    )


def _addresses(serve: Serve, host: Host) -> str:
    """Return what the service listens on, first what users reach."""
    own = [f"{slot_bind(serve, host)}:{port}" for port in slots(serve).values()]
    return " ".join(dict.fromkeys([f"{bind(serve, host)}:{serve.port}", *own]))


def set_up(result: Result) -> SetUp:
    """Return what the script did."""
    return SetUp(changed=result.all("changed"), notices=result.all("notice"))
