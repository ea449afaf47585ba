"""Users of a service: they ask at a steady rate, and count every answer by the revision behind it.

Half of them keep their connection, as browsers and proxies do, the others open one for each
request. Nothing is tried again: whatever is refused, reset, cut or not answered in time is a
failure, and so is every status but 200. They ask when it is time, however long the answer before
took, and an answer's seconds count from that moment, so that a pause is seen by all who would have
asked in it.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

USERS_OF_A_HOST = 4
PATIENCE_SECONDS = 15.0


@dataclass(frozen=True)
class Answer:
    """One request and what came of it.

    Args:
        host: who was asked.
        began: when it was sent, in seconds since the epoch.
        at: when it was answered, likewise.
        seconds: how long that took, from the moment when it was to be sent.
        revision: who answered; empty where the answer was none.
        error: what was wrong, or nothing.
        kept: whether it went over a connection that had been used before.
    """

    host: str
    began: float
    at: float
    seconds: float
    revision: str
    error: str
    kept: bool


class Users:
    """Some users of each host, for as long as the `with` block lasts.

    Args:
        addresses: whom they ask, by the name of the host: its address and port.
        rate: requests a second, of all of them together.
    """

    def __init__(self, addresses: Mapping[str, tuple[str, int]], rate: float = 100.0) -> None:
        self._answers: list[Answer] = []
        self._stop = threading.Event()
        each = [(name, number) for number in range(USERS_OF_A_HOST) for name in addresses]
        self._interval = len(each) / rate
        self._threads = [
            threading.Thread(
                target=self._ask,
                # Not all at the same moment.
                args=(name, addresses[name], index / rate, number % 2 == 0),
            )
            for index, (name, number) in enumerate(each)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def answers(self) -> tuple[Answer, ...]:
        return tuple(self._answers)

    @property
    def failed(self) -> list[Answer]:
        return [one for one in self.answers if one.error]

    def by_revision(self, since: float = 0.0) -> Counter[str]:
        """How many requests each revision answered, since a moment in seconds since the epoch."""
        return Counter(one.revision for one in self.answers if one.at >= since)

    def from_now(self, seconds: float) -> Counter[str]:
        """How many requests each revision answers in the seconds that follow."""
        since = time.time()
        time.sleep(seconds)
        return self.by_revision(since)

    def _ask(self, name: str, address: tuple[str, int], first: float, keeps: bool) -> None:
        due = time.monotonic() + first
        connection: http.client.HTTPConnection | None = None
        while not self._stop.wait(max(due - time.monotonic(), 0)):
            connection = connection or http.client.HTTPConnection(
                *address, timeout=PATIENCE_SECONDS
            )
            kept = connection.sock is not None
            began = time.time()
            revision, error = _request(connection)
            late = time.monotonic() - due
            self._answers.append(Answer(name, began, time.time(), late, revision, error, kept))
            if error or not keeps:
                connection.close()
                connection = None
            due += self._interval
            if error:
                # What could not be asked meanwhile is not asked all at once afterwards.
                due = max(due, time.monotonic())
        if connection is not None:
            connection.close()


def _request(connection: http.client.HTTPConnection) -> tuple[str, str]:
    """The revision that answers, and what was wrong."""
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            return "", f"{answer.status} {body[:80]!r}"
        return json.loads(body)["revision"], ""
    except (OSError, http.client.HTTPException, ValueError) as problem:
        return "", repr(problem)


def slowest_percent(answers: Iterable[Answer]) -> float:
    """The 99th percentile of their seconds, by the nearest rank; 0 of none."""
    seconds = sorted(one.seconds for one in answers)
    return seconds[-(-len(seconds) * 99 // 100) - 1] if seconds else 0.0
