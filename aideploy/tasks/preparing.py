"""The tasks around a first deploy: setup, and hosts to try things out with."""

from __future__ import annotations

from fabric import task
from invoke.context import Context

from aideploy.tasks.common import command, options


@task(auto_shortflags=False, help=options())
def setup(
    c: Context,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Make the hosts ready: folders, the service's user, its unit and rights. Safe to repeat."""
    from aideploy.commands.set_up import set_up_hosts

    with command(c, "setup", env=env, config=config, only=only, json=json) as run:
        set_up_hosts(run)
