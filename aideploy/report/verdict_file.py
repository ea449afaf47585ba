"""The verdict of the model gate as a Markdown file: beside each log, and where a user wants it."""

from __future__ import annotations

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
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            why = "it is a folder" if path.is_dir() else "its folder is not there, or not writable"
            raise UsageError(f"the file {path} cannot be written", why=why)
        self._path = path

    def __call__(self, event: Event) -> None:
        if not isinstance(event, Evaluated):
            return
        new = self._path.with_name(f"{self._path.name}.new.{os.getpid()}")
        try:
            new.write_text(markdown(event), encoding="utf-8")
            new.replace(self._path)
        finally:
            new.unlink(missing_ok=True)
