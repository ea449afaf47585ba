"""Programs of this machine that the lab calls."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence


def run(command: Sequence[str], text: str = "", env: Mapping[str, str] | None = None) -> str:
    """Run a program to its end and return its output.

    Args:
        command: it and its arguments.
        text: what it reads.
        env: its variables; ours by default.

    Raises:
        RuntimeError: it ended badly.
    """
    ran = subprocess.run(command, input=text, env=env, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}:\n{text}{ran.stdout}{ran.stderr}")
    return ran.stdout
