"""A command on a sandbox host behaves as it would behind OpenSSH's server."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import fabric
import paramiko
import psutil
import pytest

from aideploy.sandbox import processes
from aideploy.sandbox.layout import Host
from aideploy.sandbox.lifecycle import Status
from tests.git import git
from tests.needed import need
from tests.waiting import eventually

from .conftest import SECRET_OF_THE_USER, OpenSsh, connection_to

TWENTY_MEGABYTES = 20 * 1024 * 1024


def test_openssh_gets_output_errors_and_exit_status(open_ssh: OpenSsh) -> None:
    result = open_ssh.run("host1", "echo out; echo err >&2; exit 3")

    assert (result.stdout, result.stderr, result.returncode) == (b"out\n", b"err\n", 3)


def test_fabric_gets_output_errors_and_exit_status(connection: fabric.Connection) -> None:
    result = connection.run("echo out; echo err >&2; exit 3", hide=True, warn=True, in_stream=False)

    assert (result.stdout, result.stderr, result.exited) == ("out\n", "err\n", 3)


@asynccontextmanager
async def asyncssh_to(up: Status, host: Host) -> AsyncIterator[asyncssh.SSHClientConnection]:
    async with asyncssh.connect(
        host.address,
        host.port,
        client_keys=[str(up.layout.client_key)],
        known_hosts=str(up.layout.known_hosts),
        config=None,
    ) as connection:
        yield connection


def test_the_signal_that_ended_a_command_is_reported(up: Status, host: Host) -> None:
    async def end_by_signal() -> str:
        async with asyncssh_to(up, host) as connection:
            result = await connection.run("kill -TERM $$")
            assert result.exit_signal is not None
            return result.exit_signal[0]

    assert asyncio.run(end_by_signal()) == "TERM"


def test_a_signal_from_the_client_reaches_the_command(up: Status, host: Host) -> None:
    async def send_signal() -> int | None:
        async with asyncssh_to(up, host) as connection:
            process = await connection.create_process(
                "trap 'exit 42' USR1; echo ready; while :; do sleep 0.05; done"
            )
            await process.stdout.readline()
            process.send_signal("USR1")
            return (await process.wait(timeout=30)).exit_status

    assert asyncio.run(send_signal()) == 42


def test_two_hundred_quick_commands_lose_nothing(connection: fabric.Connection) -> None:
    _open_without_delay(connection)
    for number in range(200):
        channel = connection.transport.open_session()
        channel.exec_command(f"echo out {number}; echo err {number} >&2; exit {number}")
        assert channel.makefile().read() == f"out {number}\n".encode()
        assert channel.makefile_stderr().read() == f"err {number}\n".encode()
        assert channel.recv_exit_status() == number


def test_two_hundred_quick_commands_that_got_end_of_input_lose_nothing(
    connection: fabric.Connection,
) -> None:
    _open_without_delay(connection)
    for number in range(200):
        channel = connection.transport.open_session()
        channel.exec_command(f"echo err {number} >&2; echo out {number}; exit {number}")
        channel.shutdown_write()
        assert channel.makefile().read() == f"out {number}\n".encode()
        assert channel.makefile_stderr().read() == f"err {number}\n".encode()
        assert channel.recv_exit_status() == number


def test_openssh_sends_and_gets_back_twenty_megabytes_intact(open_ssh: OpenSsh) -> None:
    data = os.urandom(TWENTY_MEGABYTES)

    result = open_ssh.run("host1", "tee /dev/stderr", data=data)

    assert _sha256(result.stdout) == _sha256(data)
    assert _sha256(result.stderr) == _sha256(data)


def test_paramiko_sends_twenty_megabytes_intact(connection: fabric.Connection) -> None:
    data = os.urandom(TWENTY_MEGABYTES)
    connection.open()
    channel = connection.transport.open_session()
    channel.exec_command("sha256sum")

    channel.sendall(data)
    channel.shutdown_write()

    assert channel.makefile().read().split()[0].decode() == _sha256(data)
    assert channel.recv_exit_status() == 0


def test_paramiko_gets_twenty_megabytes_intact(
    connection: fabric.Connection, up: Status, host: Host
) -> None:
    data = os.urandom(TWENTY_MEGABYTES)
    (up.layout.home(host) / "large").write_bytes(data)
    connection.open()
    channel = connection.transport.open_session()
    channel.exec_command("cat large")

    assert _sha256(channel.makefile().read()) == _sha256(data)
    assert channel.recv_exit_status() == 0


def test_a_client_that_does_not_read_holds_the_command_back(
    connection: fabric.Connection, up: Status
) -> None:
    connection.open()
    channel = connection.transport.open_session()
    channel.exec_command("yes & echo $! >&2; sleep 300")
    writer = psutil.Process(int(channel.makefile_stderr().readline()))
    server = _server(up)
    time.sleep(1)

    before = server.memory_info().rss
    cpu_before = writer.cpu_times().user
    time.sleep(1)

    assert server.memory_info().rss - before < 5 * 1024 * 1024
    assert writer.cpu_times().user - cpu_before < 0.2
    writer.kill()


def test_the_end_of_input_reaches_the_command(open_ssh: OpenSsh) -> None:
    result = open_ssh.run("host1", "wc -c; echo after the end", data=b"\0\xff\r\n")

    assert result.stdout == b"4\nafter the end\n"


def test_a_command_may_end_before_its_input(open_ssh: OpenSsh) -> None:
    result = open_ssh.run("host1", "exec 0<&-; sleep 0.5; echo done", data=bytes(TWENTY_MEGABYTES))

    assert (result.stdout, result.returncode) == (b"done\n", 0)


def test_a_background_process_does_not_hold_the_channel_when_redirected(
    open_ssh: OpenSsh,
) -> None:
    start = time.monotonic()

    result = open_ssh.run("host1", "sleep 30 </dev/null >/dev/null 2>&1 & echo started $!")

    assert time.monotonic() - start < 10
    pid = int(result.stdout.split()[1])
    assert psutil.Process(pid).name() == "sleep"


def test_what_a_background_process_writes_late_is_not_lost(open_ssh: OpenSsh) -> None:
    result = open_ssh.run("host1", "(sleep 0.5; echo late) & echo early")

    assert result.stdout == b"early\nlate\n"


def test_a_command_outlives_its_connection_and_sees_the_end_of_its_input(
    up: Status, host: Host
) -> None:
    ended = up.layout.home(host) / "saw-the-end"
    with connection_to(up, host) as connection:
        connection.open()
        channel = connection.transport.open_session()
        channel.exec_command(f"echo $$; cat >/dev/null; touch '{ended}'; exec sleep 300")
        pid = int(channel.makefile().readline())

    assert eventually(ended.exists)
    assert eventually(lambda: psutil.Process(pid).name() == "sleep")


def test_a_command_that_writes_to_a_closed_connection_gets_a_broken_pipe(
    up: Status, host: Host
) -> None:
    with connection_to(up, host) as connection:
        connection.open()
        channel = connection.transport.open_session()
        channel.exec_command("echo $$; while sleep 0.1; do echo still here; done")
        pid = int(channel.makefile().readline())
        assert psutil.pid_exists(pid)

    assert eventually(lambda: not psutil.pid_exists(pid))


def test_a_command_has_its_own_session_home_and_clean_environment(
    connection: fabric.Connection, up: Status, host: Host
) -> None:
    result = connection.run(
        "pwd; echo $HOME; ps -o sid= -p $$ | tr -d ' '; echo $$; env", hide=True, in_stream=False
    )

    cwd, home, session, pid, *environment = result.stdout.splitlines()
    assert cwd == home == str(up.layout.home(host))
    assert session == pid
    assert SECRET_OF_THE_USER in os.environ["SECRET_OF_THE_USER"]
    assert SECRET_OF_THE_USER not in "\n".join(environment)
    assert f"AIDEPLOY_SANDBOX_HOST={host.name}" in environment


def test_a_host_can_build_a_python_environment(connection: fabric.Connection) -> None:
    connection.run("python3 -m venv --without-pip venv", hide=True, in_stream=False)

    prefix = connection.run(
        "venv/bin/python -c 'import sys; print(sys.prefix)'", hide=True, in_stream=False
    )

    assert prefix.stdout.endswith("/host1/venv\n")


def test_a_command_that_is_too_long_is_refused_with_the_reason(
    connection: fabric.Connection,
) -> None:
    connection.open()
    channel = connection.transport.open_session()
    channel.exec_command(": " + "x" * 200_000)

    assert channel.makefile_stderr().read() == b"/bin/bash: Argument list too long\n"
    assert channel.recv_exit_status() == 1


def test_a_terminal_is_there_when_asked_for(open_ssh: OpenSsh) -> None:
    with_terminal = open_ssh.run("-tt", "host1", "tty; exit 4")
    without = open_ssh.run("host1", "tty")

    assert with_terminal.stdout.startswith(b"/dev/")
    assert with_terminal.returncode == 4
    assert without.stdout == b"not a tty\n"


def test_a_shell_without_a_command_reads_its_input(open_ssh: OpenSsh) -> None:
    result = open_ssh.run("-T", "host1", data=b"echo from $AIDEPLOY_SANDBOX_HOST\nexit 5\n")

    assert (result.stdout, result.returncode) == (b"from host1\n", 5)


def test_a_command_on_a_terminal_ends_with_its_connection(up: Status, host: Host) -> None:
    with connection_to(up, host) as connection:
        connection.open()
        channel = connection.transport.open_session()
        channel.get_pty()
        channel.exec_command("echo $$; exec sleep 300")
        pid = int(channel.makefile().readline())
        assert psutil.pid_exists(pid)

    assert eventually(lambda: not psutil.pid_exists(pid))


def test_files_go_both_ways_with_openssh_sftp(
    open_ssh: OpenSsh, up: Status, host: Host, tmp_path: Path
) -> None:
    need("sftp")
    sent, back, batch = tmp_path / "sent", tmp_path / "back", tmp_path / "batch"
    sent.write_bytes(os.urandom(3_000_000))
    batch.write_text(f"mkdir in\nput {sent} in/file\nget in/file {back}\nrename in/file in/other\n")

    result = open_ssh.run("-b", str(batch), "host1", program="sftp")

    assert result.returncode == 0, result.stderr
    assert back.read_bytes() == sent.read_bytes()
    assert (up.layout.home(host) / "in/other").read_bytes() == sent.read_bytes()


def test_files_go_both_ways_with_fabric(
    connection: fabric.Connection, up: Status, host: Host, tmp_path: Path
) -> None:
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(os.urandom(3_000_000))

    connection.put(str(sent), "by-fabric")
    connection.get("by-fabric", str(back))

    assert back.read_bytes() == sent.read_bytes()
    assert (up.layout.home(host) / "by-fabric").read_bytes() == sent.read_bytes()
    assert connection.sftp().normalize(".") == str(up.layout.home(host))


def test_git_clones_from_a_host(open_ssh: OpenSsh, up: Status, host: Host, tmp_path: Path) -> None:
    repository = up.layout.home(host) / "repo.git"
    git(tmp_path, "init", "--quiet", "--bare", str(repository))

    result = subprocess.run(
        ["git", "clone", "host1:repo.git", str(tmp_path / "clone")],
        env={**os.environ, "GIT_SSH_COMMAND": f"ssh -F '{open_ssh.config}'"},
        capture_output=True,
        timeout=60,
    )

    assert result.returncode == 0, result.stderr
    assert (tmp_path / "clone/.git").is_dir()


def test_one_host_can_be_the_jump_host_of_another(up: Status) -> None:
    jump, target = up.hosts[1].host, up.hosts[2].host
    with connection_to(up, jump) as gateway, connection_to(up, target) as connection:
        connection.gateway = gateway

        result = connection.run("echo $AIDEPLOY_SANDBOX_HOST", hide=True, in_stream=False)

    assert result.stdout == "host3\n"


def test_a_wrong_key_is_refused(up: Status, host: Host, tmp_path: Path) -> None:
    other = tmp_path / "other_key"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(other)

    with pytest.raises(paramiko.AuthenticationException):
        connection_to(up, host, key=other).open()


def test_another_user_is_refused(up: Status, host: Host) -> None:
    with pytest.raises(paramiko.AuthenticationException):
        connection_to(up, host, user="somebody-else").open()


def test_fabric_refuses_a_host_that_shows_another_key(up: Status, host: Host) -> None:
    other = up.layout.host_key(up.hosts[1].host).with_suffix(".pub").read_text()
    connection = connection_to(up, host)
    connection.client.get_host_keys().clear()
    name = f"[{host.address}]:{host.port}"
    entry = paramiko.hostkeys.HostKeyEntry.from_line(f"{name} {other}")
    connection.client.get_host_keys().add(name, entry.key.get_name(), entry.key)

    with pytest.raises(paramiko.BadHostKeyException):
        connection.open()


def test_openssh_refuses_a_host_that_is_not_in_known_hosts(
    open_ssh: OpenSsh, tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()

    result = open_ssh.run("-o", f"UserKnownHostsFile={tmp_path}/empty", "host1", "true")

    assert result.returncode == 255
    assert b"Host key verification failed" in result.stderr


def _open_without_delay(connection: fabric.Connection) -> None:
    """Open it, without the 40 ms that Paramiko otherwise waits at the end of every channel."""
    connection.open()
    connection.transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _server(status: Status) -> psutil.Process:
    """The SSH server: the one process of the sandbox that runs on none of its hosts."""
    [server] = [
        running.process
        for running in processes.processes_of(status.layout.folder)
        if running.host is None
    ]
    return server


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
