"""The connections of one command share Fabric's configuration and leave it alone."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import fabric
import paramiko
import pytest

from aideploy.remote.connecting import connect
from aideploy.settings.hosts import Host

SSH_CONFIG = """
Host gpu1
    IdentityFile /keys/of-gpu1
Host gpu2
    IdentityFile /keys/of-gpu2
"""


class Opened(Exception):
    """A connection was ready to be opened."""


def keys_offered(
    name: str, config: fabric.Config, monkeypatch: pytest.MonkeyPatch
) -> list[str] | str:
    # Nothing listens in a unit test: what is looked at is what Paramiko would have been told.
    def refuse(connection: fabric.Connection) -> None:
        raise Opened(connection.connect_kwargs["key_filename"])

    monkeypatch.setattr(fabric.Connection, "open", refuse)
    with pytest.raises(Opened) as opened:
        connect(Host(name=name, address=name), config)
    keys: list[str] | str = opened.value.args[0]
    return keys


def test_a_host_is_not_offered_the_key_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    config = fabric.Config(ssh_config=paramiko.SSHConfig.from_text(SSH_CONFIG))

    assert keys_offered("gpu1", config, monkeypatch) == ["/keys/of-gpu1"]
    assert keys_offered("gpu2", config, monkeypatch) == ["/keys/of-gpu2"]


def test_connecting_writes_nothing_into_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    config = fabric.Config(ssh_config=paramiko.SSHConfig.from_text(SSH_CONFIG))
    config.connect_kwargs = {"key_filename": ["/keys/of-fab"]}

    keys = keys_offered("gpu1", config, monkeypatch)

    assert keys == ["/keys/of-fab", "/keys/of-gpu1"]
    assert dict(config.connect_kwargs) == {"key_filename": ["/keys/of-fab"]}


def test_hosts_that_connect_at_once_all_find_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = fabric.Config(ssh_config=paramiko.SSHConfig.from_text(SSH_CONFIG))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            offered = list(
                pool.map(lambda _: keys_offered("gpu1", config, monkeypatch), range(300))
            )
    finally:
        sys.setswitchinterval(before)
    assert offered == [["/keys/of-gpu1"]] * 300
