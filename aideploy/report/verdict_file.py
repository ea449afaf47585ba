"""The verdict of the model gate as a Markdown file: beside each log, and where a user wants it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from aideploy.errors import UsageError
from aideploy.events import Evaluated, Event
from aideploy.report.verdict import markdown


def beside(log: Path) -> Path:
    """Return the place of the verdict that belongs to a log."""
    return log.with_suffix(".gate.md")


class VerdictFile:
    """Writes the verdict when it is there; a file that is there already is replaced as a whole.

    Raises:
        UsageError: the file cannot be written. Nothing has been touched then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new = path.with_name(f"{path.name or 'verdict'}.new.{os.getpid()}")
        try:
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            self._new.touch()
            self._new.unlink()
        except (OSError, ValueError) as error:
            raise UsageError(f"the file {path} cannot be written", why=str(error)) from None

    def __call__(self, event: Event) -> None:
        if not isinstance(event, Evaluated):
            return
        try:
            self._new.write_text(markdown(event), encoding="utf-8")
            self._new.replace(self._path)
        finally:
            self._new.unlink(missing_ok=True)
