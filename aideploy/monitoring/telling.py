"""Prometheus hears from a rollout which hosts run what is being tried.

The transaction says so whenever that changes and goes on at once: the monitor hosts are told beside
it, on channels of their own, and whatever goes wrong there is a notice and no more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from aideploy.errors import AideployError, PhaseFailed
from aideploy.events import Events, Notice, Phase
from aideploy.monitoring.targets import file_of, old_file_of, targets
from aideploy.remote.script import Script
from aideploy.settings import Role

if TYPE_CHECKING:
    from aideploy.remote.session import Session
    from aideploy.settings import Settings

_WRITE_SECONDS = 10.0
_SETTLE_SECONDS = 5.0


class Telling:
    """What the monitor hosts of an environment are told.

    Args:
        settings: of the environment.
        sessions: those that are open; a monitor host without one is left out.
        events: where notices go.
    """

    def __init__(self, settings: Settings, sessions: Mapping[str, Session], events: Events) -> None:
        self._settings = settings
        self._events = events
        wanted = settings.monitoring.file_sd is not None and settings.serve is not None
        monitors = settings.with_role(Role.MONITOR) if wanted else ()
        self._lines = [_Line(sessions[host.name], script(settings), events) for host in monitors]

    def tell(self, canaries: Collection[str] = ()) -> None:
        """Let Prometheus know that these hosts run what is being tried, and the others do not."""
        if not self._lines:
            return
        try:
            text = targets(self._settings, canaries)
        except AideployError as error:
            self._events.publish(_untold(error))
            return
        for line in self._lines:
            line.put(text)

    def settle(self) -> None:
        """Wait until all is told, or was given up."""
        end = time.monotonic() + _SETTLE_SECONDS
        for line in self._lines:
            line.idle.wait(max(end - time.monotonic(), 0))


class _Line:
    """One monitor host: it gets what was said last, in the order in which it was said."""

    def __init__(self, session: Session, script: Script, events: Events) -> None:
        self._session = session
        self._script = script
        self._events = events
        self._lock = threading.Lock()
        self._wanted: str | None = None
        self._complained = False
        self.idle = threading.Event()
        self.idle.set()

    def put(self, text: str) -> None:
        with self._lock:
            self._wanted = text
            if not self.idle.is_set():
                return
            self.idle.clear()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                text, self._wanted = self._wanted, None
                if text is None:
                    self.idle.set()
                    return
            try:
                self._write(text)
            except (AideployError, OSError, EOFError) as error:
                if not self._complained:
                    self._events.publish(_untold(error, self._session.host.name))
                self._complained = True

    def _write(self, text: str) -> None:
        channel = self._session.start(Phase.FINISH, self._script)
        try:
            channel.sendall(framed(text))
            channel.shutdown_write()
            if not channel.status_event.wait(_WRITE_SECONDS):
                raise PhaseFailed("it takes too long")
            if channel.exit_status != 0:
                said = channel.recv_stderr(1 << 12).decode("utf-8", "replace").strip()
                raise PhaseFailed(said.rpartition("\n")[2] or "the file cannot be written")
        finally:
            channel.close()


def framed(text: str) -> bytes:
    """Return the text as `targets.sh` takes it: it could not tell a line that was cut."""
    data = text.encode()
    return f"{len(data)}\n".encode() + data


def script(settings: Settings) -> Script:
    """Return the script that puts the targets in place, which it reads from its input."""
    return Script(
        "targets",
        (
            str(file_of(settings)),
            str(old_file_of(settings)),
            settings.app.name,
            settings.environment,
        ),
        libraries=("old_name",),
    )


def _untold(error: Exception, host: str | None = None) -> Notice:
    what = error.what if isinstance(error, AideployError) else str(error) or "the line is dead"
    text = f"Prometheus is not told what runs where: {what}"
    return Notice(text=text, level="warning", host=host)
