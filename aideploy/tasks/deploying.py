"""The tasks that change what hosts run: deploy and rollback."""

from __future__ import annotations

import sys

from fabric import task
from invoke.context import Context

from aideploy.tasks.common import NO_GATE, command, options


def _agrees(what: str) -> bool:
    """Ask, where there is somebody to ask; elsewhere what was typed is what is meant."""
    if not sys.stdin.isatty():
        return True
    return input(f"{what}. Deploy it? [y/N] ").strip().lower() in ("y", "yes")


@task(
    auto_shortflags=False,
    help=options(
        revision="the branch, tag or commit to deploy (default: [app] branch)",
        if_new="end after the training where commit and model were live before",
        dry_run="show what would happen, and change nothing",
        no_review="leave [review] out, for this reason; the journals keep it",
        no_gate=NO_GATE,
        wait_lock="wait for a lock that somebody else holds",
        yes="ask nothing",
    ),
)
def deploy(
    c: Context,
    revision: str | None = None,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    if_new: bool = False,
    dry_run: bool = False,
    no_review: str | None = None,
    no_gate: bool = False,
    wait_lock: bool = False,
    yes: bool = False,
    json: bool = False,
) -> None:
    """Put a revision live: train it, prove it, switch, watch."""
    from aideploy.gates.review import waived
    from aideploy.report.github_deployment import show_on_github
    from aideploy.report.notices import send_notices
    from aideploy.report.wording import host_count
    from aideploy.settings import Role
    from aideploy.story import Deployment
    from aideploy.tasks.looking import show_plan

    if dry_run:
        show_plan(c, revision, scripts=False, env=env, config=config, only=only, json=json)
        return
    with command(c, "deploy", env=env, config=config, only=only, json=json) as run:
        show_on_github(run)
        send_notices(run)
        deployment = Deployment(
            run.settings,
            run.fleet,
            run.events,
            who=run.who,
            no_gate=no_gate,
            waiver=waived(no_review),
        )
        try:
            release = deployment.run(
                revision,
                wait_lock=wait_lock,
                only_new=if_new,
                confirm=_agrees if not yes else lambda _: True,
            )
        finally:
            run.hosts = deployment.states
        if deployment.nothing_new:
            run.headline = deployment.nothing_new
            return
        serving = len(run.settings.with_role(Role.SERVE))
        run.headline = (
            f"{release} is live on {host_count(serving)}"
            if serving
            else f"{release} is trained; no host serves it"
        )


@task(
    auto_shortflags=False,
    help=options(
        to="the release to go to (default: the last good one before what is live)",
        wait_lock="wait for a lock that somebody else holds",
    ),
)
def rollback(
    c: Context,
    to: str | None = None,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    wait_lock: bool = False,
    json: bool = False,
) -> None:
    """Go back to the last good release, on every host, at once."""
    from aideploy.commands.rollback import roll_back
    from aideploy.report.github_deployment import show_on_github
    from aideploy.report.notices import send_notices

    with command(c, "rollback", env=env, config=config, only=only, json=json) as run:
        show_on_github(run)
        send_notices(run)
        roll_back(run, to, wait_lock=wait_lock)
