"""One command on one sandbox host, run for real and connected to its SSH channel.

Called by `server` for every session that is not SFTP. It behaves as OpenSSH does: the command is
given to the login shell in a session of its own; without a terminal it outlives the channel, whose
end it sees as the end of its input and a broken pipe on its output; the channel stays open until
the command has ended and nobody holds its output any more.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from aideploy.sandbox.environment import SHELL

_CHUNK = 64 * 1024
_SHELL_DID_NOT_START = 1

Channel = asyncssh.SSHServerProcess[bytes]


@dataclass(frozen=True)
class _Ends:
    """File descriptors: three that the command gets, and those of the server that face them."""

    stdin: int
    stdout: int
    stderr: int
    to_command: int
    from_command: tuple[tuple[int, asyncssh.SSHWriter[bytes]], ...]

    def close_those_of_the_command(self) -> None:
        for descriptor in {self.stdin, self.stdout, self.stderr}:
            os.close(descriptor)

    def close_those_of_the_server(self) -> None:
        for descriptor in (self.to_command, *(source for source, _ in self.from_command)):
            os.close(descriptor)


async def run(channel: Channel, home: Path, environment: Mapping[str, str]) -> None:
    """Run what the client asked for: its command, or a shell when it named none."""
    ends = _pipes(channel) if channel.term_type is None else _terminal(channel)
    try:
        process = await asyncio.create_subprocess_exec(
            *([SHELL, "-c", channel.command] if channel.command else [SHELL]),
            stdin=ends.stdin,
            stdout=ends.stdout,
            stderr=ends.stderr,
            cwd=home,
            env={**environment, "TERM": channel.term_type or "dumb"},
            start_new_session=True,
            preexec_fn=_own_the_terminal if channel.term_type else None,
        )
    except OSError as error:
        ends.close_those_of_the_server()
        channel.stderr.write(f"{SHELL}: {error.strerror}\n".encode())
        channel.exit(_SHELL_DID_NOT_START)
        return
    finally:
        ends.close_those_of_the_command()
    await _connect(channel, process, ends)


def _pipes(channel: Channel) -> _Ends:
    """As sshd does without a terminal.

    Pipes of our own: asyncio would give the command a socket as its input, on which /dev/stdin
    cannot be opened, and would wait for the pipes wherever it is asked to wait for the process.
    """
    stdin, to_command = os.pipe()
    from_stdout, stdout = os.pipe()
    from_stderr, stderr = os.pipe()
    return _Ends(
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        to_command=to_command,
        from_command=((from_stdout, channel.stdout), (from_stderr, channel.stderr)),
    )


def _terminal(channel: Channel) -> _Ends:
    ours, theirs = pty.openpty()
    _resize(ours, *channel.term_size)
    return _Ends(
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        to_command=os.dup(ours),
        from_command=((ours, channel.stdout),),
    )


def _own_the_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


async def _connect(channel: Channel, process: asyncio.subprocess.Process, ends: _Ends) -> None:
    """Carry bytes both ways until the command is done or the channel is gone."""
    receiving = asyncio.create_task(_receive(channel, process.pid, ends.to_command))
    closing = asyncio.create_task(channel.wait_closed())
    running = asyncio.create_task(_run_to_the_end(process, ends))
    await asyncio.wait({running, closing}, return_when=asyncio.FIRST_COMPLETED)
    for task in (receiving, closing, running):
        task.cancel()
    *_, status = await asyncio.gather(receiving, closing, running, return_exceptions=True)
    if isinstance(status, int):
        _report_end(channel, status)


async def _run_to_the_end(process: asyncio.subprocess.Process, ends: _Ends) -> int:
    """The exit status, when the command has ended and all that it wrote is on its way."""
    await asyncio.gather(*(_send(source, sink) for source, sink in ends.from_command))
    return await process.wait()


def _report_end(channel: Channel, status: int) -> None:
    """Say how the command ended, and close the channel. Everything that it wrote is on its way.

    No end of file is sent before: where the client has sent its own, asyncssh would close the
    channel then and there, and the exit status would be lost.
    """
    if channel.is_closing():
        return
    if status >= 0:
        channel.exit(status)
    else:
        channel.exit_with_signal(_signal_name(-status))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:  # a real-time signal: sshd, too, has no name for it
        return "SIG@openssh.com"


async def _send(source: int, sink: asyncssh.SSHWriter[bytes]) -> None:
    """Carry what the command writes to the client, no faster than the client takes it."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(source, "rb", buffering=0)
    )
    # A terminal whose session has ended reports an input/output error instead of an end of file.
    with suppress(OSError, asyncssh.Error):
        try:
            while data := await reader.read(_CHUNK):
                sink.write(data)
                await sink.drain()
        finally:
            transport.close()


async def _receive(channel: Channel, process_group: int, sink: int) -> None:
    """Carry what the client sends to the command, no faster than the command takes it."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()),
        os.fdopen(sink, "wb", buffering=0),
    )
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    try:
        while data := await _next_input(channel, process_group, sink):
            if writer.is_closing():
                continue  # the command has closed its input: the rest is thrown away
            writer.write(data)
            with suppress(ConnectionError):
                await writer.drain()
    finally:
        transport.close()


async def _next_input(channel: Channel, process_group: int, terminal: int) -> bytes:
    """The next bytes from the client, nothing at the end. What is no data is acted upon here."""
    while True:
        try:
            return await channel.stdin.read(_CHUNK)
        except asyncssh.SignalReceived as received:
            _pass_on(received.signal, process_group)
        except asyncssh.TerminalSizeChanged as size:
            _resize(terminal, size.width, size.height, size.pixwidth, size.pixheight)
        except asyncssh.BreakReceived:
            continue
        except (OSError, asyncssh.Error):
            return b""


def _pass_on(name: str, process_group: int) -> None:
    number = signal.Signals.__members__.get(f"SIG{name}")
    if number is not None:
        with suppress(ProcessLookupError):
            os.killpg(process_group, number)


def _resize(terminal: int, width: int, height: int, pixel_width: int, pixel_height: int) -> None:
    size = struct.pack("HHHH", height, width, pixel_width, pixel_height)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
