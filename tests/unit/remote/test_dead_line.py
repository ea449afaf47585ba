"""A line that dies while something is written to it: said as a lost connection, never a traceback.

The channel is a mock, because Paramiko raises EOFError there only in a moment that no test can meet
for certain: the socket is dead, and its reader has not noticed yet.
"""

from __future__ import annotations

from pathlib import Path

import fabric
import paramiko
import pytest
from pytest_mock import MockerFixture

from aideploy.errors import ConnectionLost
from aideploy.events import Events, Phase
from aideploy.phases import facts
from aideploy.remote.session import Session
from aideploy.settings import load
from tests.hosts_toml import loaded

SETTINGS = """
[app]
name = "app"
repository = "/somewhere"
[serve]
command = "serve"
[environments.test.hosts.h1]
address = "127.0.0.1"
roles = ["serve"]
"""


@pytest.fixture(params=[EOFError(), OSError("gone"), paramiko.SSHException("gone")], ids=repr)
def dead(request: pytest.FixtureRequest, mocker: MockerFixture, tmp_path: Path) -> Session:
    [host] = loaded(tmp_path, SETTINGS, "test").hosts
    session = Session(host, "/srv/app", "a test", Events(), fabric.Config())
    channel = mocker.create_autospec(paramiko.Channel, instance=True)
    channel.sendall.side_effect = channel.close.side_effect = request.param
    session._channel = channel
    return session


def test_what_is_said_by_the_way_is_lost_in_silence(dead: Session) -> None:
    dead.ping()
    dead.cancel()
    dead.close()
    assert not dead.is_open


def test_a_script_that_cannot_be_sent_says_that_the_connection_is_lost(
    dead: Session, tmp_path: Path
) -> None:
    script = facts.script(load(tmp_path / "hosts.toml", "test"))
    with pytest.raises(ConnectionLost, match="lost the connection to h1"):
        dead.run(Phase.SWITCH, script)


def test_who_is_told_to_stop_and_stays_silent_is_given_up_within_seconds(
    mocker: MockerFixture, tmp_path: Path
) -> None:
    settings = loaded(tmp_path, SETTINGS, "test")
    [host] = settings.hosts
    session = Session(host, "/srv/app", "a test", Events(), fabric.Config())
    # Nothing ever arrives, and whatever is sent goes on its way.
    session._channel = mocker.create_autospec(paramiko.Channel, instance=True)
    session.cancel()
    with pytest.raises(ConnectionLost) as lost:
        session.run(Phase.WATCH, facts.script(settings))
    assert lost.value.why == "no sign of life for 2 s"
    sent = [call.args[0] for call in session._channel.sendall.call_args_list]
    assert b"ping\n" in sent
    session._channel.close.assert_called_once()
