"""What the services of all hosts write, as it comes, in the order of time.

A reader of events for `fab logs --follow`. Hosts answer a moment apart and lines travel for a
while, so each waits a little for older ones of other hosts. Clocks that differ may mix the order
up; they never hold a line back.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from aideploy.events import Event, OutputReceived, Phase
from aideploy.report.safe_text import harmless
from aideploy.report.service_log import LogLine, Sieve, Wanted

_SECONDS_BETWEEN_HOSTS = 0.5
_SECONDS_OF_PAST = 3.0
_TICK = 0.1


class MergedLog:
    """Prints `host | line`; used as a context, at whose end everything has been printed.

    Args:
        say: prints one line and sends it at once.
        hosts: that are followed.
        want: which lines are shown.
        past: of what was there already, at most so many lines of each host.
    """

    def __init__(
        self, say: Callable[[str], None], hosts: Iterable[str], want: Wanted, past: int
    ) -> None:
        self._say = say
        self._sieves = {host: Sieve(host, want) for host in hosts}
        self._width = max(map(len, self._sieves), default=0)
        self._past: dict[str, deque[LogLine]] = {host: deque(maxlen=past) for host in self._sieves}
        self._past_ends: float | None = None
        self._is_past = True
        self._heap: list[tuple[datetime, int, float, LogLine]] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="merged log", daemon=True)

    def __enter__(self) -> MergedLog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        with self._lock:
            self._end_past()
            self._print(lambda _: True)

    def __call__(self, event: Event) -> None:
        if not isinstance(event, OutputReceived) or event.phase is not Phase.RUN:
            return
        sieve = self._sieves.get(event.host)
        with self._lock:
            line = sieve.take(event.line) if sieve else None
            if self._past_ends is None:
                self._past_ends = time.monotonic() + _SECONDS_OF_PAST
            if line is None:
                return
            if self._is_past:
                self._past[line.host].append(line)
            else:
                self._push(line)

    def _tick(self) -> None:
        while not self._stopped.wait(_TICK):
            with self._lock:
                now = time.monotonic()
                if self._is_past and self._past_ends is not None and now >= self._past_ends:
                    self._end_past()
                self._print(lambda due, now=now: due <= now)  # type: ignore[misc]

    def _end_past(self) -> None:
        self._is_past = False
        for lines in self._past.values():
            for line in lines:
                self._push(line)
            lines.clear()

    def _push(self, line: LogLine) -> None:
        due = time.monotonic() + _SECONDS_BETWEEN_HOSTS
        heapq.heappush(self._heap, (line.at or datetime.now(UTC), next(self._numbers), due, line))

    def _print(self, is_due: Callable[[float], bool]) -> None:
        """Print what is due, and before it what is older."""
        latest = max((one[:2] for one in self._heap if is_due(one[2])), default=None)
        while latest is not None and self._heap and self._heap[0][:2] <= latest:
            line = heapq.heappop(self._heap)[3]
            self._say(f"{harmless(line.host):<{self._width}} | {harmless(line.line)}")
