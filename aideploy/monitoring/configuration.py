"""The files that monitoring needs on a monitor host: which, where, and with which content.

`monitor.render` writes them to a folder, `monitor.check` compares them with what is there,
`monitor.push` puts them in place. Pure: nothing here connects or writes.

What belongs to all apps (prometheus.yml) names folders; what belongs to one app and environment
stands in files of its own in them. So several apps share one Prometheus, and a Prometheus that is
looked after by others needs a few lines once and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from aideploy.errors import UsageError
from aideploy.monitoring.grafana import grafana_files
from aideploy.monitoring.rules import old_rule_file, rule_files
from aideploy.monitoring.targets import exporter_targets, file_of, old_file_of, targets
from aideploy.rendering import render
from aideploy.settings import Settings
from aideploy.settings.monitoring import Exporter, Monitoring, PrometheusServer

_SECRET_MODE = 0o640
_PUBLIC_MODE = 0o644
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Kind(StrEnum):
    """What a file is to the programs that read it."""

    PROMETHEUS = "prometheus"
    ALERTMANAGER = "alertmanager"
    RULES = "rules"
    TARGETS = "targets"
    GRAFANA = "grafana"

    @property
    def is_shared(self) -> bool:
        """Whether there is one for all apps, which may be somebody else's."""
        return self in (Kind.PROMETHEUS, Kind.ALERTMANAGER)


@dataclass(frozen=True)
class MonitorFile:
    """A file as it should be on every monitor host."""

    path: PurePosixPath
    kind: Kind
    content: str

    @property
    def mode(self) -> int:
        """Its permissions: Alertmanager's holds the addresses of webhooks, which are secrets."""
        return _SECRET_MODE if self.is_secret else _PUBLIC_MODE

    @property
    def is_secret(self) -> bool:
        """Whether nobody else may read it."""
        return self.kind is Kind.ALERTMANAGER

    def __repr__(self) -> str:
        return f"MonitorFile({str(self.path)!r})"


@dataclass(frozen=True)
class Job:
    """One of Prometheus' scrape configurations.

    Args:
        name: of the job.
        comment: what it asks, for people.
        files: the files with its targets; or
        target: the only target.
        metrics_path: where it is asked, unless that is usual or stands in the files.
        honor_labels: whether what is exported knows better which app it belongs to.
    """

    name: str
    comment: str
    files: str = ""
    target: str = ""
    metrics_path: str = ""
    honor_labels: bool = False


_OF_EXPORTERS = {
    Exporter.NODE: ("The hosts. Files that deploys write there name the app themselves.", True),
    Exporter.NVIDIA: ("Their GPUs.", False),
    Exporter.HAPROXY: ("The HAProxy in front of the slots of an app.", False),
    Exporter.BLACKBOX: ("The services as their users reach them.", False),
}


def files(settings: Settings, secrets: Mapping[str, str]) -> tuple[MonitorFile, ...]:
    """Return every file that a monitor host of the environment needs.

    Args:
        settings: of the environment.
        secrets: the values of the secrets that `needed_secrets` names.

    Raises:
        UsageError: hosts.toml does not say where Prometheus is, or where the targets go.
        SettingsError: a template cannot be rendered.
    """
    return tuple(_files(settings, secrets))


def old_files(settings: Settings) -> tuple[PurePosixPath, ...]:
    """Return what the files of one app were called in version 0.1; new names stand beside them.

    Raises:
        UsageError: hosts.toml does not say where Prometheus is, or where the targets go.
    """
    server = required(settings.monitoring)
    exporters = (exporter.value for exporter in Exporter)
    return (
        server.directory / "rules" / old_rule_file(settings),
        *(old_file_of(settings, exporter) for exporter in ("", *exporters)),
    )


def needed_secrets(settings: Settings) -> tuple[str, ...]:
    """Return the names of the secrets that stand in the files."""
    alertmanager = settings.monitoring.alertmanager
    if alertmanager is None:
        return ()
    named = (alertmanager.webhook, alertmanager.slack)
    return tuple(name for name in named if name and "://" not in name)


def _files(settings: Settings, secrets: Mapping[str, str]) -> Iterator[MonitorFile]:
    monitoring = settings.monitoring
    server = required(monitoring)
    values = shared_values(monitoring)
    folder = settings.path.parent
    main = render("prometheus/prometheus.yml.j2", values, folder=folder)
    yield MonitorFile(server.directory / "prometheus.yml", Kind.PROMETHEUS, main)
    for name, content in rule_files(settings).items():
        yield MonitorFile(server.directory / "rules" / name, Kind.RULES, content)
    yield MonitorFile(file_of(settings), Kind.TARGETS, targets(settings))
    for exporter in Exporter:
        path = file_of(settings, exporter.value)
        yield MonitorFile(path, Kind.TARGETS, exporter_targets(settings, exporter))
    if monitoring.alertmanager and (
        monitoring.alertmanager.webhook or monitoring.alertmanager.slack
    ):
        path = monitoring.alertmanager.directory / "alertmanager.yml"
        content = _alertmanager(settings, secrets)
        yield MonitorFile(path, Kind.ALERTMANAGER, content)
    for path, content in grafana_files(settings).items():
        yield MonitorFile(path, Kind.GRAFANA, content)


def required(monitoring: Monitoring) -> PrometheusServer:
    """Return the Prometheus that the files are for.

    Raises:
        UsageError: hosts.toml does not say where it is, or where the targets go.
    """
    if monitoring.prometheus is None:
        raise UsageError(
            "hosts.toml does not say where Prometheus is",
            next_step='write its address: [monitoring.prometheus] url = "http://…:9090"',
        )
    if monitoring.file_sd is None:
        usual = f"{monitoring.prometheus.directory}/file_sd/aideploy"
        raise UsageError(
            "hosts.toml does not say where the targets for Prometheus go",
            next_step=f'[monitoring] file_sd = "{usual}"',
        )
    return monitoring.prometheus


def shared_values(monitoring: Monitoring) -> dict[str, Any]:
    """Return what the templates of what all apps share may use."""
    server, folder = required(monitoring), monitoring.file_sd
    jobs = [
        Job("aideploy", "The services, each slot of them.", files=f"{folder}/*.json"),
        *(
            Job(
                f"aideploy-{exporter}",
                comment,
                files=f"{folder}/{exporter}/*.json",
                honor_labels=honors,
            )
            for exporter, (comment, honors) in _OF_EXPORTERS.items()
        ),
        _server_job("prometheus", "Prometheus itself.", server.local_url),
    ]
    alertmanager = None
    if monitoring.alertmanager:
        url = monitoring.alertmanager.local_url
        jobs.append(_server_job("alertmanager", "Alertmanager itself.", url))
        parts = urlsplit(url)
        alertmanager = {"scheme": parts.scheme, "path": parts.path, "target": _target(url)}
    return {
        "rules": f"{server.directory}/rules/aideploy-*.yml",
        "jobs": jobs,
        "alertmanager": alertmanager,
    }


def _server_job(name: str, comment: str, url: str) -> Job:
    path = urlsplit(url).path
    return Job(name, comment, target=_target(url), metrics_path=f"{path}/metrics" if path else "")


def _target(url: str) -> str:
    parts = urlsplit(url)
    return parts.netloc if parts.port else f"{parts.netloc}:{_DEFAULT_PORTS[parts.scheme]}"


def _alertmanager(settings: Settings, secrets: Mapping[str, str]) -> str:
    table = settings.monitoring.alertmanager
    assert table is not None, "[monitoring.alertmanager] is missing"
    webhook = table.webhook or ""
    values = {
        "webhook": webhook if "://" in webhook else secrets.get(webhook, ""),
        "slack": secrets.get(table.slack or "", ""),
        "slack_channel": table.slack_channel or "",
        "repeat_seconds": round(table.repeat.total_seconds()),
    }
    return render("alertmanager/alertmanager.yml.j2", values, folder=settings.path.parent)
