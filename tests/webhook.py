"""A real HTTP server on loopback that takes what a webhook is sent, well or badly."""

from __future__ import annotations

import http.server
import json
import threading
import time
from typing import Any, Self


class Webhook:
    """Use as a context manager.

    Args:
        statuses: what the first requests are answered with; those behind them with 200.
        delay: seconds before each answer.

    Attributes:
        got: the JSON documents, in order.
        asked: how many requests there were.
    """

    def __init__(self, *statuses: int, delay: float = 0) -> None:
        self.got: list[dict[str, Any]] = []
        self.asked = 0
        hook, answers = self, list(statuses)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.asked += 1
                body = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(delay)
                status = answers.pop(0) if answers else 200
                if status < 300:
                    hook.got.append(json.loads(body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/T0/very-secret-part"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
