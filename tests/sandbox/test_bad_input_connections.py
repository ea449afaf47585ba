"""Whatever keeps a connection from opening is told in words, and no host is touched."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aideploy.errors import ExitStatus
from tests.needed import need

from .small_project import Ran, SmallProject

Behaviour = Callable[[socket.socket], object]


def test_an_unknown_host_key_is_never_trusted(project: SmallProject, tmp_path: Path) -> None:
    ran = _refused(project, "is in no known_hosts file", known_hosts=str(tmp_path / "none"))

    assert "SHA256:" in ran.text
    assert "compare that fingerprint" in ran.text


def test_a_known_hosts_file_with_garbage_is_read_as_openssh_does(
    project: SmallProject, tmp_path: Path
) -> None:
    known_hosts = tmp_path / "known_hosts"
    garbage = (
        b"\xff\xfe \x00\nhost ssh-rsa !!!!\n|1|x|y ssh-ed25519 AAAA\n[h]:1 ssh-ed25519 QUFBQQ==\n"
    )
    known_hosts.write_bytes(garbage)
    _refused(project, "is in no known_hosts file", known_hosts=str(known_hosts))

    known_hosts.write_bytes(garbage + project.up.layout.known_hosts.read_bytes())
    project.settle(hosts=project.one_host(known_hosts=str(known_hosts)))
    assert project.fab("setup").status == ExitStatus.DONE


def test_a_changed_host_key_is_told_with_both_fingerprints(
    project: SmallProject, tmp_path: Path
) -> None:
    host, other = project.host("host1"), project.host("host2")
    known_hosts = tmp_path / "changed known_hosts"
    text = project.up.layout.known_hosts.read_text()
    line = next(line for line in text.splitlines() if other.address in line)
    key = line.partition(" ")[2]
    known_hosts.write_text(f"[{host.address}]:{host.port} {key}\n")

    ran = _refused(project, "CHANGED", known_hosts=str(known_hosts))

    assert ran.text.count("SHA256:") >= 2
    assert f"ssh-keygen -R '[{host.address}]:{host.port}' -f '{known_hosts}'" in ran.text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"user": "nobody"}, "does not let the user nobody in"),
        ({"key": "nowhere"}, "does not exist"),
        ({"key": "."}, "Is a directory"),
        ({"key": "hosts.toml"}, "it names the private key"),
        ({"port": 1}, "nothing listens on"),
        ({"address": "nosuch.invalid"}, "the name nosuch.invalid does not resolve"),
        ({"gateway": "nosuch.invalid"}, "the name nosuch.invalid does not resolve"),
        ({"gateway": "root@127.0.0.1:1"}, "nothing listens on the jump host 127.0.0.1:1"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_is_wrong_with_an_address_or_a_key_is_named(
    project: SmallProject, changes: dict[str, object], says: str
) -> None:
    _refused(project, says, **changes)


def test_keys_that_cannot_be_used_are_named(project: SmallProject, tmp_path: Path) -> None:
    need("ssh-keygen")
    locked, other = tmp_path / "locked key", tmp_path / "other"
    for path, passphrase in ((locked, "secret"), (other, "")):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)]
        subprocess.run(command, check=True)

    ran = _refused(project, "has a passphrase and no agent holds it", key=str(locked))
    assert f"ssh-add '{locked}'" in ran.text
    _refused(project, f"in with the key {other}", key=str(other))


def _says_nothing(line: socket.socket) -> None:
    time.sleep(30)


def _speaks_http(line: socket.socket) -> None:
    line.sendall(b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n")


def _says_ssh_and_then_garbage(line: socket.socket) -> None:
    line.sendall(b"SSH-2.0-Fake\r\n" + bytes(range(256)) * 100)
    time.sleep(30)


def _says_ssh_and_then_nothing(line: socket.socket) -> None:
    line.sendall(b"SSH-2.0-Fake\r\n")
    time.sleep(30)


def _never_ends_its_line(line: socket.socket) -> None:
    while True:
        line.sendall(b"x" * 4096)


def _closes_at_once(line: socket.socket) -> None:
    pass


@pytest.mark.parametrize(
    "behaviour",
    [
        _says_nothing,
        _speaks_http,
        _says_ssh_and_then_garbage,
        _says_ssh_and_then_nothing,
        _never_ends_its_line,
        _closes_at_once,
    ],
)
def test_what_is_no_ssh_server_is_told_in_good_time(
    project: SmallProject, behaviour: Behaviour
) -> None:
    with _server(project.host("host1").address, behaviour) as port:
        start = time.monotonic()
        _refused(project, "answer as an SSH server", port=port, connect_timeout="2s")
        assert time.monotonic() - start < 20


def test_one_bad_host_among_three_keeps_all_of_them_as_they_were(project: SmallProject) -> None:
    hosts = project.up.environment_toml(app="small", port=project.port)
    project.settle(hosts=hosts.replace(f"port = {project.host('host2').port}", "port = 1"))

    ran = project.refuses(
        "deploy", status=ExitStatus.NOT_READY, says="open failed on host2; nothing was switched"
    )

    assert "all 3 hosts  as it was (nothing was begun)" in ran.text


def _refused(project: SmallProject, says: str, **changes: object) -> Ran:
    project.settle(hosts=project.one_host(**changes))
    ran = project.refuses("deploy", status=ExitStatus.NOT_READY, says=says)
    assert "open on host1: cannot connect to host1" in ran.text
    assert "  Next  " in ran.text
    return ran


@contextmanager
def _server(address: str, behaviour: Behaviour) -> Iterator[int]:
    """The port of a server that treats every caller in this way."""
    listening = socket.create_server((address, 0))

    def treat(line: socket.socket) -> None:
        with line, contextlib.suppress(OSError):
            behaviour(line)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = listening.accept()
                threading.Thread(target=treat, args=(line,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.close()
