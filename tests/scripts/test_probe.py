"""The program that asks a service on its host: what it makes of each kind of answer."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import aideploy

PROBE = Path(aideploy.__file__).parent / "scripts" / "probe.py"

Serve = Callable[..., int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve these bytes to whoever asks, and return the port; the line stays open if asked to."""
    listeners: list[socket.socket] = []
    kept: list[socket.socket] = []

    def start(answer: bytes, *, keep_open: bool = False) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def answer_all() -> None:
            with suppress(OSError):
                while True:
                    line, _ = listener.accept()
                    line.recv(1 << 16)
                    line.sendall(answer)
                    kept.append(line)
                    if not keep_open:
                        line.close()

        threading.Thread(target=answer_all, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for each in (*listeners, *kept):
        each.close()


def ask(port: int, **changed: object) -> tuple[int, str]:
    request = {
        "url": f"http://127.0.0.1:{port}/healthz",
        "host": "127.0.0.1",
        "port": port,
        "path": "/healthz",
        "status": 200,
        "fields": {"revision": "abc"},
        "command": "",
        "timeout": 0.2,
        "interval": 0.1,
        "steady": False,
    }
    ran = subprocess.run(
        [sys.executable, "-c", PROBE.read_text(), json.dumps(request | changed)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert not ran.stderr
    return ran.returncode, ran.stdout.splitlines()[-1]


WELL = b'{"revision": "abc"}'


def test_an_answer_that_ends_with_the_line_is_well(serve: Serve) -> None:
    status, said = ask(serve(b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\n" + WELL))
    assert status == 0, said
    assert said.startswith("healthy after")


def test_a_server_that_keeps_the_line_open_is_not_waited_for(serve: Serve) -> None:
    length = b"content-length: %d\r\n" % len(WELL)
    answer = b"HTTP/1.1 200 OK\r\n" + length + b"\r\n" + WELL
    status, said = ask(serve(answer, keep_open=True))
    assert (status, float(said.split()[2]) < 2) == (0, True), said


def test_the_old_revision_is_not_well(serve: Serve) -> None:
    status, said = ask(serve(b'HTTP/1.0 200 OK\r\n\r\n{"revision": "old"}'))
    assert status == 1
    assert "says revision = 'old', expected 'abc'" in said


def test_a_redirect_is_named_and_not_followed(serve: Serve) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n"
    status, said = ask(serve(answer))
    assert status == 1
    assert "answered 302, a redirect to /login, expected 200" in said


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1\r\n\r\n", b"\xff\xfe\0"])
def test_what_is_no_http_is_said_to_be_none(serve: Serve, answer: bytes) -> None:
    status, said = ask(serve(answer))
    assert status == 1
    assert "does not speak HTTP" in said


def test_nobody_there_is_told_apart_from_a_bad_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = int(unused.getsockname()[1])
    status, said = ask(port)
    assert status == 1
    assert f"nothing listens on 127.0.0.1:{port}" in said


def test_a_service_that_is_gone_is_not_waited_for() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    request = {"url": "x", "host": "127.0.0.1", "port": 9, "path": "/", "status": 200}
    request |= {"fields": {}, "command": "", "timeout": 60, "interval": 1, "steady": False}
    ran = subprocess.run(
        [sys.executable, "-c", PROBE.read_text(), json.dumps(request), str(gone.pid)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ran.returncode == 1
    assert "the service ended" in ran.stdout
