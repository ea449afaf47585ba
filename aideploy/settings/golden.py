"""`[golden]`: recorded requests that a release has to answer as expected before it gets traffic."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from aideploy.settings.table import Table, default
from aideploy.settings.values import Amount, Line, ProjectPath, Size, Timeout, UrlPath, Whole


class Golden(Table):
    """Recorded requests, what a release has to answer to them, and how fast."""

    file: ProjectPath
    """The file in the project with the requests, one a line; see docs/golden.md."""

    path: UrlPath = "/predict"
    """The path that the requests are put to."""

    tolerance: Amount = 1e-6
    """How much a number may differ from the expected one."""

    tolerance_rel: Amount = 1e-6
    """The same as a part of the expected number; the wider one of the two counts."""

    ignore: tuple[Line, ...] = ()
    """Names of fields that are neither compared nor recorded, such as "request_id"."""

    last: Annotated[Whole, Field(ge=1, le=1000)] = 5
    """So many last answers have to come within max_latency; those before warm the service up."""

    max_latency: Timeout | None = None
    """How long each of the last answers may take."""

    max_memory: Size | None = None
    """How much memory the service may use after the requests, all its processes together."""

    timeout: Timeout = default("60s")
    """How long all requests together may take."""
