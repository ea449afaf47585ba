"""A terminal for the tests: a pretended run on a pseudo-terminal, seen as a person sees it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios
from pathlib import Path

import pyte

PRETEND = Path(__file__).with_name("pretend_run.py")


class Terminal:
    """What was on a terminal of this size at each moment, and at the end."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.raw = b""
        self.moments: list[list[str]] = []
        self._screen = pyte.Screen(columns, rows)

    def run(self, *arguments: str, **environ: str) -> int:
        """Run to the end; gives the exit status."""
        child, terminal = pty.fork()
        if child == 0:
            size = struct.pack("HHHH", self.rows, self.columns, 0, 0)
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            clean = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LANG": "C.UTF-8"}
            command = [sys.executable, str(PRETEND), *arguments]
            os.execve(command[0], command, clean | environ)
        stream = pyte.ByteStream(self._screen)
        while chunk := _read(terminal):
            self.raw += chunk
            stream.feed(chunk)
            self.moments.append(self.lines)
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    @property
    def lines(self) -> list[str]:
        """The rows as they are now, those that are not empty."""
        return [line.rstrip() for line in self._screen.display if line.strip()]

    @property
    def cursor_hidden(self) -> bool:
        """Whether the person has lost the cursor."""
        return self._screen.cursor.hidden


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux reports the end of a pseudo-terminal as an error
        return b""
