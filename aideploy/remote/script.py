"""What runs on a host: a real .sh file with its arguments, as one text.

The phases say which script and with which arguments; the session sends it. A value reaches the
shell as a positional argument, quoted here and nowhere else. Nothing in this module connects to
anything.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from importlib import resources

NO_LIMIT = timedelta(0)
TAIL_LINES = 20


@dataclass(frozen=True)
class Secret:
    """An argument whose value is never shown, logged or put into an argument list."""

    value: str = field(repr=False)


Argument = str | Secret


@cache
def source(name: str) -> str:
    """Return the text of `scripts/<name>.sh`."""
    return resources.files("aideploy.scripts").joinpath(f"{name}.sh").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Script:
    """A script of ours and its arguments.

    Args:
        name: the file in aideploy/scripts, without `.sh`.
        args: the positional arguments.
        libraries: files with functions that the script uses, put in front of it, by name.
        limit: it is ended, with its whole process group, after so long; zero means no limit.
        kept_lines: as many of the last lines of its output come back with the result.
    """

    name: str
    args: tuple[Argument, ...] = ()
    libraries: tuple[str, ...] = ()
    limit: timedelta = NO_LIMIT
    kept_lines: int = TAIL_LINES

    def text(self) -> str:
        """Return the shell text that runs: prelude, libraries, arguments, script."""
        values = (arg.value if isinstance(arg, Secret) else arg for arg in self.args)
        return self._compose(shlex.quote(value) for value in values)

    def bare_text(self) -> str:
        """Return the text without the prelude: libraries, arguments, script."""
        values = (arg.value if isinstance(arg, Secret) else arg for arg in self.args)
        arguments = f"set -- {shlex.join(values)}"
        return "\n".join([*map(source, self.libraries), arguments, source(self.name)])

    def standalone_text(self) -> str:
        """Return a whole program for the host to keep: libraries and `bare_text`, no marks."""
        return "\n".join(["#!/usr/bin/env bash", *map(source, self.libraries), self.bare_text()])

    def shown(self) -> str:
        """Return the same text without the prelude and with secrets masked, for people."""
        return "\n".join([self.shown_arguments(), source(self.name)])

    def shown_arguments(self) -> str:
        """Return the arguments alone, as `shown` has them."""
        words = ("'(secret)'" if isinstance(arg, Secret) else shlex.quote(arg) for arg in self.args)
        return f"set -- {' '.join(words)}"

    def _compose(self, words: Iterable[str]) -> str:
        parts = [source("prelude"), *map(source, self.libraries)]
        return "\n".join([*parts, f"set -- {' '.join(words)}", source(self.name)])
