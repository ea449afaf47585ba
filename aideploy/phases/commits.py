"""The commits between two releases, asked of the mirror on a host.

Pure: which script to run and what its answer means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from aideploy.remote.result import Result
from aideploy.remote.script import Script

MOST = 200
# What a journal or a record calls a commit may be anything.
COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?", re.ASCII)


@dataclass(frozen=True)
class Commit:
    """One commit, for people."""

    commit: str
    author: str
    subject: str


@dataclass(frozen=True)
class Between:
    """What lies between two commits.

    Args:
        known: whether the mirror has both.
        gained, lost: the newest `MOST` that the later one has and the earlier one lacks, and the
            other way round.
        gained_count, lost_count: how many there are in all.
    """

    known: bool = False
    gained: tuple[Commit, ...] = ()
    lost: tuple[Commit, ...] = ()
    gained_count: int = 0
    lost_count: int = 0


def script(root: PurePosixPath, before: str, after: str) -> Script | None:
    """Return the script that asks; None where one of them is no commit."""
    if not (COMMIT.fullmatch(before) and COMMIT.fullmatch(after)):
        return None
    return Script("commits_between", (str(root), before, after, str(MOST)), libraries=("commits",))


def read(result: Result) -> Between:
    """Make a typed answer of what the script emitted."""
    return Between(
        known=result.text("known") == "yes",
        gained=tuple(_commits(result.data("gained"))),
        lost=tuple(_commits(result.data("lost"))),
        gained_count=result.number("gained.count"),
        lost_count=result.number("lost.count"),
    )


def _commits(data: bytes) -> Iterator[Commit]:
    # Only a line feed ends a line: git leaves other separators of Unicode in a subject.
    for line in filter(None, data.decode("utf-8", "replace").split("\n")):
        commit, author, subject = [*line.split("\0", 2), "", ""][:3]
        yield Commit(commit, author, subject)
