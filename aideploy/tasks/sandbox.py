"""The collection `sandbox`: hosts on this machine, to try things out with."""

from __future__ import annotations

from fabric import task
from invoke.context import Context

from aideploy.tasks.common import OPTIONS, on_this_machine, whole_number

_CONFIG = {"config": OPTIONS["config"]}


@task(
    auto_shortflags=False,
    help={
        **_CONFIG,
        "count": "how many hosts (3)",
        "write": "write the hosts into hosts.toml, as the environment sandbox",
    },
)
def up(c: Context, count: str = "3", config: str | None = None, write: bool = False) -> None:
    """Bring hosts up on this machine to try things out with."""
    with on_this_machine(c, "sandbox.up"):
        from aideploy.commands.sandbox import bring_up
        from aideploy.sandbox.lifecycle import MOST_HOSTS

        bring_up(config, whole_number("--count", count, most=MOST_HOSTS), write=write)


@task(auto_shortflags=False, help={**_CONFIG, "json": OPTIONS["json"]})
def status(c: Context, config: str | None = None, json: bool = False) -> None:
    """Show the hosts of the sandbox and how they are."""
    with on_this_machine(c, "sandbox.status"):
        from aideploy.commands.sandbox import print_status

        print_status(config, json=json)


@task(auto_shortflags=False, help=_CONFIG)
def down(c: Context, config: str | None = None) -> None:
    """End the sandbox and all that runs in it; files stay."""
    with on_this_machine(c, "sandbox.down"):
        from aideploy.commands.sandbox import take_down

        take_down(config)
