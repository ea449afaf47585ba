"""What all tasks share: their common options and the way from a command line to settings.

Imported when `fab` lists its tasks, so nothing heavy is imported at the top: every room is
imported by the function that needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.exceptions import Exit

from aideploy.errors import AideployError, ExitStatus, UsageError

if TYPE_CHECKING:
    from aideploy.report.choose import Shown
    from aideploy.running import Run
    from aideploy.settings import Settings

OPTIONS = {
    "env": "the environment of hosts.toml, where it has more than one",
    "config": "the settings file (default: hosts.toml here or in the nearest folder above)",
    "only": "take these hosts and no others: HOST,HOST",
    "json": "print the facts as JSON on standard output",
}

RELEASE = 'a release: its id or the beginning of its commit, "current" or "previous"'
MARKDOWN = "print the facts as Markdown on standard output"

NO_GATE = "deploy a model that the model gate refused, or that none judged"


def options(**more: str) -> dict[str, str]:
    """Return the help of the common options and of these."""
    return {**OPTIONS, **more}


def read_settings(
    c: Context | None, task: str, *, env: str | None, config: str | None, only: str | None
) -> Settings:
    """Return the settings that the command line asks for, or leave with what is wrong with them.

    Args:
        c: the context that Invoke gave the task; None outside of a task.
        task: the name of the task, for what to type instead.
        env, config, only: as typed.
    """
    from aideploy.running import complain
    from aideploy.settings import load
    from aideploy.settings.loading import find

    _refuse_connection(c, task)
    try:
        settings = load(find(config), env)
        return settings.only(_names(only)) if only is not None else settings
    except AideployError as error:
        raise complain(error) from None
    except KeyboardInterrupt:
        raise Exit("interrupted; nothing was begun", code=ExitStatus.INTERRUPTED) from None


@contextmanager
def on_this_machine(c: Context, task: str) -> Iterator[None]:
    """Run the body of a task that opens no session; an error of ours becomes its exit status."""
    from aideploy.running import complain

    if _is_connection(c):
        text = f"fab {task} works on this machine: leave out -H, --hosts"
        raise Exit(text, code=ExitStatus.USAGE)
    try:
        yield
    except AideployError as error:
        raise complain(error) from None
    except KeyboardInterrupt:
        raise Exit("interrupted", code=ExitStatus.INTERRUPTED) from None


@contextmanager
def command(
    c: Context,
    task: str,
    *,
    env: str | None,
    config: str | None,
    only: str | None,
    json: bool = False,
    shown: Shown | None = None,
    about: Callable[[Settings], Settings] | None = None,
) -> Iterator[Run]:
    """Run the body as one command with these options; see `aideploy.running.running`.

    Args:
        c: the context that Invoke gave the task.
        task: its name.
        env, config, only, json: as typed.
        shown: see `running`.
        about: takes what the command is about from the settings; it may refuse.
    """
    from aideploy.running import complain, running

    settings = read_settings(c, task, env=env, config=config, only=only)
    try:
        settings = about(settings) if about else settings
    except AideployError as error:
        raise complain(error) from None
    with running(task, settings, config=c.config, json=json, shown=shown) as run:
        yield run


def whole_number(option: str, text: str, *, most: int) -> int:
    """Return the number from 1 to `most` that was typed; Invoke would show a traceback for others.

    Raises:
        UsageError: it is none.
    """
    if text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= most:
        return int(text)
    raise UsageError(f"{option} takes a whole number from 1 to {most}, not {text!r}")


def time_span(option: str, text: str) -> timedelta:
    """Return the length of time that was typed, as hosts.toml has them.

    Raises:
        UsageError: it is none.
    """
    from aideploy.settings.values import duration

    try:
        return duration(text)
    except ValueError as error:
        raise UsageError(f"{option} takes {error}, not {text!r}") from None


def _names(only: str) -> list[str]:
    return [name for name in (part.strip() for part in only.split(",")) if name]


def _refuse_connection(c: Any, task: str) -> None:
    """`fab -H HOST task` would run it once for each host, one after the other: say what to type."""
    from fabric.main import program

    if _is_connection(c):
        # The connection knows only the first of several hosts; `fab` itself, where it runs, all.
        named = program.args.hosts.value if hasattr(program, "core") else None
        raise Exit(
            f"aideploy takes its hosts from hosts.toml. Instead of -H type:\n"
            f"    fab {task} --only {named or c.original_host}",
            code=ExitStatus.USAGE,
        )


def _is_connection(c: Any) -> bool:
    import fabric

    return isinstance(c, fabric.Connection)
