"""`fab init`: a first hosts.toml, and a fabfile.py where there is none. Opens no connection.

It never overwrites anything but an empty file: a second `init` changes nothing and says what is
there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from aideploy.errors import AideployError, UsageError
from aideploy.settings.first_file import Found, first_file, look
from aideploy.settings.hosts import HostTable
from aideploy.settings.loading import FILE_NAME
from aideploy.settings.problems import problems_of

_FABFILE = '''\
"""What `fab` finds here: the tasks of aideploy, and those of your own that you add."""

import aideploy

ns = aideploy.namespace(__name__)
'''


@dataclass(frozen=True)
class FirstFiles:
    """What `init` wrote, and what for.

    Args:
        written: the files.
        found: what it found, one line each.
        missing: what a person has to put in, one line each.
        next_step: what to type then.
    """

    written: tuple[Path, ...]
    found: tuple[str, ...]
    missing: tuple[str, ...]
    next_step: str


def write_first_files(folder: Path, address: str | None) -> FirstFiles:
    """Write what a project needs to be deployed.

    Args:
        folder: of the project.
        address: of its first host; None leaves it to be put in later.

    Raises:
        UsageError: there is a hosts.toml already, or the address cannot be one.
    """
    if address is not None:
        _check(address)
    settings = folder / FILE_NAME
    found = look(folder)
    text = first_file(found, address)
    _write(settings, text)
    written = [settings]
    fabfile = _fabfile_of(folder)
    if fabfile is None:
        fabfile = folder / "fabfile.py"
        _write(fabfile, _FABFILE)
        written.append(fabfile)
    missing = tuple(_missing(found, settings, fabfile, address))
    return FirstFiles(
        tuple(written),
        tuple(_lines(found)),
        missing,
        "fab setup, then fab check and fab deploy",
    )


def _check(address: str) -> None:
    try:
        HostTable(address=address)
    except ValidationError as error:
        why = "\n".join(one.text for one in problems_of(HostTable, ("--address",), error))
        raise UsageError(f"{address!r} cannot be the address of a host", why=why) from None


def _write(path: Path, text: str) -> None:
    try:
        # One without a word in it, as `touch` makes, holds nothing that could be lost.
        blank = path.is_file() and not path.read_bytes().strip()
        with path.open("w" if blank else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(
            f"there is a {path.name} already; nothing was written",
            why=str(path),
            next_step="change it by hand, or move it away and run fab init again",
        ) from None
    except OSError as error:
        raise AideployError(f"{path} cannot be written", why=error.strerror or str(error)) from None


def _fabfile_of(folder: Path) -> Path | None:
    """The fabfile that `fab` would find from this folder."""
    places = (place for parent in (folder, *folder.parents) for place in _fabfiles(parent))
    return next((place for place in places if place.is_file()), None)


def _fabfiles(folder: Path) -> tuple[Path, Path]:
    return folder / "fabfile.py", folder / "fabfile" / "__init__.py"


def _lines(found: Found) -> Iterator[str]:
    yield f"the app {found.name}, in {found.repository or 'no git repository'}"
    if found.source == "push":
        yield "only this machine has the repository: it will send the commits to the hosts"
    for name, value in {
        "dependencies": ", ".join(found.requirements),
        "tests": found.test,
        "training": found.train,
        "metrics": found.judged_metric,
        "service": found.serve,
        "health check": found.health_path,
    }.items():
        yield f"{name}: {value or 'none'}"


def _missing(found: Found, settings: Path, fabfile: Path, address: str | None) -> Iterator[str]:
    text = settings.read_text(encoding="utf-8")
    if found.repository is None:
        yield f"{_place(settings, text, 'repository =')}: the address of your git repository"
    if found.train and found.judged_metric is None:
        yield f"{_place(settings, text, '[[gate]]')}: a metric of the model, and its least value"
    if found.serve is None:
        yield f"{_place(settings, text, '[serve]')}: how the service is started"
    if found.health_path is None:
        yield f"{_place(settings, text, '[health]')}: a path that the service answers with 200"
    if address is None:
        yield f"{_place(settings, text, '# address =')}: the address of a host"
    if "aideploy" not in fabfile.read_text(encoding="utf-8", errors="replace"):
        yield f"{fabfile}: the lines\n    import aideploy\n    ns = aideploy.namespace(__name__)"


def _place(path: Path, text: str, beginning: str) -> str:
    lines = text.splitlines()
    number = next(number for number, line in enumerate(lines, 1) if line.startswith(beginning))
    return f"{path.name}:{number}"
