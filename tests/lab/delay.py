"""A TCP proxy with a round-trip time that can freeze and reset the connections through it.

It runs in a process of its own, holds each chunk for half the round trip in each direction, keeps
their order and does not limit the bandwidth. A connection costs one round trip before the first
byte can leave, as a real one does. Used by `Lab.proxied` and the fault tests; needs no root.

What it cannot show: TCP itself ends at the proxy, so acknowledgements take no time. Slow start and
Nagle's algorithm cost nothing here (`ssh true` over 50 ms: 0.56 s, over a real distance 0.78 s),
and a frozen line still acknowledges. To measure time use `Lab.distant`; for packets that vanish,
`Host.drop` or `Host.cut`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Self

Address = tuple[str, int]

CHUNK = 64 * 1024
# Chunks under way per direction. At 50 ms that is more than 2 GB/s: not a limit anyone meets.
UNDER_WAY = 1024
BACKLOG = 256
READY = "ready"
DONE = "done"


class DelayProxy:
    """Proxies at some addresses, for the length of a `with` block.

    Args:
        targets: for each address to listen on, the address that it stands for.
        round_trip: the time that a byte and its answer spend on the line together.
    """

    def __init__(
        self,
        targets: Mapping[Address, Address],
        round_trip: timedelta = timedelta(milliseconds=50),
    ) -> None:
        self._targets = dict(targets)
        self._round_trip = round_trip

    def __enter__(self) -> Self:
        routes = [
            f"{listen[0]}:{listen[1]}={target[0]}:{target[1]}"
            for listen, target in self._targets.items()
        ]
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self._round_trip.total_seconds()), *routes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._expect(READY)
        return self

    def __exit__(self, *_: object) -> None:
        # The proxy ends with its input; so it also ends when this process is killed.
        self._process.communicate()

    def freeze(self) -> None:
        """Hold everything from now on. Nothing is lost."""
        self._tell("freeze")

    def thaw(self) -> None:
        """Let everything go on that `freeze` held."""
        self._tell("thaw")

    def cut(self) -> None:
        """Reset all connections at once, on both sides. New ones are accepted."""
        self._tell("cut")

    def _tell(self, order: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        self._expect(DONE)

    def _expect(self, answer: str) -> None:
        assert self._process.stdout is not None
        heard = self._process.stdout.readline().strip()
        if heard != answer:
            raise RuntimeError(f"the delay proxy said {heard!r} instead of {answer!r}")


class _Line:
    """All connections of the proxy process: how long they delay, and whether they flow."""

    def __init__(self, round_trip: float) -> None:
        self._round_trip = round_trip
        self._flows = asyncio.Event()
        self._flows.set()
        self._ends: set[asyncio.StreamWriter] = set()

    def obey(self, order: str) -> None:
        if order == "freeze":
            self._flows.clear()
        elif order == "thaw":
            self._flows.set()
        elif order == "cut":
            for end in self._ends:
                end.transport.abort()
        else:
            raise ValueError(order)

    async def connect(
        self, target: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry one accepted connection to its target and back, until both sides have ended it.

        asyncio sets TCP_NODELAY on both sockets by itself.
        """
        ends = {writer}
        self._ends |= ends
        try:
            async with asyncio.TaskGroup() as tasks:
                outward: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(UNDER_WAY)
                tasks.create_task(self._take(reader, outward))
                # The handshake takes one round trip, then its last packet half of one.
                await asyncio.sleep(self._round_trip * 1.5)
                await self._flows.wait()
                far_reader, far_writer = await asyncio.open_connection(*target)
                ends.add(far_writer)
                self._ends |= ends
                inward: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(UNDER_WAY)
                tasks.create_task(self._take(far_reader, inward))
                tasks.create_task(self._give(outward, far_writer))
                tasks.create_task(self._give(inward, writer))
            for end in ends:
                end.close()
        except* OSError:
            # Refused or reset on one side: the other side is reset too.
            for end in ends:
                end.transport.abort()
        finally:
            self._ends -= ends

    async def _take(
        self, reader: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        """Note each chunk with the moment it is due at the other end; the last one is empty."""
        chunk = b"first"
        while chunk:
            chunk = await reader.read(CHUNK)
            due = asyncio.get_running_loop().time() + self._round_trip / 2
            await queue.put((due, chunk))

    async def _give(
        self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        while True:
            due, chunk = await queue.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            await self._flows.wait()
            if not chunk:
                writer.write_eof()
                return
            writer.write(chunk)
            await writer.drain()


async def _serve(round_trip: float, routes: Mapping[Address, Address]) -> None:
    """Be the proxy process: serve until the input ends, obey the orders that come in on it."""
    line = _Line(round_trip)
    for listen, target in routes.items():

        async def connect(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Address = target
        ) -> None:
            # Cancelled only when this process ends; asyncio would print a traceback for it.
            with suppress(asyncio.CancelledError):
                await line.connect(target, reader, writer)

        await asyncio.start_server(connect, *listen, backlog=BACKLOG)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    print(READY, flush=True)
    while order := (await orders.readline()).decode().strip():
        line.obey(order)
        print(DONE, flush=True)


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _route(text: str) -> tuple[Address, Address]:
    listen, _, target = text.partition("=")
    return _address(listen), _address(target)


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]), dict(map(_route, sys.argv[2:]))))
