"""A long cable: every frame between two network taps takes its time, in a kernel without netem.

`Lab.distant` starts this as a process of its own and puts one tap on the bridge of the controller
and the other on the bridge of the hosts. Real TCP ends are on both sides, so handshakes, slow
start, Nagle's algorithm and delayed acknowledgements cost what they cost over such a distance.
Order is kept and bandwidth is not limited, but every frame passes through Python.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator

# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
FRAME = 65536


def _open_tap(name: str) -> int:
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return tap


def _frames(tap: int) -> Iterator[bytes]:
    """All frames that wait at the tap now."""
    while True:
        try:
            yield os.read(tap, FRAME)
        except BlockingIOError:
            return


def _carry(taps: tuple[int, int], one_way: float) -> None:
    """Carry frames both ways until the standard input ends."""
    under_way: dict[int, deque[tuple[float, bytes]]] = {tap: deque() for tap in taps}
    opposite = dict(zip(taps, reversed(taps), strict=True))
    while True:
        next_due = min((queue[0][0] for queue in under_way.values() if queue), default=None)
        patience = None if next_due is None else max(0.0, next_due - time.monotonic())
        ready, _, _ = select.select([*taps, sys.stdin.fileno()], [], [], patience)
        if sys.stdin.fileno() in ready:
            return
        for tap in ready:
            due = time.monotonic() + one_way
            under_way[opposite[tap]].extend((due, frame) for frame in _frames(tap))
        for tap, queue in under_way.items():
            while queue and queue[0][0] <= time.monotonic():
                os.write(tap, queue.popleft()[1])


if __name__ == "__main__":
    seconds, near, far = sys.argv[1:]
    opened = (_open_tap(near), _open_tap(far))
    print("ready", flush=True)
    _carry(opened, float(seconds))
