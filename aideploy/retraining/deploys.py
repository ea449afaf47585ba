"""The deploys that alerts ask for: one at a time, and not one right after the other.

Called by the listener from the threads of its requests. A deploy is a process of its own, `fab
deploy --if-new`, so that nothing that goes wrong in it ends the listening.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from aideploy.report.wording import duration

# Long enough for a rollout that is interrupted to take its hosts back.
_GRACE = timedelta(minutes=5)


class Deploys:
    """The deploy under way, if there is one, and when the last one ended.

    Args:
        command: what is run.
        folder: where.
        pause: so long after the end of one nothing begins.
        say: is told what happens, in words.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, pause: timedelta, say: Callable[[str], None]
    ) -> None:
        self._command, self._folder = command, folder
        self._pause = pause.total_seconds()
        self._say = say
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: float | None = None
        self._closed = False

    def ask(self, why: str) -> tuple[bool, str]:
        """Begin a deploy unless there is a reason not to.

        Args:
            why: the names of alerts.

        Returns:
            whether one began, and in words what became of the wish.
        """
        with self._lock:
            if self._closed:
                return False, "the listener is about to end"
            if self._process is not None:
                return False, "a deploy is under way"
            if self._ended is not None:
                left = self._ended + self._pause - time.monotonic()
                if left > 0:
                    return False, f"the last deploy ended just now: not before {duration(left)}"
            try:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    # Ctrl-C is handed on by `close`, once.
                    start_new_session=True,
                )
            except OSError as error:
                return False, f"the deploy cannot be started: {error}"
            threading.Thread(target=self._wait, args=(self._process,), daemon=True).start()
        self._say(f"deploy begins: {why}")
        return True, "a deploy begins"

    def close(self) -> None:
        """Begin none any more; let the one under way undo or finish what it does, and wait."""
        with self._lock:
            self._closed = True
            process = self._process
        if process is None:
            return
        self._say("a deploy is under way: it is interrupted")
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE.total_seconds())

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        status = process.wait()
        with self._lock:
            self._process = None
            self._ended = time.monotonic()
        self._say(f"deploy ended with status {status}")
