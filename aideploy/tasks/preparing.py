"""The tasks around a first deploy: setup, and hosts to try things out with."""

from __future__ import annotations

from pathlib import Path

from fabric import task
from invoke.context import Context

from aideploy.tasks.common import command, on_this_machine, options


@task(
    auto_shortflags=False,
    help=options(wait_lock="wait for a lock that somebody else holds"),
)
def setup(
    c: Context,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
    wait_lock: bool = False,
) -> None:
    """Make the hosts ready to be deployed to. Safe to repeat."""
    from aideploy.commands.set_up import set_up_hosts

    with command(c, "setup", env=env, config=config, only=only, json=json) as run:
        set_up_hosts(run, wait_lock=wait_lock)


@task(
    auto_shortflags=False,
    help={"address": "the first host: a name, an IP address or an alias of ~/.ssh/config"},
)
def init(c: Context, address: str | None = None) -> None:
    """Write a first hosts.toml for the project in this folder."""
    with on_this_machine(c, "init"):
        from aideploy.commands.init import write_first_files

        first = write_first_files(Path.cwd(), address)
        print(f"Wrote {' and '.join(path.name for path in first.written)}. Found here:")
        for line in first.found:
            print(f"  {line}")
        if first.missing:
            print("Put in:")
        for line in first.missing:
            print(f"  {line}")
        print(f"Next: {first.next_step}")


@task(auto_shortflags=False, help={"output": "write it to this file instead of the screen"})
def schema(c: Context, output: str | None = None) -> None:
    """Print the JSON Schema of hosts.toml, for editors."""
    with on_this_machine(c, "schema"):
        from aideploy.commands.schema import print_schema

        print_schema(Path(output) if output is not None else None)
