"""What `fab train.listen` promises those who post to it, over real HTTP; the deploy that it starts
is a small program here, which says how often and for how long it ran."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from aideploy.errors import HostNotReady
from aideploy.retraining.alerts import BadAlerts, Wanted
from aideploy.retraining.deploys import Deploys
from aideploy.retraining.listener import Listener
from tests.waiting import eventually

TOKEN = "s3cret"
LET_IN = {"Authorization": f"Bearer {TOKEN}"}
WANTED = Wanted("ranker", "production")
# Runs until the file `go` is there; Ctrl-C is written down.
DEPLOY = """
import pathlib, signal, sys, time
began = pathlib.Path("began")
began.write_text((began.read_text() if began.exists() else "") + "x")
try:
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
except KeyboardInterrupt:
    pathlib.Path("interrupted").touch()
"""


def alert(status: str = "firing", **labels: str) -> dict[str, object]:
    return {"status": status, "labels": {"alertname": "Drift", **labels}, "annotations": {}}


def posted(*alerts: object) -> bytes:
    return json.dumps({"version": "4", "status": "firing", "alerts": alerts}).encode()


class Listening:
    """A listener and what it said."""

    def __init__(self, folder: Path, pause: float = 0) -> None:
        self.folder, self.said = folder, list[str]()
        command = [sys.executable, "-c", DEPLOY]
        self.deploys = Deploys(command, folder, timedelta(seconds=pause), self.said.append)
        self.server = Listener(("127.0.0.1", 0), TOKEN, WANTED, self.deploys, self.said.append)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/retrain"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def post(self, body: bytes, **headers: str) -> httpx.Response:
        return httpx.post(self.url, content=body, headers=headers or LET_IN, timeout=10)

    @property
    def began(self) -> int:
        file = self.folder / "began"
        return len(file.read_text()) if file.exists() else 0

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.deploys.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Listening]]:
    made: list[Listening] = []

    def one(pause: float = 0) -> Listening:
        made.append(Listening(tmp_path, pause))
        return made[-1]

    yield one
    for listening in made:
        listening.close()


def test_while_a_deploy_runs_no_other_begins_and_afterwards_not_at_once(
    make: Callable[..., Listening],
) -> None:
    listening = make(pause=1.5)
    assert listening.post(posted(alert())).status_code == 202
    assert eventually(lambda: listening.began == 1)
    again = listening.post(posted(alert()))
    assert (again.status_code, again.json()["status"]) == (200, "a deploy is under way")
    (listening.folder / "go").touch()
    assert eventually(lambda: "deploy ended with status 0" in listening.said)
    assert "not before" in listening.post(posted(alert())).json()["status"]
    time.sleep(1.6)
    assert listening.post(posted(alert())).status_code == 202
    assert eventually(lambda: listening.began == 2)


def test_many_alerts_at_once_begin_one_deploy(make: Callable[..., Listening]) -> None:
    listening = make()
    answers: list[int] = []
    body = posted(alert())
    threads = [
        threading.Thread(target=lambda: answers.append(listening.post(body).status_code))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] * 9 + [202]
    assert eventually(lambda: listening.began == 1)


@pytest.mark.parametrize(
    "header", [None, "", "s3cret", "Basic s3cret", "Bearer", "Bearer wrong", "Bearer s3cre"]
)
def test_without_the_token_nothing_begins(
    make: Callable[..., Listening], header: str | None
) -> None:
    listening = make()
    headers = {} if header is None else {"Authorization": header}
    answer = httpx.post(listening.url, content=posted(alert()), headers=headers)
    assert answer.status_code == 401
    assert TOKEN not in answer.text + "".join(listening.said)
    assert listening.began == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"[" * 100_000, 400),
        (b'{"alerts": [{"labels": 7}]}', 400),
        (b"\xff\xfe", 400),
        (b" " * (1024 * 1024 + 1), 413),
        (posted(), 200),
        (posted(alert("resolved")), 200),
        (posted(alert(app="other")), 200),
        (posted(alert(app="ranker", env="staging")), 200),
    ],
)
def test_what_asks_for_nothing_begins_nothing(
    make: Callable[..., Listening], body: bytes, status: int
) -> None:
    listening = make()
    assert listening.post(body).status_code == status
    assert listening.began == 0


def test_other_paths_methods_and_callers_that_go_away_do_not_hurt(
    make: Callable[..., Listening],
) -> None:
    listening = make()
    elsewhere = listening.url.replace("/retrain", "/")
    assert httpx.post(elsewhere, content=posted(alert()), headers=LET_IN).status_code == 404
    assert httpx.get(listening.url, headers=LET_IN).status_code == 501
    port = int(listening.server.server_address[1])
    for sent in (b"", b"POST /retr", b"POST /retrain HTTP/1.1\r\nContent-Length: 50\r\n\r\n{"):
        with socket.create_connection(("127.0.0.1", port)) as caller:
            caller.sendall(sent)
    assert listening.post(posted(alert(app="ranker", env="production"))).status_code == 202


def test_the_end_of_the_listener_interrupts_the_deploy_and_waits_for_it(
    make: Callable[..., Listening],
) -> None:
    listening = make()
    listening.post(posted(alert()))
    assert eventually(lambda: listening.began == 1)
    listening.close()
    assert (listening.folder / "interrupted").exists()
    assert listening.deploys.ask("x") == (False, "the listener is about to end")


def test_a_deploy_that_cannot_be_started_is_said(tmp_path: Path) -> None:
    deploys = Deploys(["/nothing/there"], tmp_path, timedelta(0), lambda _: None)
    begun, words = deploys.ask("x")
    assert not begun and "cannot be started" in words
    assert deploys.ask("x") == (False, words)


def test_an_address_that_is_taken_is_said(make: Callable[..., Listening]) -> None:
    listening = make()
    port = int(listening.server.server_address[1])
    with pytest.raises(HostNotReady, match="cannot listen"):
        Listener(("127.0.0.1", port), TOKEN, WANTED, listening.deploys, lambda _: None)


def test_names_of_alerts_are_told_once_and_cannot_write_lines_of_their_own(
    make: Callable[..., Listening],
) -> None:
    wild, calm = alert(alertname="A\n2026 deploy ended"), alert(alertname="B")
    two = posted(wild, calm, calm)
    assert WANTED.firing(two) == ("A\n2026 deploy ended", "B")
    listening = make()
    listening.post(two)
    assert not any("\n" in line for line in listening.said)
    with pytest.raises(BadAlerts):
        WANTED.firing(b"{}")


def test_importing_it_costs_fab_list_nothing() -> None:
    asked = "import sys, aideploy.tasks.train; print('http.server' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
