"""A real HTTP server on loopback that takes what a webhook is sent, well or badly."""

from __future__ import annotations

import json
import time
from typing import Any

from .web_server import Answer, Asked, WebServer, answering


class Webhook(WebServer):
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
        answers = list(statuses)

        def take(asked: Asked) -> Answer:
            self.asked += 1
            time.sleep(delay)
            status = answers.pop(0) if answers else 200
            if status < 300:
                self.got.append(json.loads(asked.body))
            return Answer(status=status)

        super().__init__(answering(take))
        self.url = f"{self.origin}/T0/very-secret-part"
