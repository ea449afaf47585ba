"""Files that a command leaves on this machine, where a person said so."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from aideploy.errors import UsageError


def replace(path: Path, text: str) -> None:
    """Put the text there in one step: whoever reads it meanwhile finds the old file or the new one.

    Raises:
        UsageError: it cannot be written; the old file is as it was.
    """
    path = path.resolve()
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with new.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            new.chmod(path.stat().st_mode & 0o777)
        new.replace(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be written", why=str(error)) from None
    finally:
        # Where its folder is none, there is nothing to remove either.
        with suppress(OSError):
            new.unlink()
