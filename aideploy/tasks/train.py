"""The collection `train`: training as a job that lives on when nobody is connected."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from fabric import task
from invoke.context import Context

from aideploy.tasks.common import (
    OPTIONS,
    command,
    on_this_machine,
    options,
    read_settings,
    time_span,
    whole_number,
)
from aideploy.tasks.looking import show_facts

if TYPE_CHECKING:
    from aideploy.running import Run

_JOB = "the beginning of the job's id (default: the one that runs, or else the newest)"


@task(
    auto_shortflags=False,
    help=options(
        revision="the branch, tag or commit to train (default: [app] branch)",
        wait_lock="wait for a lock that somebody else holds",
    ),
)
def submit(
    c: Context,
    revision: str | None = None,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    wait_lock: bool = False,
    json: bool = False,
) -> None:
    """Begin to train a revision, and do not wait for the end.

    Takes part in nothing else: what users are served does not change. A later deploy of the same
    revision waits for the job, or uses its model.
    """
    from aideploy.commands import training

    with _command(c, "submit", env=env, config=config, only=only, json=json) as run:
        training.submit(run, revision, wait_lock=wait_lock)


@task(auto_shortflags=False, help=options(job=_JOB))
def attach(
    c: Context,
    job: str | None = None,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Show a job's log until the job ends, and end as it does.

    Ctrl-C ends the watching, not the job.
    """
    from aideploy.commands import training

    with _command(c, "attach", env=env, config=config, only=only, json=json) as run:
        training.attach(run, job)


@task(auto_shortflags=False, help=options())
def status(
    c: Context,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Show the training jobs and how they are."""
    from aideploy.commands import training
    from aideploy.report.choose import Shown

    with _command(c, "status", env=env, config=config, only=only, shown=Shown.NOTHING) as run:
        show_facts(training.status(run), json=json)


@task(
    auto_shortflags=False,
    help=options(
        job=_JOB,
        lines="show at most so many lines (100)",
        attempt="the log of an earlier attempt, by its number (default: the last)",
    ),
)
def logs(
    c: Context,
    job: str | None = None,
    lines: str = "100",
    attempt: str | None = None,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Show what a job wrote last."""
    from aideploy.commands import training
    from aideploy.report.choose import Shown

    with _command(c, "logs", env=env, config=config, only=only, shown=Shown.NOTHING) as run:
        count = whole_number("--lines", lines, most=training.MOST_LINES)
        number = whole_number("--attempt", attempt, most=10_000) if attempt is not None else None
        show_facts(training.log(run, job, number, count), json=json)


@task(
    auto_shortflags=False,
    help=options(job="the beginning of the job's id (default: the one that runs)"),
)
def cancel(
    c: Context,
    job: str | None = None,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """End a job. Its log stays; no model is kept."""
    from aideploy.commands import training

    with _command(c, "cancel", env=env, config=config, only=only, json=json) as run:
        training.cancel(run, job)


@task(
    auto_shortflags=False,
    help={
        "env": OPTIONS["env"],
        "config": OPTIONS["config"],
        "write": "put the timer in place, for systemd --user on this machine",
    },
)
def schedule(
    c: Context, env: str | None = None, config: str | None = None, write: bool = False
) -> None:
    """Show the timer that trains anew, every [train] schedule.

    It deploys what is new, and nothing else.
    """
    import sys

    settings = read_settings(c, "train.schedule", env=env, config=config, only=None)
    with on_this_machine(c, "train.schedule"):
        from aideploy.commands import retraining
        from aideploy.report.output import Output

        for text in retraining.schedule(settings, write=write, config=config):
            Output(sys.stdout).line(text.rstrip("\n"))


@task(
    auto_shortflags=False,
    help={
        "env": OPTIONS["env"],
        "config": OPTIONS["config"],
        "bind": "the address to listen on (127.0.0.1)",
        "port": "the port to listen on (9099)",
        "token": "the name of the secret that callers have to know (AIDEPLOY_RETRAIN_TOKEN)",
        "pause": "so long after a deploy alerts start none (15m)",
    },
)
def listen(
    c: Context,
    env: str | None = None,
    config: str | None = None,
    bind: str = "127.0.0.1",
    port: str = "9099",
    token: str = "AIDEPLOY_RETRAIN_TOKEN",  # noqa: S107  # the name of one
    pause: str = "15m",
) -> None:
    """Train anew when Alertmanager posts an alert.

    It deploys what is new, and nothing else. Ctrl-C ends it.
    """
    settings = read_settings(c, "train.listen", env=env, config=config, only=None)
    with on_this_machine(c, "train.listen"):
        from aideploy.commands import retraining

        retraining.listen(
            settings,
            bind=bind,
            port=whole_number("--port", port, most=65535),
            token=token,
            pause=time_span("--pause", pause),
            config=config,
        )


def _command(c: Context, name: str, **options: Any) -> AbstractContextManager[Run]:
    """Run the body as one command, on the train hosts alone."""
    from aideploy.commands.training import training_only

    return command(c, f"train.{name}", about=training_only, **options)
