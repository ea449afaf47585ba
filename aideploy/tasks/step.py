"""The collection `step`: the phases of a deploy one by one.

Some go from the beginning up to a phase and leave traffic alone; the others touch what
is staged or live. Every deploy is made of the same phases, so whatever they built is found again.
"""

from __future__ import annotations

from collections.abc import Callable

from fabric import task
from invoke.context import Context
from invoke.tasks import Task

from aideploy.tasks.common import NO_GATE, command, options

# Their names, not `Phase` itself: importing the events is too slow for a mere --list.
_BEFORE_SWITCH = (
    *("open", "fetch", "review", "install", "test"),
    *("train", "evaluate", "distribute", "stage"),
)
_DEPLOY_OPTIONS = {
    "revision": "the branch, tag or commit to take (default: [app] branch)",
    "wait_lock": "wait for a lock that somebody else holds",
}


def _up_to(last: str, does: str) -> Task[Callable[..., None]]:
    """Return the task that runs the phases of a deploy up to this one."""

    def step(
        c: Context,
        revision: str | None = None,
        env: str | None = None,
        config: str | None = None,
        only: str | None = None,
        wait_lock: bool = False,
        json: bool = False,
    ) -> None:
        from aideploy.commands.step import prepare
        from aideploy.events import Phase

        with command(c, f"step.{last}", env=env, config=config, only=only, json=json) as run:
            prepare(run, Phase(last), revision, wait_lock=wait_lock)

    return _made(step, last, does)


def _past_gate(last: str, does: str) -> Task[Callable[..., None]]:
    """Return the task that runs the phases of a deploy up to this one, behind the model gate."""

    def step(
        c: Context,
        revision: str | None = None,
        env: str | None = None,
        config: str | None = None,
        only: str | None = None,
        no_gate: bool = False,
        wait_lock: bool = False,
        json: bool = False,
    ) -> None:
        from aideploy.commands.step import prepare
        from aideploy.events import Phase

        with command(c, f"step.{last}", env=env, config=config, only=only, json=json) as run:
            prepare(run, Phase(last), revision, wait_lock=wait_lock, no_gate=no_gate)

    return _made(step, last, does, no_gate=NO_GATE)


def _made(
    step: Callable[..., None], last: str, does: str, **more: str
) -> Task[Callable[..., None]]:
    phases = ", ".join(_BEFORE_SWITCH[: _BEFORE_SWITCH.index(last) + 1])
    step.__doc__ = f"""{does}

    Runs these phases and stops: {phases}.
    What users are served does not change. A later deploy fetches and builds nothing again that is
    on the hosts by then.
    """
    made: Task[Callable[..., None]] = task(
        name=last, auto_shortflags=False, help=options(**_DEPLOY_OPTIONS, **more)
    )(step)
    return made


fetch = _up_to("fetch", "Unpack the commit on every host, and stop there.")
review = _up_to("review", "Up to review: is it approved, are its checks green?")
install = _up_to("install", "Up to install: build the environment, or find it.")
test = _up_to("test", "Up to test: run the project's own tests.")
train = _up_to("train", "Up to train: make the model.")
distribute = _past_gate("distribute", "Up to distribute: put the model on the serve hosts.")
stage = _past_gate("stage", "Up to stage: prove the release beside what is live.")


@task(
    auto_shortflags=False,
    help=options(
        **_DEPLOY_OPTIONS,
        markdown="write the verdict to this file, for a pull request",
    ),
)
def evaluate(
    c: Context,
    revision: str | None = None,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    markdown: str | None = None,
    wait_lock: bool = False,
    json: bool = False,
) -> None:
    """Up to evaluate: does the model pass the model gate?

    Ends with status 4 when it does not. What users are served does not change. The verdict stands
    beside the log as Markdown, too.
    """
    from pathlib import Path

    from aideploy.commands.step import prepare
    from aideploy.events import Phase
    from aideploy.report.verdict_file import VerdictFile

    with command(c, "step.evaluate", env=env, config=config, only=only, json=json) as run:
        if markdown is not None:
            run.events.subscribe(VerdictFile(Path(markdown)))
        prepare(run, Phase.EVALUATE, revision, wait_lock=wait_lock)


@task(
    name="open",
    auto_shortflags=False,
    help=options(wait_lock="wait for a lock that somebody else holds"),
)
def look_around(
    c: Context,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    wait_lock: bool = False,
    json: bool = False,
) -> None:
    """Connect, lock, look around: could a deploy begin?

    Nothing on the hosts changes, and the locks are free again when it ends.
    """
    from aideploy.commands.step import prepare
    from aideploy.events import Phase

    with command(c, "step.open", env=env, config=config, only=only, json=json) as run:
        prepare(run, Phase.OPEN, None, wait_lock=wait_lock)


@task(
    auto_shortflags=False,
    help=options(wait_lock="wait for a lock that somebody else holds"),
)
def switch(
    c: Context,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    wait_lock: bool = False,
    json: bool = False,
) -> None:
    """Put live what step.stage prepared: switch, watch, finish.

    Takes the newest release that is staged on every serve host and newer than what is live. If one
    host is not well with it, all go back, as in a deploy.
    """
    from aideploy.commands.step import put_live

    with command(c, "step.switch", env=env, config=config, only=only, json=json) as run:
        put_live(run, wait_lock=wait_lock)


@task(auto_shortflags=False, help=options())
def watch(
    c: Context,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Watch what is live for the bake time. Changes nothing.

    Ends with status 3 when a service was not well, and says which; it takes nothing back.
    """
    from aideploy.commands.step import watch_live

    with command(c, "step.watch", env=env, config=config, only=only, json=json) as run:
        watch_live(run)


@task(
    auto_shortflags=False,
    help=options(wait_lock="wait for a lock that somebody else holds"),
)
def finish(
    c: Context,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    wait_lock: bool = False,
    json: bool = False,
) -> None:
    """Delete the releases and models that nothing needs.

    What is live stays, [app] keep_releases good releases, and what was staged last; so do the
    environments and models that these use.
    """
    from aideploy.commands.step import make_room

    with command(c, "step.finish", env=env, config=config, only=only, json=json) as run:
        make_room(run, wait_lock=wait_lock)
