"""The tasks for the hands: run a command everywhere, lock on purpose and unlock."""

from __future__ import annotations

from fabric import task
from invoke.context import Context

from aideploy.tasks.common import command, options


@task(
    name="exec",
    auto_shortflags=False,
    positional=["shell_command"],
    help=options(shell_command="what to run, in quotes"),
)
def exec_(
    c: Context,
    shell_command: str,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Run a command on every host, where the live release lies.

    The environment is the release's own too. Ends with status 3 when it fails somewhere.
    """
    from aideploy.commands.execute import execute
    from aideploy.report.choose import Shown
    from aideploy.report.facts import print_json

    shown = Shown.NOTHING if json else Shown.OUTPUT
    with command(c, "exec", env=env, config=config, only=only, shown=shown) as run:
        found = execute(run, shell_command)
        if json:
            print_json(found)


@task(
    auto_shortflags=False,
    positional=["reason"],
    help=options(reason="why, for those who find it locked"),
)
def lock(
    c: Context,
    reason: str,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Keep everybody from deploying, for a reason, until unlock."""
    from aideploy.commands.locking import lock as hold

    with command(c, "lock", env=env, config=config, only=only, json=json) as run:
        hold(run, reason)


@task(auto_shortflags=False, help=options())
def unlock(
    c: Context,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Take back what lock did, and say whose it was and why."""
    from aideploy.commands.locking import unlock as free

    with command(c, "unlock", env=env, config=config, only=only, json=json) as run:
        free(run)
