"""Where readers write: a text stream that may end, stall or know few characters.

`fab deploy | head` closes the stream early and a terminal may hang up. A run must not end because
nobody watches it, so writing goes silent then. Used by all readers except the log file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TextIO


class Output:
    """A stream that never raises for a reader who left."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False

    @property
    def encoding(self) -> str:
        """The encoding of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether a terminal is at the other end."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The descriptor of the stream."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write; characters that the stream's encoding lacks are written as escapes."""
        encoding = self.encoding
        possible = text.encode(encoding, "backslashreplace").decode(encoding)
        self._try(lambda: self._stream.write(possible))
        return len(text)

    def flush(self) -> None:
        """Send what was written."""
        self._try(self._stream.flush)

    def line(self, text: str = "") -> None:
        """Write one line and send it."""
        self.write(f"{text}\n")
        self.flush()

    def _try(self, action: Callable[[], object]) -> None:
        if self._gone:
            return
        try:
            action()
        except BlockingIOError:
            # An `ssh` that shares the pipe made it non-blocking: a few characters are lost, once.
            os.set_blocking(self._stream.fileno(), True)
        except OSError:
            self._fall_silent()

    def _fall_silent(self) -> None:
        self._gone = True
        # What the stream still holds is flushed when the interpreter ends, and would fail there
        # with a message: it goes nowhere instead. See "Note on SIGPIPE" in Python's signal module.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
