"""The configuration files that a host needs: which, where, and with which content.

`setup` installs them, `plan` shows how they differ from what is there, `open` notices when they do.
Where they lie follows from the settings alone; their content also from what a host says about
itself. Everything here is pure.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

from aideploy.monitoring.targets import HAPROXY_PATH, metrics_port
from aideploy.remote.result import Result
from aideploy.remote.script import source
from aideploy.rendering import render
from aideploy.services import telling_metrics
from aideploy.services.manager import Slot, bind, service_user, slot_bind, slots
from aideploy.settings import Host, Role, Settings
from aideploy.settings.serve import Manager, Serve, Strategy

_UNITS = {
    Manager.SYSTEMD: PurePosixPath("/etc/systemd/system"),
    Manager.SYSTEMD_USER: PurePosixPath("~/.config/systemd/user"),
}
_FIRST_PORT_FOR_ALL = 1024


class Validator(StrEnum):
    """The program on the host that has to accept a file before it replaces the old one."""

    UNIT = "unit"
    SUDOERS = "sudoers"
    HAPROXY = "haproxy"
    NONE = "none"


@dataclass(frozen=True)
class ManagedFile:
    """A configuration file that is ours on a host.

    Args:
        path: where it lies; `~/` is the home of the deploy user.
        mode: its permissions.
        template: what it is rendered from, below `templates/`.
        validator: the program that has to accept it.
        slot: the slot that it belongs to, if it is one's.
    """

    path: PurePosixPath
    mode: int
    template: str
    validator: Validator = Validator.NONE
    slot: Slot | None = None


@dataclass(frozen=True)
class RenderedFile(ManagedFile):
    """A configuration file as it should be; `content` is its text."""

    content: str = ""


@dataclass(frozen=True)
class InstalledFile:
    """A configuration file as it is on a host; `content` is None where we may not read it."""

    path: PurePosixPath
    content: str | None


def managed_files(settings: Settings, host: Host, *, user: str) -> tuple[ManagedFile, ...]:
    """Return which configuration files this host needs, before anything is known of it.

    Args:
        settings: the settings of the environment.
        host: the host.
        user: the user on the host that deploys; root needs no sudo rights.
    """
    serve = settings.serve
    serves = serve is not None and Role.SERVE in host.roles
    return (
        *(_service_files(settings, serve, user) if serve and serves else ()),
        *_metric_files(settings, host),
    )


def _service_files(settings: Settings, serve: Serve, user: str) -> Iterable[ManagedFile]:
    app = settings.app.name
    for slot in slots(serve):
        path = settings.app.deploy_to / "slots" / slot / "env"
        yield ManagedFile(path, 0o644, "slot/env.j2", slot=slot)
    yield ManagedFile(settings.app.deploy_to / "due.sh", 0o755, "due.sh.j2")
    if serve.manager is Manager.SUPERVISOR:
        path = PurePosixPath("~/supervisor/conf.d") / f"{app}.conf"
        yield ManagedFile(path, 0o644, "supervisor/program.conf.j2")
        path = PurePosixPath("~/supervisor/conf.d") / f"{app}-due.conf"
        yield ManagedFile(path, 0o644, "supervisor/due.conf.j2")
        return
    units = _UNITS[serve.manager]
    yield ManagedFile(units / f"{app}@.service", 0o644, "systemd/service.j2", Validator.UNIT)
    for kind in ("path", "service"):
        path = units / f"{app}-due.{kind}"
        yield ManagedFile(path, 0o644, f"systemd/due.{kind}.j2", Validator.UNIT)
    match serve.strategy:
        case Strategy.SOCKET:
            yield ManagedFile(units / f"{app}.socket", 0o644, "systemd/socket.j2", Validator.UNIT)
        case Strategy.BLUE_GREEN:
            yield from _haproxy_files(settings, units)
    if serve.manager is Manager.SYSTEMD and user != "root":
        path = PurePosixPath("/etc/sudoers.d") / f"aideploy-{app}"
        yield ManagedFile(path, 0o440, "sudoers.j2", Validator.SUDOERS)


def _metric_files(settings: Settings, host: Host) -> Iterable[ManagedFile]:
    root, serve = settings.app.deploy_to, settings.serve
    if telling_metrics.is_told(settings, host):
        yield ManagedFile(root / "metrics.sh", 0o755, "metrics.sh.j2")
    if telling_metrics.looks_for_drift(settings, host) and serve and serve.manager in _UNITS:
        yield ManagedFile(root / "drift.sh", 0o755, "drift.sh.j2")
        for kind in ("service", "timer"):
            path = _UNITS[serve.manager] / f"{settings.app.name}-drift.{kind}"
            yield ManagedFile(path, 0o644, f"systemd/drift.{kind}.j2", Validator.UNIT)


def _haproxy_files(settings: Settings, units: PurePosixPath) -> Iterable[ManagedFile]:
    """Yield the files of an HAProxy of our own: an app never touches the one of the host."""
    unit = units / f"{settings.app.name}-haproxy"
    for kind in ("service", "socket"):
        template = f"systemd/haproxy.{kind}.j2"
        yield ManagedFile(unit.with_suffix(f".{kind}"), 0o644, template, Validator.UNIT)
    folder = settings.app.deploy_to / "haproxy"
    yield ManagedFile(folder / "haproxy.cfg", 0o644, "haproxy/haproxy.cfg.j2", Validator.HAPROXY)
    yield ManagedFile(folder / "steer.py", 0o644, "haproxy/steer.py")


def rendered_files(
    settings: Settings, host: Host, *, root: PurePosixPath, user: str
) -> tuple[RenderedFile, ...]:
    """Return every configuration file that this host needs, with its content.

    Args:
        settings: the settings of the environment.
        host: the host.
        root: the absolute path of the app's folder on the host.
        user: the user on the host that deploys.

    Raises:
        SettingsError: a template cannot be rendered, or the host has a path or a user that a
            configuration file cannot hold.
    """
    serve = settings.serve
    known = {"app": settings.app.name, **telling_metrics.values(settings, host, root)}
    if serve:
        known |= _service_values(settings, serve, root, user)
    return tuple(
        RenderedFile(
            **vars(file),
            content=render(
                file.template,
                known | (_slot_values(serve, host, file.slot) if serve else {}),
                folder=settings.path.parent,
            ),
        )
        for file in managed_files(settings, host, user=user)
    )


def _slot_values(serve: Serve, host: Host, slot: Slot | None) -> dict[str, Any]:
    """Return the address that users reach, and for a slot's own file that of the slot."""
    if slot is None:
        return {"bind": bind(serve, host), "port": serve.port}
    own = {"BIND": slot_bind(serve, host), "PORT": str(slots(serve)[slot]), "SLOT": slot.value}
    return {"variables": own}


def _service_values(
    settings: Settings, serve: Serve, root: PurePosixPath, user: str
) -> dict[str, Any]:
    """Return what all templates of a service may use."""
    app = settings.app.name
    ports = slots(serve)
    units = [f"{app}@{slot}.service" for slot in ports]
    if serve.strategy is Strategy.SOCKET:
        units.append(f"{app}.socket")
        # systemd opens this one.
        own_ports = [port for slot, port in ports.items() if slot is not Slot.LIVE]
    else:
        own_ports = list(ports.values())
    return {
        "app": app,
        "root": root,
        "user": user,
        "service_user": service_user(settings, serve),
        "scope": "user" if serve.manager is Manager.SYSTEMD_USER else "system",
        "slots": [slot.value for slot in ports],
        "ports": {slot.value: port for slot, port in ports.items()},
        "blue_green": serve.strategy is Strategy.BLUE_GREEN,
        "retry": serve.retry,
        "metrics_port": metrics_port(settings),
        "metrics_path": settings.monitoring.metrics_path,
        "haproxy_path": HAPROXY_PATH,
        "python": settings.install.python,
        "units": units,
        "low_port": min(own_ports) < _FIRST_PORT_FOR_ALL,
        "writable": [root / "shared" / item.path for item in serve.linked if item.directory],
        "in_home": root.parts[1] in ("home", "root"),
        "contained": serve.contained,
        "runtime": serve.runtime.value,
        "gpus": serve.gpus,
        "memory_max": serve.memory_max,
        "cpu_quota": serve.cpu_quota,
        "due_program": source("due") + source("due_runner"),
        "stop_seconds": math.ceil(serve.stop_timeout.total_seconds()),
    }


# -- what is on a host -----------------------------------------------------------------------------


def differing(
    files: Iterable[RenderedFile], checksums: Mapping[str, str]
) -> tuple[RenderedFile, ...]:
    """Return the files that are not on the host as they should be.

    Args:
        files: how they should be.
        checksums: path -> sha256, "missing" or "unreadable", as `emit_checksums` of files.sh says.
            A file that we may not read counts as right.
    """
    return tuple(
        file
        for file in files
        if checksums.get(str(file.path)) not in ("unreadable", _sha256(file.content))
    )


def installed_files(files: Iterable[ManagedFile], result: Result) -> tuple[InstalledFile, ...]:
    """Return the files that are on the host.

    Args:
        files: those that were asked for.
        result: of scripts/read_files.sh with their paths, in the same order.
    """
    found = []
    for number, file in enumerate(files, 1):
        match result.text(f"state.{number}"):
            case "there":
                text = result.data(f"content.{number}").decode("utf-8", errors="replace")
                found.append(InstalledFile(file.path, text))
            case "unreadable":
                found.append(InstalledFile(file.path, None))
    return tuple(found)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
