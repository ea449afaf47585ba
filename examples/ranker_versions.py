"""Three versions of the example application: the first, a better one, and one that is unhealthy.

Used by the demo and by the tests, which deploy one after the other. A version is `examples/ranker`
with small exact edits, never a copy kept by hand; an edit that no longer fits is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_APPLICATION = Path(__file__).parent / "ranker"
_GENERATED = ("__pycache__", ".*_cache", ".venv", "model", "metrics.json")


class EditDoesNotFit(Exception):
    """The text that an edit replaces is not in the file exactly once."""


@dataclass(frozen=True)
class Edit:
    """Some text of a file that is replaced; it has to be there exactly once."""

    file: str
    old: str
    new: str

    def apply(self, folder: Path) -> None:
        file = folder / self.file
        text = file.read_text()
        if text.count(self.old) != 1:
            raise EditDoesNotFit(
                f"{file}: expected once, found {text.count(self.old)} times: {self.old!r}"
            )
        file.write_text(text.replace(self.old, self.new))


_LOOK_AT_INTEREST_AND_CATEGORY_TOGETHER = Edit(
    "features.py",
    'crosses=(("device", "category"),)',
    'crosses=(("device", "category"), ("interest", "category"))',
)

# The mistake of a careful person: it starts, it predicts, its tests pass, for they make an Identity
# of their own. But a path cannot be written as JSON, so /healthz answers 500.
_RELEASE_AS_A_PATH = Edit(
    "app.py",
    'release=os.environ.get("RELEASE", "unknown")',
    'release=Path(os.environ.get("RELEASE_DIR", "unknown"))',
)


class Revisions(NamedTuple):
    """The commits that `history` made, as full hashes."""

    first: str
    improved: str
    broken: str


def first(folder: Path) -> None:
    """Write the application as it stands in `examples/ranker` into the folder."""
    write(folder)


def improved(folder: Path) -> None:
    """Write a version whose model is measurably better: it knows who likes which kind of ad.

    Raises:
        EditDoesNotFit: `examples/ranker` has changed.
    """
    write(folder, _LOOK_AT_INTEREST_AND_CATEGORY_TOGETHER)


def broken(folder: Path) -> None:
    """Write the improved version with a mistake that only its health check shows: it answers 500.

    Raises:
        EditDoesNotFit: `examples/ranker` has changed.
    """
    write(folder, _LOOK_AT_INTEREST_AND_CATEGORY_TOGETHER, _RELEASE_AS_A_PATH)


def history(repo: Path) -> Revisions:
    """Make a git repository whose branch main holds the three versions, one commit each.

    The commits are the same on every machine as long as the application is the same. `main` ends
    at the broken one.

    Args:
        repo: a folder that is empty or does not exist yet.

    Raises:
        FileExistsError: there is something in it already.
        EditDoesNotFit: `examples/ranker` has changed.
    """
    repo.mkdir(parents=True, exist_ok=True)
    if any(repo.iterdir()):
        raise FileExistsError(f"{repo} is not empty")
    _git(repo, "init", "--quiet", "--initial-branch=main")

    first(repo)
    first_commit = _commit(repo, 1, "Rank ads by the probability of a click")
    improved(repo)
    improved_commit = _commit(repo, 2, "Look at interest and category together: auc +0.04")
    broken(repo)
    broken_commit = _commit(repo, 3, "Say where the release lies, not only what it is called")
    return Revisions(first_commit, improved_commit, broken_commit)


def write(folder: Path, *edits: Edit) -> None:
    """Write the application with these edits into the folder.

    Raises:
        EditDoesNotFit: `examples/ranker` has changed.
    """
    ignore = shutil.ignore_patterns(*_GENERATED)
    shutil.copytree(_APPLICATION, folder, ignore=ignore, dirs_exist_ok=True)
    for edit in edits:
        edit.apply(folder)


def _commit(repo: Path, day: int, message: str) -> str:
    date = f"2026-01-{day:02}T12:00:00+00:00"
    _git(repo, "add", "--all")
    _git(repo, "commit", "--quiet", f"--message={message}", date=date)
    return _git(repo, "rev-parse", "HEAD")


def _git(repo: Path, *arguments: str, date: str = "") -> str:
    """Run git as nobody in particular: no settings of this user, no hook around us counts."""
    surroundings = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    name, address = "Ada Example", "ada@ranker.example"
    identity = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": address,
        "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": address,
        "GIT_COMMITTER_DATE": date,
    }
    done = subprocess.run(
        ["git", "-C", str(repo), *arguments],
        env={**surroundings, **identity},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.strip()
