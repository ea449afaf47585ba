"""Taking apart what a session writes: marks of ours, and lines of the programs it runs.

Pure: bytes in, items out. Used by the session; knows nothing of connections. The format is that of
`scripts/session.sh` and `scripts/prelude.sh`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

_START = re.compile(rb"\x1eaideploy ([0-9a-f]{32})\n")
_LONGEST_PIECE = 8192
# Those of our scripts are below 4 KiB.
_LONGEST_MARK = 1 << 16
_KEPT_BEFORE_START = 512
_ESCAPED = re.compile(r"\\([\\n])")


@dataclass(frozen=True)
class Mark:
    """A line of ours: a kind and the rest, still escaped."""

    kind: str
    rest: str


@dataclass(frozen=True)
class Line:
    """A line of a program, or a piece of a very long one."""

    text: str


class Demultiplexer:
    """Feed it bytes as they come; it gives back marks and lines, in order.

    Memory is bounded: an endless line comes out in pieces of 8 KiB, an endless mark as such a line.
    Bytes that are not UTF-8 are replaced. A carriage return ends a line too, as progress bars need
    it.
    """

    def __init__(self) -> None:
        self._token: bytes | None = None
        self._buffer = b""
        self._line = bytearray()
        self._after_return = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def started(self) -> bool:
        """Whether our own shell has said its first word."""
        return self._token is not None

    @property
    def before_start(self) -> str:
        """The last of what was said before that: a login shell's own words."""
        return "" if self.started else self._buffer.decode("utf-8", "replace").strip()

    def feed(self, data: bytes) -> Iterator[Mark | Line]:
        """Yield the items that these bytes complete."""
        self._buffer += data
        if self._token is None and not self._find_start():
            return
        assert self._token is not None
        start = b"\x1e" + self._token + b" "
        while self._buffer:
            at = self._buffer.find(start)
            if at < 0:
                keep = _possible_beginning(self._buffer, start)
                yield from self._output(self._buffer[: len(self._buffer) - keep])
                self._buffer = self._buffer[len(self._buffer) - keep :]
                return
            yield from self._output(self._buffer[:at])
            end = self._buffer.find(b"\n", at)
            if end < 0 and len(self._buffer) - at <= _LONGEST_MARK:
                self._buffer = self._buffer[at:]
                return
            if end < 0:
                # None of ours: it is as good as any output.
                yield from self._output(start)
                self._buffer = self._buffer[at + len(start) :]
                continue
            words = self._buffer[at + len(start) : end].decode("utf-8", "replace")
            self._buffer = self._buffer[end + 1 :]
            kind, _, rest = words.partition(" ")
            if kind == "end":
                yield from self.flush()
            yield Mark(kind, rest)

    def flush(self) -> Iterator[Line]:
        """Yield what is left of a last line without an end."""
        if self._line:
            yield self._take_line()

    def _find_start(self) -> bool:
        found = _START.search(self._buffer)
        if found is None:
            # What a login shell's start files print; nothing of ours has run yet.
            self._buffer = self._buffer[-_KEPT_BEFORE_START:]
            return False
        self._token = found.group(1)
        self._buffer = self._buffer[found.end() :]
        return True

    def _output(self, data: bytes) -> Iterator[Line]:
        if not data:
            return
        if self._after_return and data.startswith(b"\n"):  # the rest of an end of line, "\r\n"
            data = data[1:]
        self._after_return = data.endswith(b"\r")
        # "\r\n" is one end of line, "\r" alone one as well.
        for piece in data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").splitlines(keepends=True):
            ended = piece.endswith(b"\n")
            body = piece[:-1] if ended else piece
            while len(self._line) + len(body) > _LONGEST_PIECE:
                room = _LONGEST_PIECE - len(self._line)
                self._line += body[:room]
                body = body[room:]
                yield self._take_line(final=False)
            self._line += body
            if ended:
                yield self._take_line()

    def _take_line(self, *, final: bool = True) -> Line:
        text = self._decoder.decode(bytes(self._line), final)
        self._line.clear()
        return Line(text)


def unescape(value: str) -> str:
    """Return the value that `emit` wrote."""
    return _ESCAPED.sub(lambda found: "\n" if found.group(1) == "n" else "\\", value)


def _possible_beginning(data: bytes, start: bytes) -> int:
    """Return how many bytes at the end of data may be the beginning of `start`."""
    at = data.rfind(start[:1], max(0, len(data) - len(start) + 1))
    return len(data) - at if at >= 0 and start.startswith(data[at:]) else 0
