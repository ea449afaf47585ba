"""What a release carries so that it can be served: its command and its environment.

`releases/<id>/.aideploy/serve` and `.aideploy/env` are written before a release is finished and
never change, so that going back to an old release brings back its command and its environment
without touching a unit. The phase that unpacks a release calls this; nothing is written here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from aideploy.errors import SettingsError
from aideploy.rendering import render
from aideploy.services.environment import container_environment_file, environment_file
from aideploy.settings import Settings
from aideploy.settings.serve import Serve

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
    image: str = "",
) -> ReleaseFiles:
    """Return what this release needs to be served on a host.

    Args:
        settings: of the environment; there is a [serve] table.
        root: the absolute path of the app's folder on the host.
        release: its id.
        revision: the whole commit.
        model: the sha256 of its model; empty when it comes without one.
        secrets: the values of [serve] secrets.
        image: the id of the image, where a container serves.

    Raises:
        SettingsError: a name or a value that no environment can hold.
    """
    serve = settings.serve
    if serve is None:
        raise SettingsError("there is nothing to serve: hosts.toml has no [serve]")
    place = root / "releases" / release
    told = {"RELEASE": release, "RELEASE_DIR": str(place), "REVISION": revision}
    if model:
        told["MODEL_DIR"] = str(root / "models" / model)
    folder = settings.path.parent
    if serve.contained:
        readable = [place, *([root / "models" / model] if model else [])]
        values = {**_container(settings, serve, root), "image": image, "place": place}
        values["readable"] = [*readable, *values["readable"]]
        return ReleaseFiles(
            serve=render("serve_container.sh.j2", values, folder=folder),
            environment=container_environment_file({**serve.environment, **secrets, **told}),
        )
    assert serve.command is not None, "[serve] command is missing"
    variables = {
        "PATH": f"{place}/.venv/bin:{_SYSTEM_PATH}",
        "VIRTUAL_ENV": f"{place}/.venv",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        **serve.environment,
        **secrets,
        **told,
    }
    return ReleaseFiles(
        serve=render("serve.sh.j2", {"command": serve.command.strip()}, folder=folder),
        environment=environment_file(variables),
    )


def _container(settings: Settings, serve: Serve, root: PurePosixPath) -> dict[str, Any]:
    """Return what every container of the app is started with. All paths are the same inside."""
    shared = root / "shared"
    return {
        "app": settings.app.name,
        "runtime": serve.runtime.value,
        "command": serve.command.strip() if serve.command else None,
        "gpus": serve.gpus,
        "memory_max": serve.memory_max,
        "cpu_quota": serve.cpu_quota,
        "stop_seconds": math.ceil(serve.stop_timeout.total_seconds()),
        "readable": [shared / item.path for item in serve.linked if not item.directory],
        "writable": [shared / item.path for item in serve.linked if item.directory],
    }
