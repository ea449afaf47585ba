"""The golden file on this machine: where it is, whether it is right, how it is replaced.

Called before a deploy connects to anything, and by `fab golden.record`. What a line may hold is
decided by `scripts/golden_file.py`, which the hosts run, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aideploy.errors import SettingsError, UsageError
from aideploy.repository import Repository
from aideploy.scripts.golden_file import MOST_BYTES, Line, read
from aideploy.settings.app import Source

if TYPE_CHECKING:
    from aideploy.settings import Settings
    from aideploy.settings.golden import Golden

_CORRECT = "correct the golden file; what a line may hold is in docs/golden.md"


def check_before(settings: Settings, golden: Golden, revision: str) -> None:
    """Check the golden file of a revision, as far as this machine has it; else the hosts will.

    The exact commit is looked at where this machine sends it, else the file in the checkout that
    hosts.toml lies in.

    Args:
        settings, golden: of the environment.
        revision: a branch, a tag or a commit.

    Raises:
        UsageError: the file is wrong, or the commit has none.
    """
    if settings.app.source is not Source.PUSH:
        if place(settings, golden).is_file():
            lines_of(place(settings, golden))
        return
    repository = Repository(settings.path.parent / str(settings.app.repository))
    commit = repository.commit(revision)
    path = (settings.app.subdirectory or Path()) / golden.file
    content = repository.file(commit, str(path))
    if content is None:
        raise UsageError(
            f"the commit {commit[:7]} has no file {path}, which [golden] names",
            next_step="record it with fab golden.record and commit it, or correct [golden] file",
        )
    _checked(content, str(path))


def place(settings: Settings, golden: Golden) -> Path:
    """Return where the golden file belongs on this machine: in the checkout of the project."""
    top = settings.path.parent
    if settings.app.source is Source.PUSH and (top / settings.app.repository / ".git").exists():
        top = top / settings.app.repository
    below = top / (settings.app.subdirectory or "")
    return (below if below.is_dir() else top) / golden.file


def lines_of(path: Path) -> list[Line]:
    """Read a golden file, or one of requests alone.

    Raises:
        UsageError: it cannot be read, or is wrong; `why` says where.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read", why=error.strerror or str(error), next_step="check the path"
        ) from None
    return _checked(content, str(path))


def _checked(content: bytes, name: str) -> list[Line]:
    lines, problems = read(content, name)
    if problems:
        count = "one mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        raise SettingsError(
            f"the golden file {name} has {count}", problems=tuple(problems), next_step=_CORRECT
        )
    return lines
