"""The controller's own git repository, for [app] source = "push": the controller sends the commits.

Runs git on this machine only; nothing in the repository changes. Called by the deployment.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aideploy.errors import UsageError


@dataclass(frozen=True)
class Repository:
    """A git repository on this machine.

    Args:
        path: its folder, or a bare repository.
    """

    path: Path

    def commit(self, revision: str) -> str:
        """Return the full hash of a branch, a tag or a commit.

        Raises:
            UsageError: there is no such thing, or no repository.
        """
        for name in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            found = self._git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
            if found.returncode == 0:
                return found.stdout.decode().strip()
        if self._git("rev-parse", "--git-dir").returncode != 0:
            raise UsageError(
                f"{self.path} is no git repository",
                next_step='correct [app] repository; with source = "push" it is a path here',
            )
        raise UsageError(
            f"there is no branch, tag or commit {revision} in {self.path}",
            next_step=f"known: {self._known()}",
        )

    def pack(self, commit: str, have: Iterable[str]) -> bytes:
        """Return what somebody who has the commits `have` lacks of this one, as a thin git pack.

        Empty when nothing is lacking.
        """
        known = [
            name
            for name in have
            if self._git("cat-file", "-e", f"{name}^{{commit}}").returncode == 0
        ]
        if commit in known:
            return b""
        wanted = "\n".join([commit, *(f"^{name}" for name in known), ""])
        packed = subprocess.run(
            [*self._command(), "pack-objects", "--revs", "--stdout", "--thin", "--quiet"],
            input=wanted.encode(),
            capture_output=True,
            check=True,
        )
        return packed.stdout

    def file(self, commit: str, path: str) -> bytes | None:
        """Return the content of a file of a commit, links followed; None where it has no such."""
        shown = subprocess.run(
            [*self._command(), "cat-file", "--batch", "--follow-symlinks"],
            input=f"{commit}:{path}\n".encode(),
            capture_output=True,
            check=True,
        )
        head, _, content = shown.stdout.partition(b"\n")
        match head.split():
            case [_, b"blob", size] if size.isdigit():
                return content[: int(size)]
        return None

    def _known(self) -> str:
        listed = self._git(
            "for-each-ref", "--count=8", "--sort=-committerdate", "--format=%(refname:short)",
            "refs/heads", "refs/tags",
        )  # fmt: skip
        return " ".join(listed.stdout.decode(errors="replace").split()) or "nothing"

    def _git(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*self._command(), *words], capture_output=True, check=False)

    def _command(self) -> list[str]:
        return ["git", "-C", str(self.path)]
