"""What is slow to make and always the same, made once and kept in a cache folder.

Called by `base` and `wheels`. A folder in the cache is complete or absent: it is made under another
name and renamed at the end. Nothing in it is ever changed afterwards.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """`$AIDEPLOY_CACHE`, by default `~/.cache/aideploy`; made if it is not there."""
    named = os.environ.get("AIDEPLOY_CACHE")
    folder = Path(named) if named else Path.home() / ".cache" / "aideploy"
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def key_of(*parts: str) -> str:
    """A short name for exactly these parts in exactly this order."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def built_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """`folder`, made by `build` unless it is there already.

    Args:
        folder: where the result has to be.
        build: makes the folder at the path it is given, which does not exist yet.

    Two processes that want the same folder do not collide: the second waits for the first.
    """
    if folder.exists():
        return folder
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            unfinished = folder.with_name(f"{folder.name}.unfinished")
            if unfinished.exists():
                shutil.rmtree(unfinished)
            build(unfinished)
            unfinished.rename(folder)
    return folder


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock on `file`, waiting for it; it is let go even if this process is killed."""
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
