"""`[install]`: how the environment of a release is built."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from aideploy.settings.table import Table, default
from aideploy.settings.values import Environment, Interpreter, Location, ProjectPath, Url


class Tool(StrEnum):
    """What builds the environment."""

    UV = "uv"
    PIP = "pip"


class Install(Table):
    """How the environment of a release is built."""

    tool: Tool = Tool.UV
    """What builds it; without uv on the host, uv is fetched or pip is used."""

    python: Interpreter = "python3"
    """The Python of the hosts that the environment is made with."""

    requirements: tuple[ProjectPath, ...] = default(("requirements.txt",))
    """The files that name the dependencies: requirements files, uv.lock or pyproject.toml."""

    find_links: Location | None = None
    """A URL, or a folder on the hosts, with packages to look at besides the index."""

    index_url: Url | None = None
    """The package index to use instead of the usual one."""

    environment: Environment = Field(default_factory=dict, repr=False)
    """Environment variables while installing."""
