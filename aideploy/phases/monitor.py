"""What `monitor.check` and `monitor.push` run on a monitor host, and what is answered. Pure."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

from aideploy.errors import HostNotReady
from aideploy.monitoring.configuration import Kind, MonitorFile, old_files, required
from aideploy.remote.result import Result
from aideploy.remote.script import Argument, Script, Secret
from aideploy.settings import Settings
from aideploy.settings.monitoring import Access

_LIMIT = timedelta(minutes=3)


class Owner(StrEnum):
    """Whose a file is that all apps share."""

    OURS = "ours"
    PACKAGE = "package"
    FOREIGN = "foreign"
    NOBODY = ""


@dataclass(frozen=True)
class Server:
    """What Prometheus or Alertmanager says of itself."""

    answers: bool
    well: bool
    files: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Found:
    """A file as it is on a monitor host.

    Args:
        state: there, missing or unreadable.
        sha: of its content, where it is there.
        content: None where it is not there, or a secret.
        owner: of one that all apps share.
    """

    state: str
    sha: str = ""
    content: str | None = None
    owner: Owner = Owner.NOBODY

    def is_as(self, file: MonitorFile) -> bool:
        """Whether it is as it should be."""
        return self.sha == hashlib.sha256(file.content.encode()).hexdigest()


@dataclass(frozen=True)
class Looked:
    """What is on a monitor host."""

    files: Mapping[PurePosixPath, Found]
    servers: Mapping[str, Server]

    def owner(self, file: MonitorFile) -> Owner:
        """Return whose the file is."""
        return self.files[file.path].owner


def look(settings: Settings, files: Sequence[MonitorFile], secrets: Mapping[str, str]) -> Script:
    """Return the script that says what is there.

    Args:
        settings: of the environment.
        files: as they should be.
        secrets: the values of what [monitoring.prometheus] and [monitoring.alertmanager] name.
    """
    ordered = _ordered(files)
    return Script(
        "monitor_look",
        (
            settings.install.python,
            program(),
            *_urls(settings, files),
            _access(settings, secrets),
            str(sum(file.is_secret for file in files)),
            str(sum(file.kind.is_shared and not file.is_secret for file in files)),
            *(str(file.path) for file in ordered),
        ),
        libraries=("files",),
        limit=_LIMIT,
    )


def looked(files: Sequence[MonitorFile], result: Result) -> Looked:
    """Return what `look` said of these files."""
    found = {}
    for number, file in enumerate(_ordered(files), 1):
        state = result.text(f"state.{number}")
        there = state == "there"
        content = result.data(f"content.{number}").decode("utf-8", "replace")
        found[file.path] = Found(
            state,
            result.text(f"sha.{number}"),
            content if there and not file.is_secret else None,
            Owner(result.text(f"owner.{number}")),
        )
    try:
        said = json.loads(result.text("loaded"))
    except ValueError:
        said = {}
    return Looked(found, {kind: _server(one) for kind, one in said.items()})


def push(settings: Settings, files: Sequence[MonitorFile], secrets: Mapping[str, str]) -> Script:
    """Return the script that puts these files in place and has them read.

    Args:
        settings: of the environment.
        files: those to put there; what is somebody else's is not among them.
        secrets: as for `look`.
    """
    old = old_files(settings)
    arguments: list[Argument] = [str(len(old)), *map(str, old)]
    for file in files:
        content = Secret(file.content) if file.is_secret else file.content
        arguments += [str(file.path), file.kind.value, f"{file.mode:o}", content]
    return Script(
        "monitor_push",
        (
            settings.install.python,
            program(),
            str(required(settings.monitoring).directory),
            str(settings.monitoring.file_sd),
            *_urls(settings, files),
            _access(settings, secrets),
            settings.app.name,
            settings.environment,
            *arguments,
        ),
        libraries=("old_name",),
        limit=_LIMIT,
    )


def needed_access(settings: Settings) -> tuple[str, ...]:
    """Return the names of the secrets that let us ask Prometheus and Alertmanager."""
    tables = (settings.monitoring.prometheus, settings.monitoring.alertmanager)
    return tuple(name for table in tables if table for name in table.secrets)


def answering(host: str, looked: Looked) -> None:
    """Refuse a host on which a server does not answer: nobody could say what it has loaded.

    Raises:
        HostNotReady: one does not.
    """
    for kind, server in looked.servers.items():
        if not server.answers:
            raise HostNotReady(
                f"{kind} does not answer on {host}",
                why=server.why,
                next_step=f"start it there, or correct [monitoring.{kind}] local_url",
                host=host,
            )


def program() -> str:
    """Return the text of monitor_ask.py, which the monitor hosts run."""
    place = resources.files("aideploy.scripts").joinpath("monitor_ask.py")
    return place.read_text(encoding="utf-8")


def _ordered(files: Iterable[MonitorFile]) -> list[MonitorFile]:
    """Return the files as the script wants them: secrets, then what is shared, then the others."""
    return sorted(files, key=lambda file: (not file.is_secret, not file.kind.is_shared))


def _urls(settings: Settings, files: Iterable[MonitorFile]) -> tuple[str, str]:
    alertmanager = settings.monitoring.alertmanager
    is_told = any(file.kind is Kind.ALERTMANAGER for file in files)
    url = alertmanager.local_url if alertmanager and is_told else ""
    return required(settings.monitoring).local_url, url


def _access(settings: Settings, secrets: Mapping[str, str]) -> Secret:
    tables = {
        "prometheus": settings.monitoring.prometheus,
        "alertmanager": settings.monitoring.alertmanager,
    }
    said = {kind: _authorization(table, secrets) for kind, table in tables.items() if table}
    return Secret(json.dumps(said))


def _authorization(access: Access, secrets: Mapping[str, str]) -> str:
    """Return the value of the header: RFC 7617, RFC 6750; empty where nobody asks for one."""
    if access.token:
        return f"Bearer {secrets[access.token].strip()}"
    if access.username:
        password = secrets[access.password] if access.password else ""
        return "Basic " + b64encode(f"{access.username}:{password}".encode()).decode()
    return ""


def _server(said: Mapping[str, Any]) -> Server:
    return Server(
        bool(said.get("answers")),
        bool(said.get("well")),
        tuple(said.get("files", ())),
        str(said.get("why", "")),
    )
