"""One session with one host: one connection, one channel, the lock, and scripts run in turn.

The session does; it decides nothing. It opens a shell on the host (`scripts/session.sh`) that lives
as long as the command, sends it scripts and gives back what they emitted. What programs print
goes to the events. When the session ends, for whatever reason, the host ends what ran in it and
frees the lock.
"""

from __future__ import annotations

import base64
import shlex
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import paramiko

from aideploy.errors import AideployError, ConnectionLost, HostNotReady, Locked
from aideploy.events import Events, OutputReceived, Phase, StepStarted
from aideploy.remote.connecting import SILENCE_SECONDS, connect, disconnect, ssh_command
from aideploy.remote.result import Result, ScriptFailed
from aideploy.remote.script import Script, Secret
from aideploy.remote.stream import Demultiplexer, Line, Mark, unescape

if TYPE_CHECKING:
    import fabric

    from aideploy.settings import Host

_READ_BYTES = 1 << 16
# Who is told to end what runs, and is silent for so long in spite of pings, is gone:
# the other hosts wait for it before they go back.
_CANCEL_SECONDS = 2
_LOOK_SECONDS = 0.5
# How Paramiko says that a line is dead; which of them depends on the moment.
_LINE_ERRORS = (OSError, EOFError, paramiko.SSHException)
# The kernel of a host refuses an argument of 128 KiB (MAX_ARG_STRLEN).
_MOST_COMMAND_BYTES = 100_000


class Lock(StrEnum):
    """Whether a session holds the host's lock."""

    HELD = "lock"
    HELD_WHERE_THERE = "lock-if-there"
    """Where there is no folder of the app yet, or it is nobody's to write to, it is a lock in the
    user's home, which keeps out those who set up."""

    NONE = "open"


@dataclass
class Traffic:
    """What a session cost: counted for the log and the benchmarks."""

    connections: int = 0
    channels: int = 0
    round_trips: int = 0


class Session:
    """The open line to one host. One thread at a time; `cancel` and `ping` may come from others.

    Args:
        host: where to.
        root: the folder of the app on the host; may begin with `~/`.
        owner: who we are and why, shown to those who find the lock taken.
        events: where steps and output go.
        config: Fabric's configuration.
    """

    def __init__(
        self, host: Host, root: str, owner: str, events: Events, config: fabric.Config
    ) -> None:
        self.host = host
        self.traffic = Traffic()
        self._root = root
        self._owner = owner
        self._events = events
        self._config = config
        self._connection: fabric.Connection | None = None
        self._channel: paramiko.Channel | None = None
        self._stream = Demultiplexer()
        self._pending: deque[Mark | Line] = deque()
        self._sending = threading.Lock()
        self._cancelled = threading.Event()
        # Set while something that the host sent waits to be read, and when the channel is closed.
        self._arrived = threading.Event()

    def open(self, lock: Lock, *first: Script) -> list[Result]:
        """Connect, take the lock, run the first scripts in turn, and return what each emitted.

        They cost no round trip of their own: they are a part of the command that starts the
        session. One with a secret is not: everybody on the host can read commands.

        Raises:
            Unreachable, Locked, HostNotReady, ScriptFailed
        """
        if self._connection is None:
            self._connection = connect(self.host, self._config)
            self.traffic.connections += 1
        command = bootstrap(self._start(lock, first))
        sent_along = len(command) <= _MOST_COMMAND_BYTES and not any(map(_holds_secret, first))
        if not sent_along:
            command = bootstrap(self._start(lock))
        try:
            self._channel = self._connection.transport.open_session(timeout=SILENCE_SECONDS)
            self._channel.settimeout(SILENCE_SECONDS)
            self._channel.in_buffer.set_event(self._arrived)
            self._channel.exec_command(command)
        except _LINE_ERRORS as error:
            raise self._lost(Phase.OPEN, str(error)) from error
        self.traffic.channels += 1
        self.traffic.round_trips += 1
        self._stream = Demultiplexer()
        self._pending.clear()
        self._await_ready()
        return self._results(Phase.OPEN, first) if sent_along else self.run(Phase.OPEN, *first)

    def run(self, phase: Phase, *scripts: Script) -> list[Result]:
        """Run the scripts in turn, in one round trip, and return what each emitted.

        Raises:
            ScriptFailed: the first that failed; those behind it did not run.
            ConnectionLost: the line is dead; the host ends what ran on it.
        """
        texts = [script.text().encode() for script in scripts]
        frame = [f"run {len(texts)}\n".encode()]
        for script, text in zip(scripts, texts, strict=True):
            frame += [f"script {len(text)} {_seconds(script)}\n".encode(), text]
        self.traffic.round_trips += 1
        self._send(phase, b"".join(frame))
        if self._cancelled.is_set():
            # It came before there was anything to end.
            self._whisper(b"cancel\n")
        return self._results(phase, scripts)

    def start(self, phase: Phase, script: Script) -> paramiko.Channel:
        """Start a script on a channel of its own, for a stream of data, and return the channel.

        The script runs bare: without prelude, lock or marks. Its end is the caller's to see.
        """
        if self._connection is None:
            raise self._lost(phase, "the session was closed")
        try:
            channel = self._connection.transport.open_session(timeout=SILENCE_SECONDS)
            channel.settimeout(SILENCE_SECONDS)
            channel.exec_command(bootstrap(script))
        except _LINE_ERRORS as error:
            raise self._lost(phase, str(error)) from error
        self.traffic.channels += 1
        return channel

    def cancel(self) -> None:
        """End what runs, now and until `resume`: `run` raises ScriptFailed("cancelled")."""
        self._cancelled.set()
        self._whisper(b"cancel\n")

    @property
    def is_cancelled(self) -> bool:
        """Whether it was told to end what runs."""
        return self._cancelled.is_set()

    def resume(self) -> None:
        """Let the session run scripts again after a `cancel`."""
        self._cancelled.clear()

    def ping(self) -> None:
        """Tell the host that the controller lives; its answer shows that the host does."""
        self._whisper(b"ping\n")

    @property
    def is_open(self) -> bool:
        """Whether the session can be used."""
        return self._channel is not None and not self._channel.closed

    def end(self) -> None:
        """End the session, so that the host frees the lock; the connection stays for another."""
        self._whisper(b"bye\n")
        if self._channel is not None:
            with suppress(*_LINE_ERRORS):
                self._channel.close()
            self._channel = None

    def close(self) -> None:
        """End the session and the connection."""
        self.end()
        if self._connection is not None:
            disconnect(self._connection)
            self._connection = None

    # -- inside ---------------------------------------------------------------------------------

    def _start(self, lock: Lock, first: Iterable[Script] = ()) -> Script:
        """Return what runs on the host as long as the session, and these scripts at once."""
        words = (word for script in first for word in (_seconds(script), script.text()))
        arguments = (self._root, lock, self._owner, str(SILENCE_SECONDS), *words)
        return Script("session", arguments, libraries=("due",))

    def _await_ready(self) -> None:
        while (mark := self._next_mark(Phase.OPEN, ())).kind != "ready":
            if mark.kind != "reverting":
                break
            text = "goes back first: it had a release that nobody confirmed"
            self._events.publish(StepStarted(phase=Phase.OPEN, host=self.host.name, text=text))
        else:
            return
        reason, _, detail = mark.rest.partition(" ")
        raise self._refusal(reason, detail)

    def _refusal(self, reason: str, detail: str) -> AideployError:
        name = self.host.name
        match reason:
            case "missing":
                return HostNotReady(
                    f"{name} is not set up: there is no folder {detail}",
                    next_step="fab setup",
                    host=name,
                    phase=Phase.OPEN,
                )
            case "locked":
                return Locked(
                    f"{name} is locked by {detail or 'someone who just began'}",
                    next_step="wait with --wait-lock; a deploy that is switching hosts goes back "
                    "with fab rollout.abort",
                    host=name,
                    phase=Phase.OPEN,
                )
            case "held":
                return Locked(
                    f"{name} is locked on purpose by {detail}",
                    next_step="fab unlock, when that reason is gone",
                    host=name,
                    phase=Phase.OPEN,
                )
            case "unlockable":
                return HostNotReady(
                    f"{name}: the file {detail} cannot be locked",
                    why="the host has no flock (of util-linux), or its file system has no locks",
                    next_step="install util-linux on the host, or deploy to a local disk",
                    host=name,
                    phase=Phase.OPEN,
                )
        return HostNotReady(
            f"{name}: the lock file {detail} cannot be written",
            next_step="fab setup, or correct the owner of that folder",
            host=name,
            phase=Phase.OPEN,
        )

    def _results(self, phase: Phase, scripts: Iterable[Script]) -> list[Result]:
        results = []
        for script in scripts:
            facts: list[tuple[str, str]] = []
            parts: dict[str, list[str]] = {}
            tail: deque[str] = deque(maxlen=script.kept_lines)
            while True:
                mark = self._next_mark(phase, tail)
                if mark.kind == "end":
                    break
                key, _, value = mark.rest.partition(" ")
                if mark.kind == "step":
                    self._events.publish(
                        StepStarted(phase=phase, host=self.host.name, text=mark.rest)
                    )
                elif mark.kind == "part":
                    parts.setdefault(key, []).append(value)
                elif mark.kind == "emit":
                    facts.append((key, unescape("".join([*parts.pop(key, []), value]))))
            result = Result(script.name, tuple(facts), tuple(tail), self.host.name)
            status = mark.rest.partition(" ")[2]
            if status != "0":
                code = status if status in ("cancelled", "timeout") else ""
                raise ScriptFailed(
                    code or result.text("fail.code") or status,
                    result,
                    host=self.host.name,
                    phase=phase,
                )
            results.append(result)
        return results

    def _next_mark(self, phase: Phase, tail: deque[str] | tuple[()]) -> Mark:
        while True:
            while self._pending:
                item = self._pending.popleft()
                if isinstance(item, Line):
                    if isinstance(tail, deque):
                        tail.append(item.text)
                    self._events.publish(
                        OutputReceived(phase=phase, host=self.host.name, line=item.text)
                    )
                elif item.kind not in ("pong", "idle"):
                    return item
            self._pending.extend(self._stream.feed(self._receive(phase)))

    def _receive(self, phase: Phase) -> bytes:
        channel = self._channel
        if channel is None:
            raise self._lost(phase, "the session was closed")
        try:
            data = self._heard(channel)
        except TimeoutError as error:
            raise self._lost(phase, str(error)) from error
        except OSError as error:
            raise self._lost(phase, str(error)) from error
        if data:
            return data
        if not self._stream.started:
            raise self._no_shell(channel)
        raise self._lost(phase, last_words(channel) or "the host closed the connection")

    def _heard(self, channel: paramiko.Channel) -> bytes:
        """Return what comes next. A host that is silent for too long is told to end the session.

        Raises:
            TimeoutError: it was.
        """
        since = time.monotonic()
        limit = SILENCE_SECONDS
        while not self._arrived.wait(_LOOK_SECONDS):
            if self._cancelled.is_set() and limit != _CANCEL_SECONDS:
                since, limit = time.monotonic(), _CANCEL_SECONDS
            if limit == _CANCEL_SECONDS:
                self._whisper(b"ping\n")
            if time.monotonic() - since >= limit:
                channel.close()
                raise TimeoutError(f"no sign of life for {limit} s")
        data: bytes = channel.recv(_READ_BYTES)
        return data

    def _no_shell(self, channel: paramiko.Channel) -> HostNotReady:
        said = "\n".join(filter(None, (last_words(channel), self._stream.before_start)))
        return HostNotReady(
            f"{self.host.name}: no session could be started there",
            why=said or "the login shell ended without a word",
            next_step="the host needs bash, coreutils and a login shell that runs commands; try: "
            + ssh_command(self.host, self._connection),
            host=self.host.name,
            phase=Phase.OPEN,
        )

    def _send(self, phase: Phase, data: bytes) -> None:
        if self._channel is None:
            raise self._lost(phase, "the session was closed")
        try:
            with self._sending:
                self._channel.sendall(data)
        except _LINE_ERRORS as error:
            raise self._lost(phase, str(error) or "the line is dead") from error

    def _whisper(self, data: bytes) -> None:
        """Send something small from any thread; a line that is dead shows elsewhere."""
        channel = self._channel
        if channel is None or not self._sending.acquire(timeout=1):
            return
        try:
            channel.sendall(data)
        except _LINE_ERRORS:
            pass
        finally:
            self._sending.release()

    def _lost(self, phase: Phase, why: str) -> ConnectionLost:
        command = ssh_command(self.host, self._connection)
        return ConnectionLost(
            f"lost the connection to {self.host.name}",
            why=why,
            next_step=f"see whether the host is up ({command}), then run the same command again",
            host=self.host.name,
            phase=phase,
        )


def last_words(channel: paramiko.Channel) -> str:
    """Return what the program on a channel wrote to its standard error, as far as it is here."""
    words = b""
    while channel.recv_stderr_ready():
        words += channel.recv_stderr(_READ_BYTES)
    return words.decode("utf-8", "replace").strip()


def _seconds(script: Script) -> str:
    return str(round(script.limit.total_seconds()))


def _holds_secret(script: Script) -> bool:
    return any(isinstance(arg, Secret) for arg in script.args)


def bootstrap(start: Script) -> str:
    """Return the command that runs a script on a host, bare, whatever the login shell is."""
    # As base64, so that it means the same to every login shell (sh, csh, fish). -p: what a user's
    # start files leave in the environment (functions, BASH_ENV, shell options) changes nothing.
    text = base64.b64encode(start.bare_text().encode()).decode()
    return "exec " + shlex.join(["bash", "-p", "-c", 'eval "$(printf %s "$0" | base64 -d)"', text])


def heartbeat(sessions: Iterable[Session], stop: threading.Event, every: float = 5.0) -> None:
    """Ping every session until told to stop. The body of a thread."""
    while not stop.wait(every):
        for session in sessions:
            session.ping()
