"""Hears what Alertmanager posts, and asks for a deploy where an alert asks for a training.

Called by `fab train.listen`. It hears on loopback unless told otherwise, takes one token, and
answers at once: a deploy takes longer than Alertmanager waits.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aideploy.errors import HostNotReady
from aideploy.report.safe_text import harmless_lines
from aideploy.retraining.alerts import MOST_BYTES, BadAlerts, Wanted, is_allowed
from aideploy.retraining.deploys import Deploys

PATH = "/retrain"
_PATIENCE_SECONDS = 10


class Listener(ThreadingHTTPServer):
    """The server. `serve_forever` until `shutdown`.

    Args:
        address: to listen on, and the port.
        token: what lets a caller in.
        wanted: which alerts are meant.
        deploys: asked for one.
        say: is told what happens, in words.

    Raises:
        HostNotReady: the address cannot be listened on.
    """

    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        token: str,
        wanted: Wanted,
        deploys: Deploys,
        say: Callable[[str], None],
    ) -> None:
        self.token, self.wanted, self.deploys, self.say = token, wanted, deploys, say
        try:
            super().__init__(address, _Request)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise HostNotReady(
                f"cannot listen on {address[0]}:{address[1]}: {reason}",
                next_step="choose another --port or --bind",
            ) from error

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that goes away is no reason for a traceback."""


class _Request(BaseHTTPRequestHandler):
    server: Listener
    # Of one that sends nothing.
    timeout = _PATIENCE_SECONDS
    server_version, sys_version = "aideploy", ""

    def do_POST(self) -> None:
        if not is_allowed(self.headers.get("Authorization"), self.server.token):
            self.server.say(f"refused {self.client_address[0]}: no token, or a wrong one")
            self._answer(HTTPStatus.UNAUTHORIZED, "expected the token: Authorization: Bearer …")
        elif self.path != PATH:
            self._answer(HTTPStatus.NOT_FOUND, f"expected {PATH}")
        else:
            self._hear()

    def _hear(self) -> None:
        length = self.headers.get("Content-Length") or ""
        if not length.isascii() or not length.isdecimal():
            self._answer(HTTPStatus.LENGTH_REQUIRED, "expected Content-Length")
            return
        if int(length[:12]) > MOST_BYTES:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {MOST_BYTES} bytes")
            return
        try:
            names = self.server.wanted.firing(self.rfile.read(int(length)))
        except BadAlerts as error:
            self._answer(HTTPStatus.BAD_REQUEST, f"not what Alertmanager posts: {error}")
            return
        if not names:
            self._answer(HTTPStatus.OK, "no alert of ours is firing")
            return
        why = " ".join(harmless_lines(", ".join(names)))
        begun, words = self.server.deploys.ask(why)
        if not begun:
            self.server.say(f"{why}: {words}")
        self._answer(HTTPStatus.ACCEPTED if begun else HTTPStatus.OK, words)

    def _answer(self, status: HTTPStatus, words: str) -> None:
        body = json.dumps({"status": words}).encode() + b"\n"
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""
