"""A sandbox host runs services under supervisor, which starts when it is first wanted."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aideploy.sandbox import processes
from aideploy.sandbox.layout import Host
from aideploy.sandbox.lifecycle import Sandbox, Status
from tests.waiting import eventually

from .conftest import connection_to


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox") as sandbox:
        yield sandbox


def test_services_of_one_port_live_side_by_side(sandbox: Sandbox) -> None:
    status = sandbox.up(2)
    hosts = [each.host for each in status.hosts]
    port = status.free_port()
    for host in hosts:
        _install_web_service(status, host, port)

    for host in hosts:
        _supervisorctl(status, host, "update")

    assert eventually(lambda: all(_answer(host, port) == host.name for host in hosts))


def one_with_a_service(sandbox: Sandbox) -> tuple[Status, Host, int]:
    status = sandbox.up(1)
    host = status.hosts[0].host
    port = status.free_port()
    _install_web_service(status, host, port)
    _supervisorctl(status, host, "update")
    assert eventually(lambda: _answer(host, port) == host.name)
    return status, host, port


def test_a_service_is_started_stopped_and_asked_about(sandbox: Sandbox) -> None:
    status, host, port = one_with_a_service(sandbox)

    stopped = _supervisorctl(status, host, "stop web")
    stopped_status = _supervisorctl(status, host, "status web")
    answer_when_stopped = _answer(host, port)
    started = _supervisorctl(status, host, "start web")

    assert stopped == "web: stopped\n0\n"
    assert "STOPPED" in stopped_status
    assert stopped_status.endswith("\n3\n")
    assert answer_when_stopped is None
    assert started == "web: started\n0\n"
    assert eventually(lambda: _answer(host, port) == host.name)


def test_no_supervisord_runs_before_it_is_wanted(sandbox: Sandbox) -> None:
    status = sandbox.up(2)

    _supervisorctl(status, status.hosts[0].host, "status")

    assert [each.processes for each in sandbox.status().hosts] == [1, 0]


def test_many_first_calls_at_once_start_one_supervisord(sandbox: Sandbox) -> None:
    status = sandbox.up(1)
    host = status.hosts[0].host

    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: _supervisorctl(status, host, "pid"), range(5)))

    assert len(set(answers)) == 1
    assert answers[0].endswith("\n0\n")
    assert sandbox.status().hosts[0].processes == 1


def test_a_supervisord_that_was_shut_down_starts_again(sandbox: Sandbox) -> None:
    status = sandbox.up(1)
    host = status.hosts[0].host
    first = _supervisorctl(status, host, "pid")
    _supervisorctl(status, host, "shutdown")
    assert eventually(lambda: sandbox.status().hosts[0].processes == 0)

    second = _supervisorctl(status, host, "pid")

    assert second.endswith("\n0\n")
    assert second != first


def test_what_the_first_caller_has_in_its_environment_does_not_reach_the_services(
    sandbox: Sandbox,
) -> None:
    status = sandbox.up(1)
    host = status.hosts[0].host
    _install(status, host, "env", "bash -c 'env > environment; sleep 300'")

    _run(status, host, "SECRET=of-a-deploy supervisorctl update")

    environment = status.layout.home(host) / "environment"
    assert eventually(lambda: environment.exists() and "PATH=" in environment.read_text())
    assert "SECRET" not in environment.read_text()
    assert f"HOME={status.layout.home(host)}" in environment.read_text()


def test_services_come_back_with_the_sandbox_and_end_with_it(sandbox: Sandbox) -> None:
    _, host, port = one_with_a_service(sandbox)

    sandbox.down()

    assert _answer(host, port) is None
    assert processes.processes_of(sandbox.layout.folder) == []
    sandbox.up(1)
    assert eventually(lambda: _answer(host, port) == host.name)


def test_a_port_that_is_taken_on_one_host_is_not_offered_to_a_service(sandbox: Sandbox) -> None:
    status = sandbox.up(2)
    free = status.free_port()

    with socket.create_server((status.hosts[1].host.address, free)):
        other = status.free_port()
    with socket.create_server((status.hosts[0].host.address, free + 10_000)):
        another = status.free_port()

    assert free not in (other, another)


def _install_web_service(status: Status, host: Host, port: int) -> None:
    """A web server that answers /name with the name of its host."""
    home = status.layout.home(host)
    (home / "name").write_text(host.name)
    _install(status, host, "web", f"python3 -m http.server --bind {host.address} {port}")


def _install(status: Status, host: Host, name: str, command: str) -> None:
    program = status.layout.home(host) / f"supervisor/conf.d/{name}.conf"
    program.write_text(f"[program:{name}]\ncommand = {command}\nstopasgroup = true\n")


def _answer(host: Host, port: int) -> str | None:
    try:
        with urllib.request.urlopen(f"http://{host.address}:{port}/name", timeout=5) as response:
            return str(response.read().decode())
    except OSError:
        return None


def _supervisorctl(status: Status, host: Host, arguments: str) -> str:
    """What it prints, and its exit status on the last line."""
    return _run(status, host, f"supervisorctl {arguments} 2>&1; echo $?")


def _run(status: Status, host: Host, command: str) -> str:
    with connection_to(status, host) as connection:
        return str(connection.run(command, hide=True, in_stream=False).stdout)
