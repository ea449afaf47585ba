"""The collection `golden`: recorded requests that every release has to answer as expected."""

from __future__ import annotations

import sys

from fabric import task
from invoke.context import Context

from aideploy.tasks.common import command, options, whole_number


def _agrees(what: str) -> bool:
    """Ask, where there is somebody to ask; elsewhere --yes has to be said."""
    return sys.stdin.isatty() and input(f"{what}. Write it? [y/N] ").strip().lower() in ("y", "yes")


@task(
    auto_shortflags=False,
    help=options(
        requests="a file of requests, one a line (default: those of the golden file)",
        count="take so many of them (default: all)",
        out="the file to write (default: the golden file in the checkout)",
        yes="replace the file without asking",
    ),
)
def record(
    c: Context,
    requests: str | None = None,
    count: str | None = None,
    out: str | None = None,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    yes: bool = False,
    json: bool = False,
) -> None:
    """Record what the live release answers as golden answers.

    Puts the requests to the live service of the first serving host and writes them with its answers
    to the golden file. Tolerances that stand there are kept. Nothing on the hosts changes.
    """
    from pathlib import Path

    from aideploy.commands.golden import MOST_REQUESTS, record_answers

    with command(c, "golden.record", env=env, config=config, only=only, json=json) as run:
        record_answers(
            run,
            requests=Path(requests).expanduser() if requests else None,
            count=whole_number("--count", count, most=MOST_REQUESTS) if count else MOST_REQUESTS,
            out=Path(out).expanduser() if out else None,
            confirm=_agrees if not yes else lambda _: True,
        )
