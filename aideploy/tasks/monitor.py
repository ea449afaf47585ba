"""The collection `monitor`: the configuration of Prometheus and of those beside it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from fabric import task
from invoke.context import Context

from aideploy.tasks.common import OPTIONS, command, on_this_machine, options, read_settings
from aideploy.tasks.looking import show_facts

if TYPE_CHECKING:
    from aideploy.running import Run


@task(
    auto_shortflags=False,
    help={
        "to": "the folder to write to (default: monitoring)",
        "env": OPTIONS["env"],
        "config": OPTIONS["config"],
    },
)
def render(
    c: Context, to: str = "monitoring", env: str | None = None, config: str | None = None
) -> None:
    """Write what monitor.push would push into a folder here."""
    from pathlib import Path

    from aideploy.commands.monitor import render as write

    settings = read_settings(c, "monitor.render", env=env, config=config, only=None)
    with on_this_machine(c, "monitor.render"):
        for path in write(settings, Path(to).expanduser()):
            print(path)


@task(auto_shortflags=False, help=options())
def check(
    c: Context,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Compare the monitor hosts with hosts.toml.

    Changes nothing. Ends with status 3 when something is not as it should be.
    """
    from aideploy.commands.monitor import check as compare
    from aideploy.report.choose import Shown

    with _command(c, "check", env=env, config=config, only=only, shown=Shown.NOTHING) as run:
        show_facts(compare(run), json=json)


@task(auto_shortflags=False, help=options())
def push(
    c: Context,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Put rules and targets on the monitor hosts; load them.

    Checked there before anything is replaced; what does not load is taken back.
    """
    from aideploy.commands.monitor import push as put

    with _command(c, "push", env=env, config=config, only=only, json=json) as run:
        put(run)


def _command(c: Context, name: str, **options: Any) -> AbstractContextManager[Run]:
    """Run the body on the monitor hosts alone: the settings still know all hosts."""
    from aideploy.commands.monitor import monitor_settings

    return command(c, f"monitor.{name}", about=monitor_settings, **options)
