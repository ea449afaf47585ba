"""The session with a host, over real SSH: what it puts where others on the host can see it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path

import fabric
import pytest

from aideploy.events import Events
from aideploy.remote.script import Secret
from aideploy.remote.session import Lock, Session
from aideploy.sandbox.lifecycle import Status
from tests.hosts_toml import SERVED, loaded
from tests.scripts.running import Calls

# Who may see it: everybody, in the list of processes.
SEEN = "cat /proc/$PPID/cmdline | tr '\\0' '\\n' | emit_file seen\n"


@pytest.fixture
def session(up: Status, tmp_path: Path) -> Iterator[Session]:
    host = up.hosts[0].host
    toml = f"""
[ssh]
key = "{up.layout.client_key}"
known_hosts = "{up.layout.known_hosts}"
[environments.test.hosts.h1]
address = "{host.address}"
port = {host.port}
roles = ["serve"]
"""
    [known] = loaded(tmp_path, SERVED + toml, "test").hosts
    session = Session(known, "~/app", "a test", Events(), fabric.Config())
    yield session
    session.close()


def seen(session: Session, script: Calls) -> str:
    """Open the session with this script; what its list of processes shows, also in base64."""
    [result] = session.open(Lock.NONE, script)
    words = result.data("seen").decode().split("\n")
    decoded = []
    for word in words:
        try:
            decoded.append(base64.b64decode(word, validate=True).decode("utf-8", "replace"))
        except binascii.Error:
            continue
    return "\n".join([*words, *decoded])


def test_a_secret_that_the_first_script_gets_is_in_no_argument_list(session: Session) -> None:
    body = f"set -- 'of-nobody-else'\n{SEEN}"
    shown = seen(session, Calls("calls", (Secret("of-nobody-else"),), body=body))
    assert "take_lock" in shown, "this is what the session was started with"
    assert "of-nobody-else" not in shown


def test_a_first_script_without_one_costs_no_round_trip(session: Session) -> None:
    seen(session, Calls("calls", body=SEEN))
    assert session.traffic.round_trips == 1


def test_first_scripts_may_be_larger_than_an_argument_can_be(session: Session) -> None:
    many = "".join(f": {number:09d}\n" for number in range(20_000))
    assert "take_lock" in seen(session, Calls("calls", body=many + SEEN))
