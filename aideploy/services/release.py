"""What a release carries so that it can be served: its command and its environment.

`releases/<id>/.aideploy/serve` and `.aideploy/env` are written before a release is finished and
never change, so that going back to an old release brings back its command and its environment
without touching a unit. The phase that unpacks a release calls this; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from aideploy.errors import SettingsError
from aideploy.rendering import render
from aideploy.services.environment import environment_file
from aideploy.settings import Settings

# What a login on a plain Linux server has.
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class ReleaseFiles:
    """The two files below `.aideploy/` of a release.

    Args:
        serve: the script that starts it; mode 0755.
        environment: the variables of the service with its secrets; mode 0640, so that only the
            deploy user and the service's own user read it. Never to be shown.
    """

    serve: str
    environment: str = field(repr=False)


def release_files(
    settings: Settings,
    *,
    root: PurePosixPath,
    release: str,
    revision: str,
    model: str,
    secrets: Mapping[str, str],
) -> ReleaseFiles:
    """Return what this release needs to be served on a host.

    Args:
        settings: of the environment; there is a [serve] table.
        root: the absolute path of the app's folder on the host.
        release: its id.
        revision: the whole commit.
        model: the sha256 of its model; empty when it comes without one.
        secrets: the values of [serve] secrets.

    Raises:
        SettingsError: a name or a value that no environment can hold.
    """
    serve = settings.serve
    if serve is None:
        raise SettingsError("there is nothing to serve: hosts.toml has no [serve]")
    place = root / "releases" / release
    variables = {
        "PATH": f"{place}/.venv/bin:{_SYSTEM_PATH}",
        "VIRTUAL_ENV": f"{place}/.venv",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        **serve.environment,
        **secrets,
        "RELEASE": release,
        "RELEASE_DIR": str(place),
        "REVISION": revision,
    }
    if model:
        variables["MODEL_DIR"] = str(root / "models" / model)
    values = {"command": serve.command.strip()}
    return ReleaseFiles(
        serve=render("serve.sh.j2", values, folder=settings.path.parent),
        environment=environment_file(variables),
    )
