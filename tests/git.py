"""git as nobody in particular, however the git of whoever runs the tests is set up."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_NOBODY = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")


def git(folder: Path, *words: str) -> str:
    """Run git in a folder, and return what it prints without the white space around it."""
    done = subprocess.run(
        ["git", *_NOBODY, *words],
        cwd=folder,
        env=without_settings(),
        check=True,
        stdout=subprocess.PIPE,
    )
    return done.stdout.decode(errors="surrogateescape").strip()


def without_settings() -> dict[str, str]:
    """Return our environment without any settings of git, this user's and this machine's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
