"""A small web server that hands out files as an artifact store does, and misbehaves on demand.

Called by tests: it understands Range, may want a token, break the line in the middle, be busy, or
send clients elsewhere. It writes down what it was asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.web_server import Handler, WebServer


@dataclass
class Behaviour:
    """How the server answers from now on.

    Args:
        files: content by path, as "/model.tar".
        token: what clients have to show, if it is set.
        breaks_after: bytes after which it breaks the line, once for each number.
        busy: how often it answers 503 first.
        moved: path -> where it sends clients instead.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    token: str = ""
    breaks_after: list[int] = field(default_factory=list)
    busy: int = 0
    moved: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    headers: Mapping[str, str]


class FileServer(WebServer):
    """The server, for the length of a `with` block.

    Attributes:
        behaviour: to be changed at will.
        asked: every request so far.
    """

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.behaviour = Behaviour()
        self.asked: list[Asked] = []
        super().__init__(partial(_Handler, server_of=self), address)

    def url(self, path: str) -> str:
        return f"{self.origin}{path}"


class _Handler(Handler):
    def __init__(self, *of_the_server: Any, server_of: FileServer) -> None:
        self._of = server_of
        super().__init__(*of_the_server)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        behaviour = self._of.behaviour
        self._of.asked.append(Asked(self.path, dict(self.headers)))
        if behaviour.busy:
            behaviour.busy -= 1
            self.send_error(503)
        elif path in behaviour.moved:
            self.send_response(302)
            self.send_header("Location", behaviour.moved[path])
            self.end_headers()
        elif behaviour.token and self.headers["Authorization"] != f"Bearer {behaviour.token}":
            self.send_error(401)
        elif path not in behaviour.files:
            self.send_error(404)
        else:
            self._send(behaviour.files[path])

    def _send(self, content: bytes) -> None:
        version = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        first = 0
        wanted = self.headers["Range"]
        if wanted and self.headers.get("If-Range", version) == version:
            first = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if first >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.send_header("ETag", version)
        self.end_headers()
        breaks = self._of.behaviour.breaks_after
        if breaks:
            self.wfile.write(content[first : first + breaks.pop(0)])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
        else:
            self.wfile.write(content[first:])
