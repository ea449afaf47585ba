"""Run a script of ours as the session would, in a bash of its own, without a session."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from aideploy.remote.result import Result
from aideploy.remote.script import Script, source
from aideploy.remote.stream import Demultiplexer, Line, Mark, unescape

TOKEN = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Calls(Script):
    """A script whose text is not in a file: calls of the functions of libraries."""

    body: str = ""

    def text(self) -> str:
        return "\n".join([source("prelude"), *map(source, self.libraries), self.body])


@dataclass(frozen=True)
class Ran:
    """How a script ended, what it emitted and what was printed meanwhile."""

    status: int
    result: Result
    lines: tuple[str, ...]

    @property
    def code(self) -> str:
        """The word it gave to `fail`."""
        return self.result.text("fail.code")

    @property
    def message(self) -> str:
        """What it told `fail` for people."""
        return self.result.text("fail.message")

    @property
    def output(self) -> str:
        """All that was printed."""
        return "\n".join(self.lines)


def run(script: Script, *, before: str = "", environment: Mapping[str, str] | None = None) -> Ran:
    """Run the script and return what came of it.

    Args:
        script: what to run.
        before: shell that stands in front of it, such as functions it expects.
        environment: variables to add.
    """
    text = script.text()
    if before:
        head, separator, tail = text.rpartition("\nset -- ")
        text = f"{head}\n{before}{separator}{tail}"
    return _run(script.name, text, {**os.environ, **(environment or {})})


def run_bare(script: Script, environment: Mapping[str, str]) -> Ran:
    """Run the script in nothing but this environment, as systemd would; see `run`."""
    return _run(script.name, script.text(), environment)


def _run(name: str, text: str, environment: Mapping[str, str]) -> Ran:
    done = subprocess.run(
        ["bash", "--norc", "-c", f"mark_token={TOKEN}\n{text}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        timeout=120,
    )
    stream = Demultiplexer()
    items = [
        *stream.feed(f"\x1eaideploy {TOKEN}\n".encode()),
        *stream.feed(done.stdout),
        *stream.flush(),
    ]
    parts: dict[str, str] = {}
    facts = []
    for item in items:
        if isinstance(item, Mark) and item.kind in ("part", "emit"):
            key, _, value = item.rest.partition(" ")
            parts[key] = parts.get(key, "") + value
            if item.kind == "emit":
                facts.append((key, unescape(parts.pop(key))))
    lines = tuple(item.text for item in items if isinstance(item, Line))
    return Ran(done.returncode, Result(name, tuple(facts), lines[-20:]), lines)
