"""The annotations API of Grafana on loopback, for tests that tell it something.

No registry has Grafana itself. This peer is written from what Grafana publishes: "Annotations HTTP
API" in its documentation, and `PostAnnotationsCmd` and `PatchAnnotationsCmd` of its OpenAPI
description. It takes nothing that those do not describe, and answers in their words.
"""

from __future__ import annotations

import json
import time
from typing import Any

import jsonschema

from .web_server import Answer, Asked, WebServer, answering

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


class Grafana(WebServer):
    """One Grafana. Use as a context manager.

    Attributes:
        may_write: whether the token's account may write annotations.
        ill: the answers that come instead, as status and body; the last one for ever.
        asleep: for how many seconds it does not answer at all.
    """

    def __init__(self) -> None:
        super().__init__(answering(self._answer))
        self.url = self.origin
        self.may_write = True
        self.ill: list[tuple[int, bytes]] = []
        self.asleep: float = 0
        self.annotations: dict[int, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.said: list[bytes] = []

    def _answer(self, asked: Asked) -> Answer:
        self.asked.append(f"{asked.method} {asked.path}")
        self.said.append(asked.body)
        time.sleep(self.asleep)
        if self.ill:
            status, body = self.ill.pop(0) if len(self.ill) > 1 else self.ill[0]
            return Answer(body, status)
        if asked.headers["Authorization"] != f"Bearer {TOKEN}":
            return _message("Invalid API key", 401)
        if not self.may_write:
            needed = "annotations:create" if asked.method == "POST" else "annotations:write"
            return _message(
                "You'll need additional permissions to perform this action. "
                f"Permissions needed: {needed}",
                403,
            )
        try:
            return self._written(asked)
        except (ValueError, jsonschema.ValidationError) as error:
            return _message(f"bad request data: {error}", 400)

    def _written(self, asked: Asked) -> Answer:
        place, _, number = asked.path.partition("/api/annotations")[2].partition("/")
        written = json.loads(asked.body)
        if asked.method == "POST" and not place and not number:
            jsonschema.validate(written, _POSTED)
            made = len(self.annotations) + 1
            self.annotations[made] = {"timeEnd": written.get("time"), **written}
            return _message("Annotation added", id=made)
        if asked.method == "PATCH" and number.isdecimal():
            jsonschema.validate(written, _PATCHED)
            if int(number) not in self.annotations:
                return _message("Annotation not found", 404)
            self.annotations[int(number)].update(written)
            return _message("Annotation patched")
        return _message("Not found", 404)


def _message(text: str, status: int = 200, **more: object) -> Answer:
    return Answer(json.dumps({"message": text, **more}).encode(), status)
