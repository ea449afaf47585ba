"""Folders of wheels, so that hosts without a way out can build environments.

Called by tests and benchmarks, which bind the folder into their hosts and install from it with
`--no-index --find-links`. The wheels come through this machine's own pip and its settings.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tests.lab.cache import built_once, cache_folder, key_of
from tests.lab.programs import run

# The Python of the hosts: Debian bookworm's.
PYTHON = "3.11"
# What an installer on the host needs itself.
TOOLS = ("uv", "pip", "setuptools", "wheel")


def wheelhouse(requirements: Sequence[str] | Path) -> Path:
    """A folder with the wheels of these requirements, all that they need, and uv and pip.

    Args:
        requirements: as pip understands them, or a requirements file. Same ones, same folder: what
            was newest when it was made stays in it.
    """
    lines = (
        requirements.read_text().splitlines()
        if isinstance(requirements, Path)
        else list(requirements)
    )
    folder = cache_folder() / f"wheels-{key_of(PYTHON, *TOOLS, *lines)}"
    return built_once(folder, partial(_download, lines))


def _download(lines: list[str], folder: Path) -> None:
    folder.mkdir()
    wanted = folder / "requirements.txt"
    wanted.write_text("\n".join([*TOOLS, *lines, ""]))
    kind = ["--only-binary=:all:", f"--python-version={PYTHON}"]
    paths = [f"--dest={folder}", f"--requirement={wanted}"]
    run([sys.executable, "-m", "pip", "download", "--quiet", *kind, *paths])
