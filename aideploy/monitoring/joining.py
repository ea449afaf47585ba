"""A Prometheus that others look after: what its prometheus.yml lacks to read our files.

`monitor.push` never writes into such a file. Pure: a text in, the lines to add out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import PurePosixPath
from typing import Any

from aideploy.errors import HostNotReady
from aideploy.monitoring.configuration import Job, Kind, MonitorFile, shared_values
from aideploy.rendering import render
from aideploy.settings import Settings


def lacking(settings: Settings, files: Iterable[MonitorFile], foreign: str) -> str:
    """Return the lines that have to be added so that the files are read; none when they are.

    Args:
        settings: of the environment.
        files: what is to be read.
        foreign: the text of a prometheus.yml that is not ours.

    Raises:
        HostNotReady: it cannot be read as YAML.
        SettingsError: a template cannot be rendered.
    """
    said, values = _read(foreign), shared_values(settings.monitoring)
    folder = PurePosixPath(values["rules"]).parents[1]
    rules = [file.path for file in files if file.kind is Kind.RULES]
    targets = [file.path for file in files if file.kind is Kind.TARGETS]
    lines: list[str] = []
    if not _all_covered(rules, _texts(said.get("rule_files")), folder):
        lines.append(_rendered(settings, "rule_files", values))
    patterns = list(_target_files(said))
    missing = [
        job
        for job in values["jobs"]
        if job.files and not _all_covered(_of_job(job, targets), patterns, folder)
    ]
    if missing:
        lines.append(_rendered(settings, "scrape_configs", {**values, "jobs": missing}))
    if values["alertmanager"] and not _mapping(said.get("alerting")).get("alertmanagers"):
        lines.append(_rendered(settings, "alerting", values))
    return "\n".join(lines)


def _read(text: str) -> Mapping[str, Any]:
    # Invoke reads settings with it: an own dependency for one file is too much.
    yaml: Any = import_module("invoke.util").yaml
    try:
        return _mapping(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise HostNotReady(
            "prometheus.yml on the host is no YAML",
            why=str(error),
            next_step="on that host: promtool check config prometheus.yml",
        ) from None


def _rendered(settings: Settings, part: str, values: Mapping[str, Any]) -> str:
    return render(f"prometheus/{part}.yml.j2", values, folder=settings.path.parent)


def _target_files(said: Mapping[str, Any]) -> Iterator[str]:
    for job in _list(said.get("scrape_configs")):
        for source in _list(_mapping(job).get("file_sd_configs")):
            yield from _texts(_mapping(source).get("files"))


def _of_job(job: Job, targets: Iterable[PurePosixPath]) -> list[PurePosixPath]:
    folder = PurePosixPath(job.files).parent
    return [path for path in targets if path.parent == folder]


def _all_covered(
    paths: Iterable[PurePosixPath], patterns: Iterable[str], folder: PurePosixPath
) -> bool:
    """Whether each path is one that Prometheus finds: its patterns are relative to its folder."""
    absolute = [str(folder / pattern) for pattern in patterns]
    return all(any(path.match(pattern) for pattern in absolute) for path in paths)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: object) -> list[str]:
    return [one for one in _list(value) if isinstance(one, str) and one]
