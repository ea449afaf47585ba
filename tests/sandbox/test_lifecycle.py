"""A sandbox goes up and down, whatever happened to it in between."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from aideploy.errors import HostNotReady, UsageError
from aideploy.sandbox import processes
from aideploy.sandbox.layout import Host, Layout
from aideploy.sandbox.lifecycle import Condition, Sandbox, Status
from tests.git import git
from tests.waiting import eventually

from .conftest import connection_to


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox") as sandbox:
        yield sandbox


def test_a_folder_without_a_sandbox_is_down_and_stays_untouched(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "nothing")

    sandbox.down()

    assert sandbox.status().condition is Condition.DOWN
    assert not (tmp_path / "nothing").exists()


def test_up_twice_is_up_once(sandbox: Sandbox) -> None:
    first = sandbox.up(2)
    server = _server_of(sandbox.layout)

    second = sandbox.up(2)

    assert second == first
    assert second.condition is Condition.UP
    assert _server_of(sandbox.layout) == server


def test_up_with_another_number_says_what_to_do_and_changes_nothing(sandbox: Sandbox) -> None:
    before = sandbox.up(2)

    with pytest.raises(UsageError, match="with 2 hosts already") as caught:
        sandbox.up(3)

    assert "fab sandbox.down" in caught.value.next_step
    assert sandbox.status() == before


@pytest.mark.parametrize("count", [0, -1, 501])
def test_a_number_of_hosts_that_cannot_be_is_refused(sandbox: Sandbox, count: int) -> None:
    with pytest.raises(UsageError, match=f"not {count}"):
        sandbox.up(count)

    assert not sandbox.layout.folder.exists()


def test_a_sandbox_comes_back_with_the_hosts_that_it_had(sandbox: Sandbox) -> None:
    before = sandbox.up(2)
    known_hosts = sandbox.layout.known_hosts.read_text()
    _run(before, before.hosts[0].host, "echo kept > file")
    sandbox.down()

    after = sandbox.up(3)

    assert after.hosts[:2] == before.hosts
    assert sandbox.layout.known_hosts.read_text().startswith(known_hosts)
    assert _run(after, after.hosts[0].host, "cat file") == "kept\n"


def test_a_port_that_was_taken_meanwhile_is_replaced(sandbox: Sandbox) -> None:
    before = sandbox.up(1).hosts[0].host
    sandbox.down()
    with socket.create_server((before.address, before.port)):
        status = sandbox.up(1)

    host = status.hosts[0].host
    assert host.port != before.port
    assert _run(status, host, "echo reached") == "reached\n"


def test_another_process_sees_the_sandbox_and_takes_it_down(sandbox: Sandbox) -> None:
    sandbox.up(1)
    program = (
        "import sys; from pathlib import Path; from aideploy.sandbox.lifecycle import Sandbox\n"
        "sandbox = Sandbox(Path(sys.argv[1])); print(sandbox.status().condition); sandbox.down()"
    )

    other = subprocess.run(
        [sys.executable, "-c", program, sandbox.layout.folder],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (other.stdout, other.returncode) == ("up\n", 0), other.stderr
    assert sandbox.status().condition is Condition.DOWN
    assert processes.processes_of(sandbox.layout.folder) == []


def test_two_ups_at_once_make_one_sandbox(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(sandbox.up, [2] * 4))

    assert all(status == statuses[0] for status in statuses)
    _server_of(sandbox.layout)


def test_status_counts_what_runs_on_each_host(sandbox: Sandbox) -> None:
    status = sandbox.up(2)

    _leave_running(status, status.hosts[1].host, "sleep 300")

    assert [host.processes for host in sandbox.status().hosts] == [0, 1]


@pytest.mark.parametrize(
    "escape",
    [
        "sleep 300",
        "setsid sleep 300",
        "bash -c 'trap \"\" TERM HUP; while :; do sleep 1; done'",
        "env -i setsid sleep 300",
        "env -i setsid bash -c 'trap \"\" TERM; while :; do sleep 1; done'",
        "bash -c 'setsid bash -c \"sleep 300 & sleep 300\"'",
    ],
    ids=[
        "plain",
        "own session",
        "deaf to signals",
        "no environment",
        "no environment and deaf",
        "grandchildren",
    ],
)
def test_nothing_survives_down(sandbox: Sandbox, escape: str) -> None:
    status = sandbox.up(1)
    pid = _leave_running(status, status.hosts[0].host, escape)
    before = [running.process for running in processes.processes_of(sandbox.layout.folder)]
    assert pid in [process.pid for process in before]

    sandbox.down()

    assert not any(_lives(process) for process in before)


def test_what_a_command_left_behind_is_buried_when_it_ends(sandbox: Sandbox) -> None:
    status = sandbox.up(1)
    orphan = psutil.Process(_leave_running(status, status.hosts[0].host, "sleep 1"))

    assert eventually(lambda: not psutil.pid_exists(orphan.pid))


def test_a_sandbox_whose_server_was_killed_says_so_and_goes_down_completely(
    sandbox: Sandbox,
) -> None:
    status = sandbox.up(1)
    left = psutil.Process(_leave_running(status, status.hosts[0].host, "setsid sleep 300"))
    _kill_server(sandbox.layout)

    assert sandbox.status().condition is Condition.CRASHED
    assert _lives(left)
    sandbox.down()

    assert sandbox.status().condition is Condition.DOWN
    assert not _lives(left)
    assert processes.processes_of(sandbox.layout.folder) == []


def test_a_sandbox_whose_server_was_killed_comes_up_again_with_what_ran_on_it(
    sandbox: Sandbox,
) -> None:
    status = sandbox.up(1)
    left = psutil.Process(_leave_running(status, status.hosts[0].host, "sleep 300"))
    _kill_server(sandbox.layout)

    again = sandbox.up(1)

    assert again.condition is Condition.UP
    assert again.hosts[0].host == status.hosts[0].host
    assert _lives(left)
    assert _run(again, again.hosts[0].host, "echo reached") == "reached\n"


def test_the_file_of_a_server_that_is_long_gone_stands_in_nobodys_way(sandbox: Sandbox) -> None:
    sandbox.up(1)
    sandbox.down()
    sandbox.layout.server_lock.write_text("left by a machine that lost power")

    assert sandbox.status().condition is Condition.CRASHED
    assert sandbox.up(1).condition is Condition.UP


def test_going_down_ends_no_other_sandbox(sandbox: Sandbox, tmp_path: Path) -> None:
    with Sandbox(tmp_path / "other") as other:
        other_status = other.up(1)
        sandbox.up(1)

        sandbox.down()

        assert other.status().condition is Condition.UP
        assert _run(other_status, other_status.hosts[0].host, "echo reached") == "reached\n"


def test_a_server_that_cannot_start_shows_why(sandbox: Sandbox) -> None:
    status = sandbox.up(1)
    sandbox.down()
    sandbox.layout.host_key(status.hosts[0].host).write_text("not a key")

    with pytest.raises(HostNotReady) as caught:
        sandbox.up(1)

    assert any("KeyImportError" in line for line in caught.value.tail)
    assert sandbox.status().condition is not Condition.UP


def test_a_sandbox_in_a_deep_folder_works(tmp_path: Path) -> None:
    with Sandbox(tmp_path / ("deep " * 10 + "/folder") / ("é%h" * 20)) as sandbox:
        status = sandbox.up(1)

        assert "RUNNING" not in _run(status, status.hosts[0].host, "supervisorctl status")
        assert _run(status, status.hosts[0].host, "supervisorctl pid").strip().isdecimal()


def test_without_its_extra_the_sandbox_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['asyncssh'] = None\n"
        "from aideploy.errors import HostNotReady\n"
        "try: import aideploy.sandbox.lifecycle\n"
        "except HostNotReady as error: print(error.what, '|', error.next_step)"
    )

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert said.stdout == "a sandbox needs asyncssh | pip install 'aideploy[sandbox]'\n"


def test_git_does_not_see_a_sandbox_in_a_repository(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    with Sandbox(tmp_path / ".aideploy/sandbox") as sandbox:
        sandbox.up(1)
        assert git(tmp_path, "status", "--porcelain") == ""


def test_the_tables_for_hosts_toml_name_every_host(sandbox: Sandbox) -> None:
    status = sandbox.up(2)

    tables = tomllib.loads(status.environment_toml(app="ranker", port=8123))

    environment = tables["environments"]["sandbox"]
    assert environment["app"]["deploy_to"] == "~/ranker"
    assert environment["serve"] == {"manager": "supervisor", "strategy": "recreate", "port": 8123}
    assert environment["ssh"]["key"] == str(sandbox.layout.client_key)
    assert environment["ssh"]["known_hosts"] == str(sandbox.layout.known_hosts)
    assert [
        (name, table["address"], table["port"], table["bind"])
        for name, table in environment["hosts"].items()
    ] == [
        (each.host.name, each.host.address, each.host.port, each.host.address)
        for each in status.hosts
    ]


def test_two_hundred_hosts_take_two_hundred_sessions_at_once(sandbox: Sandbox) -> None:
    status = sandbox.up(200)
    hosts = [each.host for each in status.hosts]
    gathered = status.layout.folder / "gathered"
    gathered.mkdir()

    def session(host: Host) -> str:
        # Nobody goes on before all two hundred are in a command at the same time.
        return _run(
            status,
            host,
            f"touch '{gathered}'/{host.name}; until [ -e '{gathered}/all' ]; do sleep 0.5; done;"
            f" echo $AIDEPLOY_SANDBOX_HOST",
        )

    with ThreadPoolExecutor(len(hosts)) as pool:
        sessions = [pool.submit(session, host) for host in hosts]
        all_there = eventually(lambda: len(list(gathered.iterdir())) == len(hosts), within=90)
        (gathered / "all").touch()
        answers = [each.result() for each in sessions]

    assert all_there
    assert answers == [f"{host.name}\n" for host in hosts]


def _run(status: Status, host: Host, command: str) -> str:
    with connection_to(status, host) as connection:
        return str(connection.run(command, hide=True, in_stream=False, warn=True).stdout)


def _leave_running(status: Status, host: Host, command: str) -> int:
    """Start something in the background of a host; its process id."""
    return int(_run(status, host, f"{command} </dev/null >/dev/null 2>&1 & echo $!"))


def _server_of(layout: Layout) -> psutil.Process:
    [server] = [
        running.process for running in processes.processes_of(layout.folder) if not running.host
    ]
    return server


def _kill_server(layout: Layout) -> None:
    server = _server_of(layout)
    os.kill(server.pid, signal.SIGKILL)
    assert eventually(lambda: not _lives(server))
    time.sleep(0.1)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
