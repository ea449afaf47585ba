"""Large things on the way to hosts: a stream over channels of their own, never whole in memory.

From the controller, or from one host through the controller to others, each of which may have the
beginning already. The slowest governs the pace: at most `_QUEUED_CHUNKS` wait for it in memory, and
one that takes nothing for `SILENCE_SECONDS` counts as lost. The first that breaks off ends the
stream for all; what arrived elsewhere stays there for the next time. Small things travel inside
scripts. What arrives is verified by the scripts that take it.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, Full, Queue

import paramiko

from aideploy.errors import AideployError, ConnectionLost
from aideploy.events import Phase
from aideploy.remote.connecting import SILENCE_SECONDS
from aideploy.remote.script import Script
from aideploy.remote.session import Session, last_words

_CHUNK_BYTES = 1 << 18
_QUEUED_CHUNKS = 32
_LOOK_SECONDS = 0.5
_EXIT_LOOK_SECONDS = 0.02

Read = Callable[[int], bytes]


@dataclass(frozen=True)
class Inlet:
    """Where a stream goes in on a host.

    Args:
        script: what takes it on its standard input.
        offset: how many bytes of the stream the host has already; the script gets the rest.
    """

    script: Script
    offset: int = 0


@dataclass(frozen=True)
class Outlet:
    """Where a stream comes out of a host.

    Args:
        script: what writes it to its standard output, beginning with the byte `offset`.
        offset: the least offset of those who take it.
        size: of the whole stream in bytes.
    """

    script: Script
    offset: int
    size: int


def send(phase: Phase, data: bytes, target: Session, script: Script) -> None:
    """Stream bytes to the standard input of a script on a host.

    Raises:
        ConnectionLost: it did not take all of them.
    """
    stream = _Stream(phase, {target: Inlet(script)}, len(data), lambda _: None)
    stream.run(io.BytesIO(data).read, 0)
    for error in stream.errors.values():
        raise error


def relay(
    phase: Phase,
    source: Session,
    outlet: Outlet,
    targets: Mapping[Session, Inlet],
    progress: Callable[[int], None],
) -> Mapping[str, AideployError]:
    """Stream what a script on one host writes to the standard input of a script on each target.

    Args:
        phase: in which this happens.
        source, outlet: where it comes from.
        targets: where it goes.
        progress: is told after each piece how many bytes of the stream were read.

    Returns:
        the error of each host, the source among them, that broke off, by name. Without an error all
        targets have all of it, unless one of the sessions was cancelled.
    """
    try:
        channel = source.start(phase, outlet.script)
    except AideployError as error:
        return {source.host.name: error}
    stream = _Stream(phase, targets, outlet.size, progress)
    try:
        ended_early = stream.run(channel.recv, outlet.offset)
        if ended_early:
            return {source.host.name: _broken(source, phase, last_words(channel))}
        return stream.errors
    finally:
        channel.close()


class _Stream:
    """One stream to several targets: this thread reads, a thread for each target writes."""

    def __init__(
        self,
        phase: Phase,
        targets: Mapping[Session, Inlet],
        size: int,
        progress: Callable[[int], None],
    ) -> None:
        self.errors: dict[str, AideployError] = {}
        self._phase = phase
        self._size = size
        self._progress = progress
        self._ended = threading.Event()
        self._lanes = [_Lane(target, inlet) for target, inlet in targets.items()]

    def run(self, read: Read, position: int) -> bool:
        """Read from this position on until all is written; whether what is read ended early."""
        with ThreadPoolExecutor(max_workers=len(self._lanes)) as pool:
            for lane in self._lanes:
                pool.submit(self._write, lane)
            try:
                return self._read(read, position)
            except BaseException:
                self._end()
                raise

    def _read(self, read: Read, position: int) -> bool:
        while position < self._size and not self._is_over():
            try:
                chunk = read(_CHUNK_BYTES)
            except OSError:
                chunk = b""
            if not chunk:
                self._end()
                return True
            for lane in self._lanes:
                self._put(lane, chunk[max(0, lane.inlet.offset - position) :])
            position += len(chunk)
            self._progress(position)
        for lane in self._lanes:
            self._put(lane, None)
        return False

    def _put(self, lane: _Lane, chunk: bytes | None) -> None:
        """Queue a chunk for a target; None is the end. A chunk that it has already is empty."""
        while chunk != b"" and not self._is_over():
            try:
                lane.queue.put(chunk, timeout=_LOOK_SECONDS)
                return
            except Full:
                continue

    def _is_over(self) -> bool:
        if any(lane.target.is_cancelled for lane in self._lanes):
            self._end()
        return self._ended.is_set()

    def _end(self) -> None:
        """No target may take what it has for the whole: their channels are closed."""
        self._ended.set()
        for lane in self._lanes:
            if lane.channel is not None:
                lane.channel.close()

    def _write(self, lane: _Lane) -> None:
        """Write to one target what is queued for it. The body of a thread."""
        try:
            lane.channel = lane.target.start(self._phase, lane.inlet.script)
            while chunk := self._next(lane):
                lane.channel.sendall(chunk)
            if not self._ended.is_set():
                lane.channel.shutdown_write()
                self._await_exit(lane.channel)
        except (OSError, AideployError) as error:
            if not self._ended.is_set():
                self.errors[lane.target.host.name] = self._error(lane, error)
        finally:
            if lane.target.host.name in self.errors:
                self._end()
            if lane.channel is not None:
                lane.channel.close()

    def _next(self, lane: _Lane) -> bytes | None:
        while not self._ended.is_set():
            try:
                return lane.queue.get(timeout=_LOOK_SECONDS)
            except Empty:
                continue
        return None

    def _await_exit(self, channel: paramiko.Channel) -> None:
        """Wait until the script has ended well.

        Raises:
            OSError: it ended badly, or did not end in time.
        """
        deadline = time.monotonic() + SILENCE_SECONDS
        while not channel.exit_status_ready() and not self._ended.is_set():
            if time.monotonic() > deadline:
                raise OSError(f"it did not end within {SILENCE_SECONDS} s")
            time.sleep(_EXIT_LOOK_SECONDS)
        if not self._ended.is_set() and channel.recv_exit_status() != 0:
            raise OSError("it ended badly")

    def _error(self, lane: _Lane, error: Exception) -> AideployError:
        if isinstance(error, AideployError):
            return error
        why = f"it took nothing for {SILENCE_SECONDS} s" if isinstance(error, TimeoutError) else ""
        return _broken(lane.target, self._phase, last_words(lane.channel) or why or str(error))


@dataclass(eq=False)
class _Lane:
    """One target of a stream, and what waits to be written to it."""

    target: Session
    inlet: Inlet
    channel: paramiko.Channel | None = None
    queue: Queue[bytes | None] = field(default_factory=lambda: Queue(_QUEUED_CHUNKS))


def _broken(session: Session, phase: Phase, why: str) -> ConnectionLost:
    return ConnectionLost(
        f"the transfer with {session.host.name} broke off",
        why=why,
        next_step="see whether its disk is full, then run the same command again: "
        "what arrived is not sent twice",
        host=session.host.name,
        phase=phase,
    )
