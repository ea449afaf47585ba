"""`[model]`: a model that was trained elsewhere, or a store for those that are trained here."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field

from aideploy.settings.table import Table, default
from aideploy.settings.values import (
    Environment,
    HostVariable,
    Matches,
    ProjectPath,
    Timeout,
    Url,
    VariableName,
)

_REGISTERED = re.compile(r"models:/(?P<name>[^/@:\s]+)(?:@(?P<alias>[\w-]+)|/(?P<version>\d+))")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://[!-~]+", re.ASCII)
_SOURCE_EXPECTED = (
    'a URL, as "https://…", "s3://…" or "file:///…", or a model of an MLflow registry, as '
    '"models:/ranker@champion" or "models:/ranker/7"'
)


def _source(value: object) -> object:
    if not isinstance(value, str) or _REGISTERED.fullmatch(value):
        return value
    if not _URL.fullmatch(value):
        raise ValueError(_SOURCE_EXPECTED)
    return _without_password(value)


def _store(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not _URL.fullmatch(value) or value.startswith(("http://", "https://")):
        raise ValueError('a place that can be written to, as "s3://bucket/models" or "file:///mnt"')
    return _without_password(value)


def _without_password(value: str) -> str:
    try:
        password = urlsplit(value).password
    except ValueError:
        raise ValueError(_SOURCE_EXPECTED) from None
    if password is not None:
        raise ValueError("a URL without a password; name the secret in token or secrets")
    return value


Digest = Annotated[str, Matches(r"[0-9a-f]{64}", "a sha256: 64 digits and letters a to f")]
MetricsPlace = Annotated[
    str,
    Matches(
        r"(?!-)(?!.*\.\.)[A-Za-z0-9._@+/-]*[A-Za-z0-9._@+-]|[a-z][a-z0-9+.-]*://[!-~]+",
        'a file inside the model, as "metrics.json", or a URL',
    ),
]


class Model(Table):
    """A model that was trained elsewhere, or a store for those that are trained here."""

    source: Annotated[str, BeforeValidator(_source)] | None = None
    """Where the hosts fetch the model from: a URL, or a model of an MLflow registry."""

    sha256: Digest | None = None
    """The checksum of the file at the URL; of a folder, the id that aideploy gives its files."""

    path: ProjectPath = default("model")
    """Where the release finds the model."""

    metrics: MetricsPlace | None = None
    """The model's metrics: a file inside the model, or a URL; by default those of MLflow's run."""

    tracking_uri: Url | None = None
    """The MLflow server that knows the model."""

    token: VariableName | None = None
    """A secret that is shown to the server of an https:// source or to MLflow (Bearer)."""

    secrets: tuple[HostVariable, ...] = ()
    """More secrets that fetching needs, found where those of [serve] are."""

    environment: Environment = Field(default_factory=dict, repr=False)
    """Environment variables while fetching."""

    timeout: Timeout = default("1h")
    """How long fetching may take."""

    store: Annotated[str, BeforeValidator(_store)] | None = None
    """Where trained models are kept, and fetched from by the hosts that serve."""

    @property
    def registered(self) -> tuple[str, str, str] | None:
        """Name, alias and version of a model in MLflow's registry; one of the last two is empty."""
        match = _REGISTERED.fullmatch(self.source or "")
        return (match["name"], match["alias"] or "", match["version"] or "") if match else None

    @property
    def shown_source(self) -> str:
        """The source without what may be a secret in it: the signature in the query of a URL."""
        return (self.source or "").partition("?")[0]

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of all secrets that fetching needs."""
        return tuple(dict.fromkeys([*([self.token] if self.token else []), *self.secrets]))
