"""The file hosts.toml as TOML sees it, before anybody asks what it means.

`loading` reads it from here. Whatever keeps a file from being read, or from being TOML, becomes a
`SettingsError` that says so.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aideploy.errors import SettingsError
from aideploy.settings import positions

CORRECT = "correct the file and run the same command again"
_FIRST_FILE = "write a first one with: fab init"
_LARGEST = 2**20


@dataclass(frozen=True)
class Document:
    """The file as TOML sees it, with the line of each key."""

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[positions.Path, int]

    @property
    def environments(self) -> Mapping[str, Any]:
        """What stands under [environments], if that is a table."""
        return table(self.values, "environments")

    def line(self, path: positions.Path) -> int:
        """The line of a key; of what holds it, when it is missing itself."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(path: Path) -> Document:
    """Read the file.

    Raises:
        SettingsError: it cannot be read, or is no TOML.
    """
    text = _text(path)
    try:
        values = tomllib.loads(text)
        return Document(path, values, positions.positions(text))
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(path, str(error)) from None
    except RecursionError:
        raise _no_toml(path, "lists or tables are nested too deeply") from None
    except ValueError as error:
        # A number with thousands of digits, or a date that no calendar has.
        raise _no_toml(path, str(error)) from None


def _no_toml(path: Path, why: str) -> SettingsError:
    place = re.search(r" \(at line (\d+), column (\d+)\)$", why)
    where = f"{path}:{place[1]}:{place[2]}" if place else f"{path}"
    return SettingsError(
        f"{path} is not valid TOML",
        problems=(f"{where}: {why[: place.start()] if place else why}",),
        next_step=CORRECT,
    )


def _text(path: Path) -> str:
    """The text of the file; what an editor puts first to mark UTF-8 is left out."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise SettingsError(f"there is no file {path}", next_step=_FIRST_FILE) from None
    except IsADirectoryError:
        raise SettingsError(f"{path} is a folder", next_step="name the file in it") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SettingsError(
            f"{str(path)!r} cannot be read",
            problems=(f"{reason}",),
            next_step="check the path and who may read it",
        ) from None
    if not content.strip():
        raise SettingsError(f"{path} is empty", next_step=_FIRST_FILE)
    if b"\0" in content:
        raise SettingsError(f"{path} is a binary file", next_step=_FIRST_FILE)
    if len(content) > _LARGEST:
        raise SettingsError(f"{path} is larger than 1 MiB", next_step=_FIRST_FILE)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            f"{path} is not UTF-8 text",
            problems=(f"{path}:{line}: found the byte 0x{content[error.start]:02x}",),
            next_step="save the file as UTF-8",
        ) from None


def table(values: object, name: str) -> Mapping[str, Any]:
    """The table of this name; an empty one, if there is none or it is something else."""
    inner = values.get(name) if isinstance(values, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}
