"""Calls of our shell functions, and scripts without a session: what tests of .sh files share."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from aideploy.remote.result import Result
from aideploy.remote.script import Script, source
from aideploy.remote.stream import unescape

TOKEN = "0123456789abcdef"


@dataclass(frozen=True)
class Calls(Script):
    """A script whose text is not in a file: calls of the functions of libraries."""

    body: str = ""

    def text(self) -> str:
        return "\n".join([source("prelude"), *map(source, self.libraries), self.body])


@dataclass(frozen=True)
class Ran:
    """How a script ended here: its status, what it printed, what it emitted."""

    status: int
    output: str
    result: Result

    @property
    def failure(self) -> tuple[str, str]:
        """The code and the message that it gave to `fail`."""
        return self.result.text("fail.code"), self.result.text("fail.message")


def run(script: Script, environment: Mapping[str, str]) -> Ran:
    """Run the script on this machine, in nothing but this environment."""
    ran = subprocess.run(
        ["bash", "-c", f"mark_token={TOKEN}\n{script.text()}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        timeout=60,
        check=False,
    )
    facts: list[tuple[str, str]] = []
    parts: dict[str, str] = {}
    output = []
    for line in ran.stdout.decode(errors="replace").removesuffix("\n").split("\n"):
        if not line.startswith(f"\x1e{TOKEN} "):
            output.append(line)
            continue
        kind, _, rest = line.partition(" ")[2].partition(" ")
        key, _, value = rest.partition(" ")
        if kind == "part":
            parts[key] = parts.get(key, "") + value
        elif kind == "emit":
            facts.append((key, unescape(parts.pop(key, "") + value)))
    return Ran(ran.returncode, "\n".join(output), Result(script.name, tuple(facts)))
