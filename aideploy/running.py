"""One command from its beginning to its last word.

Every task goes through here: it makes the event stream with its readers, opens the fleet, and
turns whatever goes wrong into the last words on the screen and an exit status. No traceback for
anything that a user can cause.
"""

from __future__ import annotations

import getpass
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import fabric
from invoke.exceptions import Exit

from aideploy.errors import AideployError, ExitStatus, Interrupted
from aideploy.events import Events, Failure, HostState, RunFinished, RunStarted
from aideploy.remote.fleet import Fleet
from aideploy.report.next_command import typed

if TYPE_CHECKING:
    from aideploy.report.choose import Shown
    from aideploy.settings import Settings


@dataclass
class Run:
    """A command that is under way.

    Args:
        settings: of the environment; only the chosen hosts.
        fleet: not yet open.
        events: where everything is told.
        who: user@machine of whoever asked for it.
        headline: the last word when all goes well; the command fills it in.
        hosts: the state that each host is in at the end; the command fills it in.
        next_step: what to type next when all goes well.
        command: its name.
        failure: how it ends although the body came to its end: it did what it could.
    """

    settings: Settings
    fleet: Fleet
    events: Events
    who: str
    headline: str = "done"
    hosts: tuple[HostState, ...] = ()
    next_step: str = ""
    failure: AideployError | None = None
    command: str = ""


@contextmanager
def running(
    command: str,
    settings: Settings,
    *,
    config: fabric.Config | None = None,
    json: bool = False,
    shown: Shown | None = None,
) -> Iterator[Run]:
    """Run the body as one command.

    Args:
        command: its name, for the log and the lock.
        settings: of the environment.
        config: Fabric's configuration, with what `fab` was told about SSH.
        json: whether the result goes to standard output as JSON.
        shown: what people see while all is well; by default how it goes. Only then a log is kept.

    Raises:
        invoke.exceptions.Exit: with the exit status, when the body failed; everything
            there is to say was said.
    """
    from aideploy.report.choose import Shown, quiet_readers, readers
    from aideploy.report.grafana_annotation import show_on_grafana
    from aideploy.report.log_file import log_path

    log = None
    try:
        if shown is None or shown is Shown.PROGRESS:
            log = log_path(settings.path.parent, command, settings.environment, datetime.now(UTC))
            events = Events(*readers(sys.stdout, sys.stderr, os.environ, json=json, log=log))
        else:
            events = Events(*quiet_readers(sys.stdout, sys.stderr, shown))
    except AideployError as failed:
        raise complain(failed) from None
    show_on_grafana(settings, events)
    who = f"{getpass.getuser()}@{socket.gethostname()}"
    began = time.monotonic()
    events.publish(
        RunStarted(
            command=command,
            app=settings.app.name,
            environment=settings.environment,
            hosts=tuple(host.name for host in settings.hosts),
            who=who,
            log=log,
        )
    )
    fleet = Fleet(
        settings.hosts,
        root=str(settings.app.deploy_to),
        owner=f"{who} ({command})",
        events=events,
        config=_ssh_config(config),
        max_connects=settings.ssh.max_connects,
    )
    run = Run(settings, fleet, events, who, command=command)
    error: AideployError | None = None
    with stopped_by_signals():
        try:
            with fleet:
                yield run
            error = run.failure
        except AideployError as failed:
            error = failed
        except KeyboardInterrupt:
            error = Interrupted("interrupted")
        except BaseException as foreign:
            events.publish(_ended_by(foreign, run, time.monotonic() - began, log))
            raise
    events.publish(_last_word(run, error, time.monotonic() - began, log))
    if error is not None:
        raise Exit(code=error.status) from error


def complain(error: AideployError) -> Exit:
    """Print an error that came before there was anything to run, and return the exit to raise."""
    from aideploy.report.output import Output
    from aideploy.report.safe_text import harmless_lines

    out = Output(sys.stderr)
    for line in harmless_lines(error.what):
        out.line(f"Error: {line}")
    for line in harmless_lines(error.why):
        out.line(f"  {line}")
    for line in harmless_lines(error.next_step):
        out.line(f"Next: {line}")
    return Exit(code=error.status)


def _ssh_config(config: fabric.Config | None) -> fabric.Config:
    # One for all connections: reading ~/.ssh/config for each of two hundred hosts takes seconds.
    return config if config is not None else fabric.Config()


def _last_word(
    run: Run, error: AideployError | None, seconds: float, log: Path | None
) -> RunFinished:
    if error is None:
        return RunFinished(
            status=ExitStatus.DONE,
            headline=run.headline,
            seconds=seconds,
            hosts=run.hosts,
            next_step=typed(run.next_step, run.settings),
            log=log,
        )
    next_step = error.next_step or next((c.next_step for c in error.causes if c.next_step), "")
    return RunFinished(
        status=error.status,
        headline=error.what,
        seconds=seconds,
        failures=_failures(error),
        hosts=run.hosts,
        next_step=typed(next_step, run.settings),
        log=log,
    )


def _ended_by(foreign: BaseException, run: Run, seconds: float, log: Path | None) -> RunFinished:
    """Return the last word about an error that is not ours; it goes on its way by itself."""
    status = getattr(foreign, "code", None)
    return RunFinished(
        status=status if isinstance(status, int) else 1,
        headline=f"ended by {type(foreign).__name__}: {foreign}",
        seconds=seconds,
        hosts=run.hosts,
        log=log,
    )


def _failures(error: AideployError) -> tuple[Failure, ...]:
    if error.causes:
        return tuple(_failure(cause) for cause in error.causes)
    if error.host:
        return (_failure(error),)
    # The headline says it; only what it does not say follows.
    what, _, more = error.why.partition("\n")
    return (Failure(what=what, why=more, tail=error.tail),) if error.why or error.tail else ()


def _failure(error: AideployError) -> Failure:
    return Failure(
        what=error.what, host=error.host, phase=error.phase, why=error.why, tail=error.tail
    )


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP (a closed terminal) stop a command as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
