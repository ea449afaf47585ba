"""setup and the service's functions under a real supervisord, in a home of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from getpass import getuser
from pathlib import Path, PurePosixPath

import pytest

from aideploy.phases.setup import setup
from aideploy.services.manager import libraries
from aideploy.services.release import release_files
from aideploy.settings import Settings, load
from tests.scripts.running import Calls, Ran, run_bare
from tests.waiting import eventually
from tests.web_server import free_port

SERVICE = Path(__file__).parents[1] / "fleet" / "little_service.py"

SUPERVISORD = """\
[supervisord]
logfile={home}/supervisord.log
pidfile={home}/supervisord.pid
[unix_http_server]
file={socket}
[supervisorctl]
serverurl=unix://{socket}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[include]
files={home}/supervisor/conf.d/*.conf
"""


@dataclass(frozen=True)
class Home:
    """The home of a user whose services run under a supervisord of the user's own."""

    path: Path
    settings: Settings

    @property
    def root(self) -> Path:
        return self.path / "ranker"

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.path), "PATH": f"{self.path}/bin:{os.defpath}"}

    @property
    def program(self) -> Path:
        return self.path / "supervisor" / "conf.d" / "ranker.conf"

    def set_up(self) -> Ran:
        root = PurePosixPath(self.root)
        return run_bare(
            setup(self.settings, self.settings.hosts[0], root=root, user=getuser()),
            self.environment,
        )

    def call(self, body: str) -> Ran:
        assert self.settings.serve is not None
        return run_bare(
            Calls(
                "calls",
                libraries=libraries(self.settings.serve),
                body=f"root={self.root} app=ranker\n{body}",
            ),
            self.environment,
        )

    def put(self, release: str, command: str, **secrets: str) -> None:
        assert self.settings.serve is not None
        serve = self.settings.serve.model_copy(update={"command": command})
        files = release_files(
            replace(self.settings, serve=serve),
            root=PurePosixPath(self.root),
            release=release,
            revision="0" * 40,
            model="",
            secrets=secrets,
        )
        inside = self.root / "releases" / release / ".aideploy"
        inside.mkdir(parents=True)
        (inside / "env").write_text(files.environment)
        (inside / "serve").write_text(files.serve)
        (inside / "serve").chmod(0o755)
        (self.root / "current").unlink(missing_ok=True)
        (self.root / "current").symlink_to(f"releases/{release}")

    def ask(self) -> dict[str, str]:
        assert self.settings.serve is not None
        url = f"http://127.0.0.1:{self.settings.serve.port}/"
        deadline = time.monotonic() + 10
        while True:
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    environment: dict[str, str] = json.load(answer)["environment"]
                    return environment
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    (tmp_path / "hosts.toml").write_text(
        "[app]\nname = 'ranker'\nrepository = '/unused'\ndeploy_to = '~/ranker'\n"
        f"[serve]\ncommand = 'unused'\nmanager = 'supervisor'\nport = {free_port()}\n"
        "[environments.test.hosts.h1]\naddress = 'h1.example'\nroles = ['serve']\n"
    )
    yield Home(tmp_path, load(tmp_path / "hosts.toml", "test"))


@pytest.fixture
def running(home: Home) -> Iterator[Home]:
    """A home where supervisord runs and supervisorctl is on the path."""
    (home.path / "supervisor" / "conf.d").mkdir(parents=True)
    (home.path / "bin").mkdir()
    # A socket's path may have 107 letters; that of a test's folder has many.
    listening = Path(f"/tmp/aideploy-{os.getpid()}.sock")
    configuration = home.path / "supervisord.conf"
    configuration.write_text(SUPERVISORD.format(home=home.path, socket=listening))
    control = home.path / "bin" / "supervisorctl"
    control.write_text(
        f'#!/bin/sh\nexec {sys.executable} -m supervisor.supervisorctl -c {configuration} "$@"\n'
    )
    control.chmod(0o755)
    supervisord = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(configuration)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while not listening.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield home
    finally:
        supervisord.send_signal(signal.SIGTERM)
        supervisord.wait(30)


def serving() -> str:
    return f"{sys.executable} {SERVICE}"


def test_setup_makes_the_programs_and_a_second_run_changes_nothing(running: Home) -> None:
    first = running.set_up()
    assert first.status == 0, first.output
    assert str(running.program) in first.result.all("changed")
    assert running.call("service_state live").output in ("activating", "failed")
    assert running.call("service_state staged").output == "inactive"
    assert running.set_up().result.all("changed") == ()


def test_a_release_is_started_restarted_with_the_next_one_and_stopped(running: Home) -> None:
    running.set_up()
    running.put("1", serving(), TOKEN='a"b$c`d\\e\n%(x)s ; #')
    started = running.call("service_restart live")
    assert started.status == 0, started.output
    said = running.ask()
    assert (said["RELEASE"], said["SLOT"]) == ("1", "live")
    assert said["TOKEN"] == 'a"b$c`d\\e\n%(x)s ; #'
    assert running.call("service_start live").status == 0, "it runs already, and that is no error"
    running.put("2", serving())
    assert running.call("service_restart live").status == 0
    assert running.ask()["RELEASE"] == "2"
    assert running.call("service_state live").output == "active"
    assert "GET / HTTP" in running.call("service_log live 5").output
    pid = int(running.call("service_pid live").output)
    assert "little_service" in Path(f"/proc/{pid}/cmdline").read_text()
    assert running.call("service_stop live; service_stop live").status == 0
    assert running.call("service_state live").output == "inactive"
    assert not Path(f"/proc/{pid}").exists()


def test_what_cannot_start_is_an_answer_and_not_a_crash_of_the_script(running: Home) -> None:
    running.set_up()
    running.put("1", f"{serving()} --crash")
    ran = running.call("service_restart live || echo it did not start; service_state live")
    assert ran.output.splitlines()[-2:] == ["it did not start", "activating"], ran.output
    assert "this release cannot start" in running.call("service_log live 5").output


def test_without_setup_or_supervisord_the_error_says_which(running: Home) -> None:
    running.set_up()
    running.put("1", serving())
    running.program.unlink()
    running.call("supervisorctl update")
    assert running.call("service_state live").output == "missing"
    ran = running.call("service_start live")
    assert (ran.code, ran.message) == ("not-set-up", "supervisor has no program ranker-live")
    configuration = running.path / "supervisord.conf"
    configuration.write_text(configuration.read_text().replace("unix:///tmp/", "unix:///none/"))
    ran = running.call("service_start live")
    assert (ran.code, ran.message) == ("not-set-up", "supervisord does not answer")


def test_what_is_due_is_run_and_setup_starts_again_what_runs_it(running: Home) -> None:
    running.set_up()
    assert running.settings.serve is not None
    leave = Calls(
        "calls",
        libraries=("due", *libraries(running.settings.serve)),
        body=f"root={running.root} app=ranker\nrequire_due\n"
        f"due_at revert 1 'goes back' <<<'supervisorctl pid >{running.path}/proof'",
    )
    assert run_bare(leave, running.environment).status == 0
    proof = running.path / "proof"
    assert eventually(proof.exists)
    # It found supervisorctl where only we know that it is.
    assert eventually(lambda: proof.read_text().strip().isdecimal())

    running.call("supervisorctl stop ranker-due")
    assert run_bare(leave, running.environment).code == "not-set-up"
    assert running.set_up().result.all("changed") == ("ranker-due restarted",)
    assert running.call("due_runs").status == 0
    assert running.set_up().result.all("changed") == ()


def test_what_supervisor_refuses_is_taken_back(running: Home) -> None:
    running.set_up()
    before = running.program.read_text()
    own = running.path / "templates" / "supervisor" / "program.conf.j2"
    own.parent.mkdir(parents=True)
    own.write_text("[program:ranker-live]\ncommand=/bin/true\nautostart=perhaps\n")
    ran = running.set_up()
    assert ran.code == "bad-file", ran.output
    assert running.program.read_text() == before


def test_without_supervisor_on_the_host_setup_says_so(home: Home) -> None:
    (home.path / "supervisor" / "conf.d").mkdir(parents=True)
    assert home.set_up().code == "no-supervisor"
