"""Users of a service: they ask it all the time, over connections that they keep and over new ones,
and count every answer by the revision that gave it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Self

PAUSE_SECONDS = 0.04
PATIENCE_SECONDS = 15.0


@dataclass(frozen=True)
class Answer:
    """One request and what came of it.

    Args:
        at: when it was answered, on the monotonic clock.
        seconds: how long that took.
        revision: who answered; empty where the answer was none.
        error: what was wrong, or nothing.
    """

    at: float
    seconds: float
    revision: str
    error: str


class Users:
    """Four users, about 25 requests a second each; two of them keep their connection.

    A context manager: they ask for as long as it lasts.

    Args:
        host, port: whom they ask.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._answers: list[Answer] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n % 2 == 0,)) for n in range(4)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def failed(self) -> list[Answer]:
        return [one for one in self._answers if one.error]

    def by_revision(self, since: float = 0.0) -> Counter[str]:
        """How many requests each revision answered, since a moment of the monotonic clock."""
        return Counter(one.revision for one in self._answers if one.at >= since)

    def slowest(self, since: float = 0.0) -> float:
        """In seconds."""
        return max(one.seconds for one in self._answers if one.at >= since)

    def _ask(self, keeps: bool) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.wait(PAUSE_SECONDS):
            connection = connection or http.client.HTTPConnection(
                *self._address, timeout=PATIENCE_SECONDS
            )
            began = time.monotonic()
            revision = error = ""
            try:
                connection.request("GET", "/healthz")
                answer = connection.getresponse()
                body = answer.read()
                if answer.status == 200:
                    revision = json.loads(body)["revision"]
                else:
                    error = f"{answer.status} {body[:80]!r}"
            except (OSError, http.client.HTTPException, ValueError) as problem:
                error = repr(problem)
            now = time.monotonic()
            self._answers.append(Answer(now, now - began, revision, error))
            if error or not keeps:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()
