"""The collection `rollout`: see and steer a rollout from another terminal, or another machine.

A rollout is what a deploy does from its first switch to its confirmation. The one that runs hears
a request within a second while it watches, otherwise as soon as it does.
"""

from __future__ import annotations

from collections.abc import Callable

from fabric import task
from invoke.context import Context
from invoke.tasks import Task

from aideploy.tasks.common import command, options


def _asks(wish: str, does: str) -> Task[Callable[..., None]]:
    """Return the task that asks the rollout for this."""

    def request(
        c: Context,
        env: str | None = None,
        config: str | None = None,
        only: str | None = None,
        json: bool = False,
    ) -> None:
        from aideploy.commands.rollouts import steer
        from aideploy.phases.control import Wish

        with command(c, f"rollout.{wish}", env=env, config=config, only=only, json=json) as run:
            steer(run, Wish(wish))

    request.__doc__ = does
    made: Task[Callable[..., None]] = task(name=wish, auto_shortflags=False, help=options())(
        request
    )
    return made


pause = _asks(
    "pause",
    """Let a rollout wait before its next batch.

    The hosts that have switched are still watched, and all go back if they are not well. In the
    last batch it waits before it is confirmed.
    """,
)
resume = _asks("resume", "Let a paused rollout go on.")
promote = _asks(
    "promote",
    """Go on without bake times and pauses, and finish.

    One that is held is taken up again: the hosts that do not serve the release yet switch to it.
    """,
)
abort = _asks(
    "abort",
    """Take every host of a rollout back to what it served.

    The deploy that is aborted ends with status 5.
    """,
)


@task(auto_shortflags=False, help=options())
def status(
    c: Context,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Show the rollout under way: who, what, which batch."""
    from aideploy.commands.rollouts import rollout_status
    from aideploy.report.choose import Shown
    from aideploy.tasks.looking import show_facts

    with command(
        c, "rollout.status", env=env, config=config, only=only, shown=Shown.NOTHING
    ) as run:
        show_facts(rollout_status(run), json=json)
