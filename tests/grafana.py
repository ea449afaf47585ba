"""The annotations API of Grafana on loopback, for tests that tell it something.

No registry has Grafana itself. This peer is written from what Grafana publishes: "Annotations HTTP
API" in its documentation, and `PostAnnotationsCmd` and `PatchAnnotationsCmd` of its OpenAPI
description. It takes nothing that those do not describe, and answers in their words.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jsonschema

TOKEN = "glsa_not-a-real-one_1f2e3d4c"
_WRITTEN: dict[str, Any] = {
    "time": {"type": "integer", "minimum": 1_000_000_000_000},
    "timeEnd": {"type": "integer", "minimum": 1_000_000_000_000},
    "text": {"type": "string"},
    "tags": {"type": "array", "items": {"type": "string", "maxLength": 100}},
    "data": {"type": "object"},
}
_PLACES = {
    "dashboardId": {"type": "integer"},
    "dashboardUID": {"type": "string"},
    "panelId": {"type": "integer"},
}
_POSTED = {
    "type": "object",
    "required": ["text"],
    "properties": {**_WRITTEN, **_PLACES},
    "additionalProperties": False,
}
_PATCHED = {
    "type": "object",
    "properties": {**_WRITTEN, "id": {"type": "integer"}},
    "additionalProperties": False,
}


@dataclass
class Grafana:
    """One Grafana. Use as a context manager.

    Args:
        may_write: whether the token's account may write annotations.
        ill: the answers that come instead, as status and body; the last one for ever.
        asleep: for how many seconds it does not answer at all.
    """

    may_write: bool = True
    ill: list[tuple[int, bytes]] = field(default_factory=list)
    asleep: float = 0
    annotations: dict[int, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    said: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        # Whoever loses patience hangs up: no reason for a traceback.
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Grafana:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, bytes]:
        self.asked.append(f"{method} {path}")
        self.said.append(body)
        time.sleep(self.asleep)
        if self.ill:
            return self.ill.pop(0) if len(self.ill) > 1 else self.ill[0]
        if token != f"Bearer {TOKEN}":
            return 401, _message("Invalid API key")
        if not self.may_write:
            needed = "annotations:create" if method == "POST" else "annotations:write"
            return 403, _message(
                "You'll need additional permissions to perform this action. "
                f"Permissions needed: {needed}"
            )
        place, _, number = path.partition("/api/annotations")[2].partition("/")
        written = json.loads(body)
        if method == "POST" and not place and not number:
            jsonschema.validate(written, _POSTED)
            made = len(self.annotations) + 1
            self.annotations[made] = {"timeEnd": written.get("time"), **written}
            return 200, json.dumps({"message": "Annotation added", "id": made}).encode()
        if method == "PATCH" and number.isdecimal():
            jsonschema.validate(written, _PATCHED)
            if int(number) not in self.annotations:
                return 404, _message("Annotation not found")
            self.annotations[int(number)].update(written)
            return 200, _message("Annotation patched")
        return 404, _message("Not found")


def _message(text: str) -> bytes:
    return json.dumps({"message": text}).encode()


def _handler(grafana: Grafana) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _speak(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            token = self.headers.get("Authorization", "")
            try:
                status, answer = grafana.answer(self.command, self.path, token, body)
            except (ValueError, jsonschema.ValidationError) as error:
                status, answer = 400, _message(f"bad request data: {error}")
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_PATCH = do_GET = _speak

        def log_message(self, *_: object) -> None:
            pass

    return Handler
