"""What a deploy of a revision would do, in one line, and what it would bring to a host.

Pure: which script finds that out without changing anything there, and what its answer means. Used
by `fab plan`; every deploy begins with the line.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aideploy.jobs.gang import trainers_of
from aideploy.phases import batches
from aideploy.phases.fetch import Fetched, read_commit
from aideploy.phases.install import Installed, is_needed
from aideploy.phases.install import read as read_installed
from aideploy.remote.result import Result
from aideploy.remote.script import Script
from aideploy.report.wording import host_count
from aideploy.settings.hosts import Role

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


def in_one_line(settings: Settings, revision: str) -> str:
    """Return which phases a deploy of this revision has, and who takes part."""
    serving = [host.name for host in settings.with_role(Role.SERVE)]
    spread = batches.course(settings, serving)
    each = " after each" if len(spread.batches) > 1 else ""
    watch = f"watch {settings.rollout.bake.total_seconds():g}s{each}"
    phases = [
        ("fetch", "review", "install") if settings.review else ("fetch", "install"),
        ("test",) if settings.test else (),
        (f"train on {' and '.join(trainers_of(settings))}",) if settings.train else (),
        ("model",) if settings.model.source else (),
        ("evaluate",) if settings.gates else (),
        ("distribute",) if settings.model_path else (),
        ("stage", spread.in_words(), watch, "finish"),
    ]
    listed = ", ".join(word for words in phases for word in words)
    return f"plan: {revision} to {host_count(len(serving))}: {listed}"


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
        fetched=read_commit(result),
        installed=read_installed(result),
        commits=result.all("coming"),
        leaving=result.all("leaving"),
    )
