"""Commands as a person types them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ran:
    """A command that has ended: its exit status and what a person saw."""

    status: int
    text: str

    @property
    def shows_no_traceback(self) -> bool:
        # What a program on a host wrote stands behind a mark.
        return not any(line.startswith("Traceback") for line in self.text.splitlines())


def typed(
    folder: Path, *words: str, env: Mapping[str, str] | None = None, timeout: float = 120
) -> Ran:
    """Run Python with these words to its end, its output going to a file."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
    )
    return Ran(done.returncode, done.stdout.decode(errors="surrogateescape"))


def begun(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Begin to run Python with these words, in a process group of its own as on a terminal."""
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
