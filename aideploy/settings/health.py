"""`[health]`: when a service counts as healthy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from aideploy.settings.table import Table, default
from aideploy.settings.values import Command, Line, Scalar, Timeout, UrlPath, Whole


class Health(Table):
    """When a service counts as healthy."""

    path: UrlPath = "/healthz"
    """The path that is asked for over HTTP."""

    status: Annotated[Whole, Field(ge=100, le=599)] = 200
    """The HTTP status of a healthy answer."""

    json_fields: Mapping[Line, Scalar] = Field(default_factory=dict, alias="json")
    """Fields that the JSON answer must have, with these values; $REVISION is the commit."""

    command: Command | None = None
    """A command on the host that is run instead of asking over HTTP; 0 means healthy."""

    timeout: Timeout = default("60s")
    """How long a service may take to become healthy."""

    interval: Timeout = default("1s")
    """The time between two tries."""
