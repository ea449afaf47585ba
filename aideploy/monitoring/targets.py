"""What Prometheus shall ask: the hosts that serve, and the exporters beside them.

`monitor.push` writes all of these files on the monitor hosts, each in a folder that a
`file_sd_configs` of their Prometheus reads; every deploy writes the one of the hosts that serve
again, when they switch. Nothing is decided here but addresses and labels.
Format: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from ipaddress import ip_address
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from aideploy.monitoring.naming import name_of, old_name_of
from aideploy.rendering import render
from aideploy.services.manager import Slot, bind, slots
from aideploy.settings import Host, Role, Settings
from aideploy.settings.serve import Serve, Strategy

if TYPE_CHECKING:
    from aideploy.settings.monitoring import Exporter

_PORTS = {"node": 9100, "nvidia": 9835}
_BLACKBOX = "127.0.0.1:9115"
HAPROXY_PATH = "/haproxy"


class Track(StrEnum):
    """Whether a host runs what is being tried, or what is good."""

    STABLE = "stable"
    CANARY = "canary"


def file_of(settings: Settings, exporter: str = "") -> PurePosixPath:
    """Return the path of a file of targets on a monitor host.

    Args:
        settings: of the environment; they name the folder.
        exporter: whose; without one that of the hosts that serve.
    """
    return _folder(settings, exporter) / f"{name_of(settings)}.json"


def old_file_of(settings: Settings, exporter: str = "") -> PurePosixPath:
    """Return the path that such a file had in version 0.1."""
    return _folder(settings, exporter) / f"{old_name_of(settings)}.json"


def targets(settings: Settings, canaries: Collection[str] = ()) -> str:
    """Return the file of the hosts that serve.

    An entry for each, or with two slots for each slot, which are asked one by one through the
    HAProxy in front of them. The labels are app, env, host, roles, track and slot, and the host's
    own, which do not replace those.

    Args:
        settings: of the environment.
        canaries: the hosts that run what is being tried.

    Raises:
        SettingsError: the template cannot be rendered.
    """
    serve = settings.serve
    # Whichever hosts were chosen: the file names them all.
    serving = [host for host in settings.all_hosts if serve and Role.SERVE in host.roles]
    return _rendered(
        settings,
        (
            entry
            for host in serving
            for entry in _app(
                settings, host, Track.CANARY if host.name in canaries else Track.STABLE
            )
        ),
    )


def exporter_targets(settings: Settings, exporter: Exporter) -> str:
    """Return the file of one kind of exporter; it may name no target at all.

    Args:
        settings: of the environment.
        exporter: which.

    Raises:
        SettingsError: the template cannot be rendered.
    """
    chosen = exporter in settings.monitoring.exporters
    return _rendered(settings, _exporter(settings, exporter.value) if chosen else ())


def metrics_port(settings: Settings) -> int | None:
    """Return the port where the HAProxy of the app lets Prometheus ask each slot; None without."""
    serve, monitoring = settings.serve, settings.monitoring
    if serve is None or serve.strategy is not Strategy.BLUE_GREEN or monitoring.file_sd is None:
        return None
    return monitoring.metrics_port_beside(serve.port)


def _folder(settings: Settings, exporter: str) -> PurePosixPath:
    folder = settings.monitoring.file_sd
    assert folder is not None, "[monitoring] file_sd is missing"
    return folder / exporter


def _rendered(settings: Settings, entries: Iterable[Mapping[str, object]]) -> str:
    values = {"targets": list(entries)}
    return render("prometheus/targets.json.j2", values, folder=settings.path.parent)


def _app(settings: Settings, host: Host, track: Track) -> Iterable[Mapping[str, object]]:
    serve = settings.serve
    assert serve is not None, "hosts that serve have a [serve]"
    labels = {
        **host.labels,
        **_of_app(settings, host),
        "roles": ",".join(sorted(host.roles)),
        "track": track.value,
    }
    path = settings.monitoring.metrics_path
    port = metrics_port(settings)
    if port is None:
        yield _entry(
            host, serve.port, {**labels, "slot": Slot.LIVE.value, "__metrics_path__": path}
        )
        return
    for slot in slots(serve):
        own = {"slot": slot.value, "__metrics_path__": f"/{slot}{path}"}
        yield _entry(host, port, {**labels, **own})


def _exporter(settings: Settings, exporter: str) -> Iterable[Mapping[str, object]]:
    serve = settings.serve
    for host in settings.all_hosts:
        # A host may serve several apps: its own exporters say nothing of one of them, so that
        # Prometheus sees one target, however many files name it.
        own = {**host.labels, "host": host.name}
        serves = serve is not None and Role.SERVE in host.roles
        if exporter == "node" or (exporter == "nvidia" and _has_gpus(serve, host)):
            yield _entry(host, _PORTS[exporter], own)
        elif exporter == "haproxy" and serves and (port := metrics_port(settings)):
            labels = {**host.labels, **_of_app(settings, host), "__metrics_path__": HAPROXY_PATH}
            yield _entry(host, port, labels)
        elif exporter == "blackbox" and serve is not None and serves and _is_public(serve, host):
            yield _probe(settings, serve, host)


def _probe(settings: Settings, serve: Serve, host: Host) -> Mapping[str, object]:
    """Return what the blackbox exporter of a monitor host shall ask, as a user would."""
    url = f"http://{_bracketed(host.address)}:{serve.port}{settings.health.path}"
    labels = {
        **host.labels,
        **_of_app(settings, host),
        "instance": url,
        "__metrics_path__": "/probe",
        "__param_module": "http_2xx",
        "__param_target": url,
    }
    return {"targets": [_BLACKBOX], "labels": labels}


def _of_app(settings: Settings, host: Host) -> Mapping[str, str]:
    return {"app": settings.app.name, "env": settings.environment, "host": host.name}


def _has_gpus(serve: Serve | None, host: Host) -> bool:
    return host.gpus > 0 or (serve is not None and serve.gpus > 0 and Role.SERVE in host.roles)


def _is_public(serve: Serve, host: Host) -> bool:
    """Whether another host can reach the service at all."""
    return not ip_address(bind(serve, host)).is_loopback


def _entry(host: Host, port: int, labels: Mapping[str, str]) -> Mapping[str, object]:
    return {"targets": [f"{_bracketed(host.address)}:{port}"], "labels": dict(labels)}


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
