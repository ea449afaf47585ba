"""What had better come to its end: for that long the first Ctrl-C is only answered.

Used by the transaction and by whatever follows its point of no return.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aideploy.events import Events, Notice

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def undisturbed(events: Events, what: str) -> Iterator[None]:
    """Let the first Ctrl-C (or SIGTERM, or SIGHUP) pass; the second one counts.

    Args:
        events: where the user is told.
        what: what is going on that had better come to its end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(*_: object) -> None:
        restore()
        text = f"{what}, which takes a moment; another Ctrl-C stops it half-way"
        events.publish(Notice(text=text, level="warning"))

    for number in _STOP_SIGNALS:
        signal.signal(number, note)
    try:
        yield
    finally:
        restore()
