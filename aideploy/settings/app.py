"""`[app]`: what is delivered, from where and to which folder."""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import Field

from aideploy.settings.table import Table
from aideploy.settings.values import (
    AppName,
    GitRef,
    HostFolder,
    Name,
    ProjectPath,
    Repository,
    Whole,
)


class Source(StrEnum):
    """How the commits come to the hosts."""

    PULL = "pull"
    PUSH = "push"


def _below_srv(fields: dict[str, Any]) -> PurePosixPath:
    # The name is absent when it is itself refused; then nothing is built from this.
    return PurePosixPath("/srv", fields.get("name", "app"))


class App(Table):
    """What is delivered, from where and to which folder."""

    name: AppName
    """The name of the application: of its folder, its units and its Linux user."""

    repository: Repository
    """The git repository: a URL, or a path on the hosts (on this machine with source = "push")."""

    branch: GitRef = "main"
    """The branch that is deployed when no --revision is given."""

    subdirectory: ProjectPath | None = None
    """The folder of the repository that holds the application, if it is not the top."""

    source: Source = Source.PULL
    """With "pull" each host fetches the commits itself; with "push" this machine sends them."""

    deploy_to: HostFolder = Field(default_factory=_below_srv)
    """The folder on the hosts that holds everything of this application; /srv/NAME by default."""

    keep_releases: Annotated[Whole, Field(ge=1)] = 5
    """How many good releases stay on a host, so that a rollback has somewhere to go."""

    default_environment: Name | None = None
    """The environment that is meant when no --env is given."""
