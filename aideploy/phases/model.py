"""The model phase: a model that was made elsewhere, fetched by the hosts themselves.

Pure: what a host is asked to fetch, and what its answer means. What only a registry knows
(aideploy.registry) is given.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from aideploy.phases import train
from aideploy.phases.facts import HostFacts
from aideploy.phases.programs import program
from aideploy.phases.train import Trained
from aideploy.remote.result import Result
from aideploy.remote.script import Script, Secret

if TYPE_CHECKING:
    from aideploy.registry import Registered
    from aideploy.settings.source import Model


@dataclass(frozen=True)
class Origin:
    """Where a model lies, in all that a host has to know to fetch it.

    Args:
        source: a URL, or the path of MLflow's artifacts.
        is_folder: whether it is a folder of files.
        key: names it, so that a host knows again what it fetched from there.
        sha256: of the file or archive; empty where nobody knows it.
        model: the sha256 over the model's files, where it is known before it is fetched.
        api: the MLflow server that hands out the artifacts, or empty.
        metrics: what is known of it already.
        record: what release.json says of it.
    """

    source: str
    is_folder: bool
    key: str
    sha256: str = ""
    model: str = ""
    api: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, str] = field(default_factory=dict)


def at_url(model: Model) -> Origin:
    """Return the origin that [model] source names by a URL."""
    source, sha256 = str(model.source), model.sha256 or ""
    is_folder = source.endswith("/")
    return Origin(
        source,
        is_folder,
        _key(source, sha256),
        sha256="" if is_folder else sha256,
        model=sha256 if is_folder else "",
        record={"source": model.shown_source, "sha256": sha256},
    )


def registered(model: Model, found: Registered) -> Origin:
    """Return the origin of a model that MLflow's registry knows; its artifacts are a folder."""
    api = str(model.tracking_uri)
    return Origin(
        found.artifacts,
        True,
        _key(api, found.name, found.version),
        model=model.sha256 or "",
        api=api,
        metrics=found.metrics,
        record={
            "source": str(model.source),
            "tracking_uri": api,
            "version": found.version,
            "run": found.run,
            "artifacts": found.artifacts,
        },
    )


def in_store(store: str, model: str) -> Origin:
    """Return the origin of a model that the train host put into [model] store."""
    return Origin(_place(store, model), True, _key(store, model), model=model)


def known(origin: Origin, model: str) -> Origin:
    """Return the same origin of a model whose name another host found out."""
    return replace(origin, model=model)


def fetch(
    facts: HostFacts,
    release: str,
    origin: Origin,
    settings: Model,
    secrets: Mapping[str, str],
    *,
    metrics: str = "",
) -> Script:
    """Return the script with which a host fetches a model, unless it has it.

    Args:
        facts: of the host.
        release: whose environment it is fetched with.
        origin: where the model lies.
        settings: environment, token and timeout.
        secrets: the values of [model] secrets and token.
        metrics: where the model's metrics are, as [model] metrics has it; empty where nobody asks.
    """
    elsewhere = "://" in metrics
    request = {
        "source": origin.source,
        "folder": origin.is_folder,
        "sha256": origin.sha256,
        "api": origin.api,
        "token": settings.token or "",
        "metrics": metrics if elsewhere else "",
        # Without a checksum nobody could tell what an earlier run left half done.
        "keep": bool(origin.sha256 or origin.model),
    }
    return Script(
        "fetch_model",
        (
            str(facts.root),
            release,
            program("fetch_model", "origins"),
            # The query of a URL may be its signature.
            Secret(json.dumps(request)) if "?" in origin.source + metrics else json.dumps(request),
            origin.key,
            origin.model,
            "fetched" if elsewhere else metrics,
            *_variables(settings, secrets),
        ),
        libraries=("release", "telling"),
        limit=settings.timeout,
    )


def read(result: Result, origin: Origin) -> Trained:
    """Make a typed answer of what the script of `fetch` emitted."""
    found = train.read_kept(result)
    found = replace(found, notices=(*found.notices, *result.all("notice")))
    if found.metrics_text is None and origin.metrics:
        text = json.dumps(dict(origin.metrics)).encode()
        return replace(found, metrics=origin.metrics, metrics_text=text)
    return found


def store(
    facts: HostFacts, release: str, model: str, settings: Model, secrets: Mapping[str, str]
) -> Script:
    """Return the script with which the train host puts its model into [model] store."""
    return Script(
        "store_model",
        (
            str(facts.root),
            release,
            program("store_model", "origins"),
            model,
            _place(str(settings.store), model),
            *_variables(settings, secrets),
        ),
        libraries=("release", "telling"),
        limit=settings.timeout,
    )


def _variables(settings: Model, secrets: Mapping[str, str]) -> tuple[Secret, ...]:
    variables = {**settings.environment, **secrets}
    return tuple(Secret(f"{name}={value}") for name, value in variables.items())


def _place(store: str, model: str) -> str:
    return f"{store.rstrip('/')}/{model}/"


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
