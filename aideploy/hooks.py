"""The commands of [hooks]: run by this machine, once before and once after a phase of a deploy.

The story and the rollout say where they are; what a hook's failure means is decided here. Before
the point of no return it is the failure of its phase, after it a warning. A rollback has none:
nothing of the user's may keep hosts from going back.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import wraps
from typing import IO, TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar, cast

from aideploy.errors import AideployError, Interrupted, Refused, RolledBack
from aideploy.events import (
    Events,
    HostFinished,
    Notice,
    Outcome,
    OutputReceived,
    Phase,
    PhaseFinished,
    PhaseStarted,
    StepStarted,
)
from aideploy.settings.hooks import When

if TYPE_CHECKING:
    from aideploy.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

HERE = "this machine"
_TAIL_LINES = 20
_END_SECONDS = 3.0
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# From here on nothing goes back any more.
_OVER = (Phase.FINISH,)
_SWITCHES = (Phase.SWITCH, Phase.WATCH, Phase.CONFIRM)


class HookFailed(AideployError):
    """A hook ended badly, and its phase with it."""


class HookRefused(HookFailed, Refused):
    """It did before anything was switched."""


class HookTurnedBack(HookFailed, RolledBack):
    """It did when hosts were switched already."""


class Hooks:
    """The hooks of one deploy. Without a [hooks] it does nothing.

    Args:
        settings: of the environment.
        events: where it is told how they go.
        about: the release and its commit, as far as they are known by now.
    """

    def __init__(
        self, settings: Settings, events: Events, about: Callable[[], tuple[str, str]]
    ) -> None:
        self._settings = settings
        self._events = events
        self._about = about
        self._begun: list[Phase] = []
        self._ended: set[Phase] = set()

    def before(self, phase: Phase) -> None:
        """Run what is to run before the phase; the second time it does nothing.

        Raises:
            HookFailed: it failed, and the phase must not begin.
            Interrupted: Ctrl-C.
        """
        if phase not in self._begun:
            self._begun.append(phase)
            self._run(When.BEFORE, phase, "")

    def after(self, phase: Phase) -> None:
        """Run what is to run after the phase; the second time it does nothing.

        Raises:
            HookFailed: it failed, as if the phase had.
            Interrupted: Ctrl-C.
        """
        if phase in self._begun and phase not in self._ended:
            self._ended.add(phase)
            self._run(When.AFTER, phase, "done")

    def after_all_the_same(self, phase: Phase) -> None:
        """Run what is to run after a phase that nothing takes back; what fails is a warning."""
        try:
            self.after(phase)
        except AideployError as error:
            self._warn(error)

    def before_all_the_same(self, phase: Phase) -> None:
        """Run what is to run before a phase that has to come; what fails is a warning."""
        try:
            self.before(phase)
        except AideployError as error:
            self._warn(error)

    def failed(self) -> None:
        """The deploy failed: tell it to the hooks of the phases that were begun and not ended."""
        for phase in self._begun:
            if phase not in self._ended:
                self._ended.add(phase)
                try:
                    self._run(When.AFTER, phase, "failed")
                except AideployError as error:
                    self._warn(error)

    # -- inside -------------------------------------------------------------------------------

    def _run(self, when: When, phase: Phase, status: str) -> None:
        hooks = self._settings.hooks
        command = hooks.command(when, phase) if hooks else None
        if hooks is None or command is None:
            return
        began = time.monotonic()
        key = f"{when}_{phase}"
        self._events.publish(PhaseStarted(phase=Phase.HOOK, hosts=(HERE,), note=key))
        self._events.publish(StepStarted(phase=Phase.HOOK, host=HERE, text=key))
        tail: list[str] = []

        def hear(line: str) -> None:
            tail.append(line)
            del tail[:-_TAIL_LINES]
            self._events.publish(OutputReceived(phase=Phase.HOOK, host=HERE, line=line))

        try:
            wrong = _ran(
                command,
                self._surroundings(when, phase, status),
                self._settings.path.absolute().parent,
                hooks.timeout.total_seconds(),
                hear,
            )
        except KeyboardInterrupt:
            self._finished(Outcome.CANCELLED, "", began)
            raise Interrupted("interrupted; nothing was switched", phase=Phase.HOOK) from None
        if wrong:
            self._finished(Outcome.FAILED, f"{key} {wrong}", began)
            raise _failure(when, phase, f"[hooks] {key} {wrong}", tuple(tail))
        self._finished(Outcome.DONE, key, began)

    def _surroundings(self, when: When, phase: Phase, status: str) -> Mapping[str, str]:
        release, revision = self._about()
        return {
            **os.environ,
            "AIDEPLOY_APP": self._settings.app.name,
            "AIDEPLOY_ENV": self._settings.environment,
            "AIDEPLOY_HOSTS": " ".join(host.name for host in self._settings.hosts),
            "AIDEPLOY_PHASE": str(phase),
            "AIDEPLOY_WHEN": str(when),
            "AIDEPLOY_STATUS": status,
            "AIDEPLOY_RELEASE": release,
            "AIDEPLOY_REVISION": revision,
        }

    def _finished(self, outcome: Outcome, message: str, began: float) -> None:
        seconds = time.monotonic() - began
        self._events.publish(
            HostFinished(
                phase=Phase.HOOK, host=HERE, outcome=outcome, seconds=seconds, message=message
            )
        )
        self._events.publish(PhaseFinished(phase=Phase.HOOK, outcome=outcome, seconds=seconds))

    def _warn(self, error: AideployError) -> None:
        last = f": {error.tail[-1]}" if error.tail else ""
        self._events.publish(Notice(text=f"{error.what}{last}", level="warning"))


class Hooked(Protocol):
    """Whatever has hooks."""

    hooks: Hooks


S = TypeVar("S", bound=Hooked)


def hooked(
    *phases: Phase,
) -> Callable[[Callable[Concatenate[S, P], T]], Callable[Concatenate[S, P], T]]:
    """Let a method that is a phase run between its hooks.

    Args:
        phases: the names under which it may have hooks.
    """

    def decorate(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
        @wraps(method)
        def between(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
            try:
                for phase in phases:
                    self.hooks.before(phase)
                result = method(self, *args, **kwargs)
                for phase in phases:
                    self.hooks.after(phase)
            except Interrupted:
                raise
            except AideployError:
                self.hooks.failed()
                raise
            return result

        return cast(Callable[Concatenate[S, P], T], between)

    return decorate


def _failure(when: When, phase: Phase, what: str, tail: tuple[str, ...]) -> HookFailed:
    """Return the error whose class says how a deploy ends."""
    turned = phase in (*_SWITCHES, *_OVER) and (when, phase) != (When.BEFORE, Phase.SWITCH)
    kind = HookTurnedBack if turned else HookRefused
    where = "" if turned else "; nothing was switched"
    return kind(
        f"{what}{where}",
        next_step="run it by hand in the folder of hosts.toml, then fab deploy again",
        host=HERE,
        phase=Phase.HOOK,
        tail=tail,
    )


def _ran(
    command: str,
    environment: Mapping[str, str],
    folder: os.PathLike[str],
    seconds: float,
    hear: Callable[[str], None],
) -> str:
    """Run a command to its end, in a process group of its own; what went wrong, or nothing."""
    process: subprocess.Popen[bytes] | None = None
    reader: threading.Thread | None = None
    try:
        with _signals_wait():
            process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        reader = threading.Thread(target=_read, args=(process.stdout, hear), daemon=True)
        reader.start()
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"did not end within {seconds:g} s"
    finally:
        if process is not None and process.returncode is None:
            _end(process)
        if reader is not None:
            # What it left in the background may hold the line for ever.
            reader.join(_END_SECONDS)
    if status < 0:
        return f"was ended by signal {-status}"
    return f"ended with status {status}" if status else ""


def _read(output: IO[bytes], hear: Callable[[str], None]) -> None:
    for line in output:
        hear(line.decode("utf-8", "replace").rstrip("\r\n"))


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Let Ctrl-C (or SIGTERM, or SIGHUP) wait until what is begun here can be ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def remember(number: int, _: object) -> None:
        came.append(number)

    before = {number: signal.signal(number, remember) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: asked first, then made to."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
