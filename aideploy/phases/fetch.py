"""The fetch phase: one exact commit on every host, unpacked into a release.

Pure: which script to run and what its answer means.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aideploy.errors import UsageError
from aideploy.phases.commits import COMMIT
from aideploy.phases.facts import RELEASE
from aideploy.remote.result import Result
from aideploy.remote.script import Script, Secret
from aideploy.settings.values import git_ref

if TYPE_CHECKING:
    from aideploy.phases.facts import HostFacts
    from aideploy.settings import Settings


@dataclass(frozen=True)
class Fetched:
    """The commit that one host unpacked.

    Args:
        commit: its full hash.
        release: the id of the release it was unpacked into; empty where it only was looked at.
        tree: the hash of its files.
        subject, author: of the commit.
        ahead, behind: commits that it has and the live one lacks, and the other way round; None
            when the live commit is not known.
        notices: what a person should know.
    """

    commit: str
    release: str
    tree: str
    subject: str
    author: str
    ahead: int | None = None
    behind: int | None = None
    notices: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.commit[:7]} {self.subject}"


def wanted_revision(settings: Settings, revision: str | None) -> str:
    """Return the branch, tag or commit that was asked for; None means [app] branch.

    Raises:
        UsageError: no git repository could have one of that name.
    """
    if revision is None:
        return settings.app.branch
    try:
        return git_ref(revision)
    except ValueError as expected:
        raise UsageError(
            f"{revision!r} is no revision",
            why=f"expected {expected}",
            next_step="name a branch, a tag or a commit with --revision",
        ) from None


def pull(settings: Settings, revision: str, stamp: str, live: str) -> Script:
    """Return the script with which a host fetches from the repository.

    Args:
        settings: of the environment.
        revision: a branch, a tag or a commit.
        stamp: the first part of the release's id.
        live: the full commit that is live on the host, or empty.
    """
    return _script(settings, "pull", settings.app.repository, revision, stamp, live)


def push(settings: Settings, pack: bytes, commit: str, stamp: str, live: str) -> Script:
    """Return the script with which a host takes a git pack that we send; see `pull`.

    Args:
        pack: what the host's mirror lacks; empty when it lacks nothing or was sent before.
        commit: the full hash of the commit to unpack.
    """
    return _script(settings, "push", base64.b64encode(pack).decode(), commit, stamp, live)


def take_pack(facts: HostFacts) -> Script:
    """Return the script that takes a git pack, too large for `push`, on its standard input."""
    return Script("take_pack", (str(facts.root),))


def _script(
    settings: Settings, source: str, repository: str, revision: str, stamp: str, live: str
) -> Script:
    app = settings.app
    subdirectory = str(app.subdirectory or "")
    return Script(
        "fetch",
        # A URL may hold a password, and a pack is nothing to read.
        (str(app.deploy_to), source, Secret(repository), revision, subdirectory, stamp, live),
        libraries=("commits",),
    )


def read(result: Result) -> Fetched:
    """Make a typed answer of what the script emitted."""
    return replace(read_commit(result), release=result.exact("release", RELEASE))


def read_commit(result: Result) -> Fetched:
    """Make a typed answer of what was said of a commit that is no release yet."""

    def count(key: str) -> int | None:
        return result.number(key) if result.text(key) else None

    return Fetched(
        commit=result.exact("commit", COMMIT),
        release="",
        tree=result.exact("tree", COMMIT),
        subject=result.text("subject"),
        author=result.text("author"),
        ahead=count("ahead"),
        behind=count("behind"),
        notices=result.all("notice"),
    )
