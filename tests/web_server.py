"""A web server for the length of a `with` block: what the peers that tests make up stand on."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: Message
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What it is answered with."""

    content: bytes = b""
    status: int = 200
    kind: str = "application/json"


class Handler(BaseHTTPRequestHandler):
    """One request; nothing is said of it: the test tells what went wrong."""

    def log_message(self, *_: object) -> None:
        pass

    def body(self) -> bytes:
        """Read what was sent along."""
        return self.rfile.read(int(self.headers["Content-Length"] or 0))


class WebServer:
    """The server, on a free port.

    Args:
        handler: of a request; `answering` makes one.
        address: this machine's address to listen on.

    Attributes:
        port: that it listens on.
        place: the address and the port.
        origin: the same as a URL.
    """

    def __init__(
        self, handler: Callable[..., BaseHTTPRequestHandler], address: str = "127.0.0.1"
    ) -> None:
        self._server = _Server((address, 0), handler)
        self.port = self._server.server_port
        self.place = f"{address}:{self.port}"
        self.origin = f"http://{self.place}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def answering(answer: Callable[[Asked], Answer]) -> type[Handler]:
    """Return a handler that answers every request with what this function makes of it."""

    class Answering(Handler):
        def do_GET(self) -> None:
            said = answer(Asked(self.command, self.path, self.headers, self.body()))
            self.send_response(said.status)
            self.send_header("Content-Type", said.kind)
            self.send_header("Content-Length", str(len(said.content)))
            self.end_headers()
            self.wfile.write(said.content)

        do_POST = do_PATCH = do_GET

    return Answering


def free_port() -> int:
    """Return a port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Server(ThreadingHTTPServer):
    # A fleet may ask all at once.
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Whoever loses patience hangs up: no reason for a traceback.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
