"""A project that is broken is told which way, and what is live stays live."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from aideploy.errors import ExitStatus
from tests.lab.git_server import Credentials, GitServer

from .small_project import SmallProject

ONLY = ("deploy", "--only=host1")
UNJUDGED = (*ONLY, "--no-gate")

# Answers as MODE says, with sockets alone: no library of HTTP would let it.
_ODD_SERVICE = """\
import json, os, socket, time

body = json.dumps({"revision": os.environ["REVISION"]}).encode()
old = json.dumps({"revision": "0" * 40}).encode()

def answer(status, body, *headers):
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\\r\\n".join(head).encode() + body

def forever(line, piece, pause=0):
    while True:
        line.sendall(piece)
        time.sleep(pause)

def treat(line):
    match os.environ["MODE"]:
        case "hangs":
            time.sleep(60)
        case "500":
            line.sendall(answer("500 Internal Server Error", b"boom"))
        case "old":
            line.sendall(answer("200 OK", old))
        case "redirect":
            line.sendall(answer("302 Found", b"", "Location: /healthz/"))
        case "garbage":
            line.sendall(bytes(range(256)) * 20)
        case "no json":
            line.sendall(answer("200 OK", b"\\xff\\x1b[2J fine"))
        case "closes":
            pass
        case "endless":
            line.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
            forever(line, b"x" * 65536)
        case "drips":
            line.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 100000\\r\\n\\r\\n")
            forever(line, b"x", 0.2)
        case "headers":
            line.sendall(b"HTTP/1.1 200 OK\\r\\nX: ")
            forever(line, b"x" * 65536)

listening = socket.create_server((os.environ["BIND"], int(os.environ["PORT"])))
while True:
    line, _ = listening.accept()
    with line:
        try:
            line.recv(65536)
            treat(line)
        except OSError:
            pass
"""


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("echo goodbye; exit 3", "it could not be started"),
        ("exec sleep 60", "nothing listens on"),
        ("PORT=$((PORT + 1)); export PORT; exec python3 service.py", "nothing listens on"),
        ("nosuchprogram", "nosuchprogram: command not found"),
        ("an open ' quote", "unexpected EOF"),
    ],
    ids=["exits at once", "does not listen", "wrong port", "no program", "no shell text"],
)
def test_a_service_that_does_not_serve_never_becomes_live(
    project: SmallProject, command: str, says: str
) -> None:
    project.settle(serve={"command": command})

    project.refuses(*ONLY, status=ExitStatus.REFUSED, says=says)


def test_the_last_lines_are_those_of_the_service_that_failed(project: SmallProject) -> None:
    project.settle(serve={"command": "echo the words of an earlier one; exit 3"})
    assert "the words of an earlier one" in project.fab(*ONLY).text

    project.settle(serve={"command": "exec sleep 60"})
    ran = project.refuses(*ONLY, status=ExitStatus.REFUSED, says="nothing listens on")
    assert "the words of an earlier one" not in ran.text


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("hangs", "no answer from"),
        ("500", "answered 500, expected 200"),
        ("old", f"says revision = '{'0' * 40}', expected"),
        ("redirect", "answered 302, a redirect to /healthz/, expected 200"),
        ("garbage", "does not speak HTTP"),
        ("no json", "is not JSON"),
        ("closes", "does not speak HTTP"),
        ("endless", "is not JSON"),
        ("drips", "not healthy after 5 s: no answer from"),
        ("headers", "its headers do not end"),
    ],
)
def test_a_service_that_answers_wrongly_never_becomes_live(
    project: SmallProject, mode: str, says: str
) -> None:
    project.branch("odd")
    project.commit({"service.py": _ODD_SERVICE})
    project.settle(
        app={"branch": "odd"},
        serve={"environment": {"MODE": mode}},
        health={"timeout": "1s"},
    )

    start = time.monotonic()
    ran = project.refuses(*ONLY, status=ExitStatus.REFUSED, says=says)
    assert time.monotonic() - start < 25
    assert "\x1b" not in ran.text


def test_tests_that_fail_refuse_the_release_and_show_what_they_said(project: SmallProject) -> None:
    project.settle(test={"command": "echo FAILED test_ranking; exit 1"})

    project.refuses(*ONLY, status=ExitStatus.REFUSED, says="│ FAILED test_ranking")


@pytest.mark.parametrize(
    ("table", "status"), [("test", ExitStatus.REFUSED), ("train", ExitStatus.ROLLED_BACK)]
)
def test_a_command_that_hangs_is_ended_with_its_children(
    project: SmallProject, table: str, status: ExitStatus
) -> None:
    tables: dict[str, Any] = {table: {"command": "sleep 4711 & sleep 4711", "timeout": "1s"}}
    project.settle(**tables)

    ran = project.refuses(*UNJUDGED, status=status, says="took longer than its time limit")

    assert f"raise timeout in [{table}]" in ran.text
    assert not [one for one in psutil.process_iter(["cmdline"]) if "4711" in _words(one)]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("echo no memory; exit 3", "the training failed (exit status 3)"),
        ("true", "the training ended well but wrote no model"),
        ("mkdir model", "the model in model is empty"),
        (": > model", "the model in model is empty"),
        ("mkdir model; echo 1 > model/a; ln -s /etc/passwd model/b", "no plain file: b"),
        ("mkfifo model", "no plain file: model"),
    ],
    ids=["fails", "no model", "empty folder", "empty file", "link out of it", "pipe"],
)
def test_a_training_without_a_model_is_refused(
    project: SmallProject, command: str, says: str
) -> None:
    project.settle(train={"command": command})

    project.refuses(*UNJUDGED, status=ExitStatus.ROLLED_BACK, says=says)


@pytest.mark.parametrize(
    ("metrics", "says"),
    [
        ("{bad", "the metrics are not kept: the file is not JSON"),
        ('{"auc": 1e999}', "the metric auc is not kept: it is no finite number"),
    ],
)
def test_metrics_that_cannot_be_kept_are_said_to_be_missing(
    project: SmallProject, metrics: str, says: str
) -> None:
    project.branch("metrics")
    project.commit({"said": metrics})
    project.settle(
        app={"branch": "metrics"}, train={"command": "echo 1 > model; cp said metrics.json"}
    )

    ran = project.fab(*UNJUDGED)

    assert ran.status == ExitStatus.DONE, ran.text
    assert f"warning: host1: {says}" in ran.text


@pytest.mark.parametrize(
    ("requirements", "says"),
    [
        ("surely-no-such-package-as-this==1\n", "the requirements cannot be installed"),
        pytest.param(
            "six==1.16.0\nsix==1.15.0\n",
            "the requirements cannot be installed",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            b"\xff\x00\x01binary",
            "the requirements cannot be installed",
            marks=pytest.mark.slow,
        ),
        (None, "the release has no file requirements.txt"),
    ],
    ids=["unknown", "conflicting", "binary", "missing"],
)
def test_requirements_that_cannot_be_installed_are_told(
    project: SmallProject, requirements: str | bytes | None, says: str
) -> None:
    project.branch("requirements")
    if requirements is not None:
        project.commit({"requirements.txt": requirements})
    project.settle(
        app={"branch": "requirements"},
        install={
            "requirements": ["requirements.txt"],
            "environment": {"UV_OFFLINE": "1", "PIP_NO_INDEX": "1"},
        },
    )

    project.refuses(*ONLY, status=ExitStatus.ROLLED_BACK, says=says)


def test_a_repository_that_is_not_there_is_named(project: SmallProject, tmp_path: Path) -> None:
    project.settle(app={"repository": str(tmp_path / "nowhere")})

    project.refuses(*ONLY, status=ExitStatus.NOT_READY, says=f"cannot fetch from {tmp_path}")


def test_an_empty_repository_is_told(project: SmallProject, tmp_path: Path) -> None:
    project.git("init", "--quiet", "--bare", str(tmp_path / "empty.git"))
    project.settle(app={"repository": str(tmp_path / "empty.git")})

    project.refuses(*ONLY, status=ExitStatus.USAGE, says="there is no branch, tag or commit main")


def test_a_repository_that_wants_a_password_is_told_and_nobody_is_asked(
    project: SmallProject, tmp_path: Path
) -> None:
    shutil.copytree(project.repository / ".git", tmp_path / "private.git")
    with GitServer(tmp_path, "127.0.0.1", Credentials("ada", "secret")) as server:
        project.settle(app={"repository": server.url("private.git")})
        project.refuses(*ONLY, status=ExitStatus.NOT_READY, says="may not read the repository")


def test_a_repository_that_never_answers_is_given_up(project: SmallProject) -> None:
    with _silent_server() as port:
        project.settle(app={"repository": f"http://127.0.0.1:{port}/app.git"})
        start = time.monotonic()
        project.refuses(
            *ONLY, status=ExitStatus.NOT_READY, says="did not answer in time", timeout=120
        )
        assert time.monotonic() - start < 60


@contextmanager
def _silent_server() -> Iterator[int]:
    lines = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    lines.append(listening.accept())

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    for line, _ in lines:
        line.close()


def _words(process: psutil.Process) -> list[str]:
    return process.info["cmdline"] or []
