"""Write what a training prints to its log, so much and no more.

Runs on the hosts (Python 3.8 or later, standard library only), between a training and its log:

    python3 -c PROGRAM LIMIT <WHAT IT PRINTS >>LOG

Beyond LIMIT bytes only the end is kept, where a training says why it failed. Whatever becomes of
the log, as on a full disk, the training is read to its end: it must not wait, or die of a closed
pipe.
"""

from __future__ import annotations

import os
import sys

KEPT_BYTES = 1 << 16


def main() -> None:
    left = int(sys.argv[1])
    beyond = 0
    end = last = b""
    while True:
        part = os.read(0, 1 << 16)
        if not part:
            break
        if left:
            last = part[:left]
            put(last)
            part = part[left:]
            left -= len(last)
        if part:
            if not beyond:
                tell("the log is full: of what follows only the end is kept", last)
            beyond += len(part)
            end = (end + part)[-KEPT_BYTES:]
    if beyond:
        if beyond > len(end):
            tell(f"{beyond - len(end)} bytes are left out here ([train] log_limit)", b"\n")
        put(end)


def tell(words: str, before: bytes) -> None:
    gap = "" if before.endswith(b"\n") else "\n"
    put(f"{gap}-- {words} --\n".encode())


def put(data: bytes) -> None:
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        # Nobody is left to be told.
        pass


if __name__ == "__main__":
    main()
