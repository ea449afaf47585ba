"""`aideploy.deployment(…)`: the phases as plain calls, for people who compose a flow of their own.

Their tasks call it; `fab deploy` does not. It opens the hosts, hands out the story, and sees to it
that however the body is left no host stays switched that nobody confirmed. Imported with the
package, so nothing heavy is imported at the top.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from invoke.context import Context

if TYPE_CHECKING:
    from aideploy.running import Run
    from aideploy.story import Deployment


@contextmanager
def deployment(
    c: Context | None = None,
    *,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    wait_lock: bool = False,
    no_gate: bool = False,
    command: str = "deploy",
) -> Iterator[Deployment]:
    """Open the hosts of an environment and hand out a deployment whose phases the body calls.

    The locks are held until the body is left. A body that is left without `rollout()` changes
    nothing that users see, and one that is left between `switch()` and `finish()` takes every host
    back.

    Args:
        c: the context of the task, with what `fab` was told about SSH.
        env: the environment of hosts.toml; may be left out where it has one, or a default.
        config: the settings file; None for hosts.toml here or in the nearest folder above.
        only: take these hosts and no others: "HOST,HOST".
        wait_lock: wait for a lock that somebody else holds.
        no_gate: let a model pass that the model gate did not bless; the journal keeps it.
        command: the name of the flow, for the log and for those who find the lock taken.

    Raises:
        invoke.exceptions.Exit: with the exit status, when something of ours went wrong in the body
            or before it; everything there is to say was said. What the body raises by itself
            comes out as it is.
    """
    from aideploy.report.github_deployment import show_on_github
    from aideploy.report.notices import send_notices
    from aideploy.running import running
    from aideploy.story import Deployment
    from aideploy.tasks.common import read_settings

    settings = read_settings(c, command, env=env, config=config, only=only)
    with running(command, settings, config=c.config if c is not None else None) as run:
        show_on_github(run)
        send_notices(run)
        story = Deployment(run.settings, run.fleet, run.events, who=run.who, no_gate=no_gate)
        with _nothing_half_done(story, run):
            story.require_review()
            story.open(wait_lock=wait_lock)
            yield story


@contextmanager
def _nothing_half_done(story: Deployment, run: Run) -> Iterator[None]:
    """Take back, when the body is left, what it switched and did not finish."""
    from aideploy.errors import AideployError, Interrupted, NeedsPerson, RolledBack

    try:
        yield
        if story.is_unconfirmed:
            raise RolledBack("left after switch() without finish()")
    except AideployError as error:
        told = story.withdraw(error)
        if told is error:
            raise
        raise told from error
    except KeyboardInterrupt:
        raise story.withdraw(Interrupted("interrupted; nothing was switched")) from None
    except BaseException as error:
        told = story.withdraw(AideployError(f"{type(error).__name__}: {error}"))
        if isinstance(told, NeedsPerson):
            raise told from error
        raise
    finally:
        run.hosts = story.states
    run.headline = (
        f"{story.release} is live" if story.is_live else "left without a rollout; nothing changed"
    )
