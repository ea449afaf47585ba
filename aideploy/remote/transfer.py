"""Large things on the way to hosts: a stream over channels of their own, never whole in memory.

From the controller, or from one host through the controller to others. Small things travel inside
scripts. What arrives is verified by the scripts that use it.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, Full, Queue
from typing import Any

from aideploy.errors import ConnectionLost
from aideploy.events import Phase
from aideploy.remote.script import Script
from aideploy.remote.session import Session

_CHUNK_BYTES = 1 << 18
_QUEUED_CHUNKS = 32
_STALL_SECONDS = 60.0

Read = Callable[[int], bytes]


def send(phase: Phase, data: bytes, targets: Mapping[Session, Script]) -> None:
    """Stream bytes to the standard input of a script on each target.

    Raises:
        ConnectionLost: a target did not take all of it.
    """
    _pump(phase, io.BytesIO(data).read, targets)


def relay(phase: Phase, source: Session, outlet: Script, targets: Mapping[Session, Script]) -> None:
    """Stream what a script on one host writes to the standard input of a script on each target.

    Raises:
        ConnectionLost: the source or a target broke off.
    """
    channel = source.start(phase, outlet)
    _pump(phase, channel.recv, targets)
    if channel.recv_exit_status() != 0:
        raise _broken(source, phase)


def take_pack(root: str) -> Script:
    """Return the script that takes a git pack on its standard input."""
    return Script("take_pack", (root,))


def send_model(root: str, model: str) -> Script:
    """Return the script that writes a model to its standard output."""
    return Script("send_model", (root, model))


def take_model(root: str, model: str) -> Script:
    """Return the script that takes a model on its standard input."""
    return Script("take_model", (root, model))


def _pump(phase: Phase, read: Read, targets: Mapping[Session, Script]) -> None:
    queues: list[Queue[bytes | None]] = [Queue(_QUEUED_CHUNKS) for _ in targets]
    with ThreadPoolExecutor(max_workers=len(targets)) as pool:
        writers = [
            pool.submit(_write, phase, target, script, queue)
            for (target, script), queue in zip(targets.items(), queues, strict=True)
        ]
        chunk = b"-"
        try:
            while chunk and not any(writer.done() for writer in writers):
                chunk = read(_CHUNK_BYTES)
                for queue in queues:
                    queue.put(chunk, timeout=_STALL_SECONDS)
        except (Full, OSError):
            chunk = b"-"
        except BaseException:
            # Ctrl-C: the writers must not wait for the rest.
            chunk = b"-"
            raise
        finally:
            if chunk:
                # Cut off: no writer may take what it has for the whole.
                for queue in queues:
                    with contextlib.suppress(Full):
                        queue.put(None, timeout=1)
        for writer in writers:
            writer.result()


def _write(phase: Phase, target: Session, script: Script, queue: Queue[bytes | None]) -> None:
    channel: Any = target.start(phase, script)
    try:
        while chunk := queue.get(timeout=_STALL_SECONDS):
            channel.sendall(chunk)
        if chunk is None:
            raise _broken(target, phase)
        channel.shutdown_write()
        if channel.recv_exit_status() != 0:
            raise _broken(target, phase)
    except (OSError, Empty) as error:
        raise _broken(target, phase) from error
    finally:
        channel.close()


def _broken(session: Session, phase: Phase) -> ConnectionLost:
    return ConnectionLost(
        f"the transfer with {session.host.name} broke off",
        next_step="see whether its disk is full, then run the same command again",
        host=session.host.name,
        phase=phase,
    )
