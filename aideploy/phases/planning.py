"""What a deploy of a revision would bring to a host, found out without changing anything there.

Pure: which script to run and what its answer means. Used by `fab plan`.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aideploy.phases.fetch import Fetched
from aideploy.phases.fetch import read as read_fetched
from aideploy.phases.install import Installed, is_needed
from aideploy.phases.install import read as read_installed
from aideploy.remote.result import Result
from aideploy.remote.script import Script

if TYPE_CHECKING:
    from aideploy.settings import Settings

MOST_COMMITS = 50


@dataclass(frozen=True)
class Coming:
    """What would come to one host.

    Args:
        fetched: the commit; it has no release yet.
        installed: the environment; `reused` says whether it is there already.
        commits: those that are new, newest first, at most `MOST_COMMITS`.
        leaving: those that are live and would not be any more, likewise.
    """

    fetched: Fetched
    installed: Installed
    commits: tuple[str, ...]
    leaving: tuple[str, ...]


def pull(settings: Settings, revision: str, live: str) -> Script:
    """Return the script for a host that fetches from the repository.

    Args:
        settings: of the environment.
        revision: a branch, a tag or a commit.
        live: the full commit that is live on the host, or empty.
    """
    return _script(settings, "pull", str(settings.app.repository), revision, live)


def push(settings: Settings, pack: bytes, commit: str, live: str) -> Script:
    """Return the script for a host that takes a git pack that we send; see `fetch.push`."""
    return _script(settings, "push", base64.b64encode(pack).decode(), commit, live)


def _script(settings: Settings, source: str, repository: str, revision: str, live: str) -> Script:
    return Script(
        "plan",
        (
            *(str(settings.app.deploy_to), source, repository, revision),
            *(str(settings.app.subdirectory or ""), live),
            *(settings.install.python, str(MOST_COMMITS)),
            *(map(str, settings.install.requirements) if is_needed(settings) else ()),
        ),
        libraries=("commits", "dependencies"),
    )


def read(result: Result) -> Coming:
    """Make a typed answer of what the script emitted."""
    return Coming(
        fetched=read_fetched(result),
        installed=read_installed(result),
        commits=result.all("coming"),
        leaving=result.all("leaving"),
    )
