"""Files that another service manager or strategy needed and nobody took away: what ran under them
may still run, and answer on our port.

Pure. `fab status` and `fab check` ask whether they are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product
from pathlib import PurePosixPath

from aideploy.services.files import ManagedFile, managed_files
from aideploy.settings import Host, Settings
from aideploy.settings.serve import Manager, Strategy

_REMOVING = {
    Manager.SYSTEMD: "on that host, as root: systemctl disable --now {unit}; rm {path}; "
    "systemctl daemon-reload",
    Manager.SYSTEMD_USER: "on that host: systemctl --user disable --now {unit}; rm {path}; "
    "systemctl --user daemon-reload",
    Manager.SUPERVISOR: "on that host: rm {path}; supervisorctl update",
}


def unwanted_files(settings: Settings, host: Host) -> Mapping[PurePosixPath, str]:
    """Return the files that should not be on this host, and for each what takes it away."""
    serve = settings.serve
    if serve is None:
        return {}
    wanted = {file.path for file in managed_files(settings, host, user="")}
    unwanted = {}
    for manager, strategy in product(Manager, Strategy):
        other = serve.model_copy(update={"manager": manager, "strategy": strategy})
        elsewhere = replace(settings, serve=other)
        for file in _outside(settings, managed_files(elsewhere, host, user="")):
            if file.path not in wanted:
                unwanted[file.path] = _removing(settings, file, manager)
    return unwanted


def left_over(
    settings: Settings, host: Host, checksums: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """Return the paths of those that are there, each with what takes it away.

    Args:
        settings, host: what is wanted.
        checksums: path -> sha256, "missing" or "unreadable", as `emit_checksums` of files.sh says.
    """
    return tuple(
        (str(path), next_step)
        for path, next_step in unwanted_files(settings, host).items()
        if checksums.get(str(path), "missing") not in ("missing", "unreadable")
    )


def _outside(settings: Settings, files: Iterable[ManagedFile]) -> Iterable[ManagedFile]:
    """Yield those outside the app's own folder, where nothing runs by itself."""
    return (file for file in files if settings.app.deploy_to not in file.path.parents)


def _removing(settings: Settings, file: ManagedFile, manager: Manager) -> str:
    assert settings.serve is not None, "[serve] is missing"
    if manager is settings.serve.manager and file.path.suffix in (".socket", ".service"):
        # Of another strategy under the same manager.
        return "fab setup"
    unit = file.path.name.replace("@.", "@live.")
    if file.path.parent.name == "sudoers.d":
        return f"on that host, as root: rm {file.path}"
    return _REMOVING[manager].format(unit=unit, path=file.path)
