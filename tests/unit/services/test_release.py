"""The serve script of a release, run as a service manager runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath

import pytest

from aideploy.services.environment import environment_file
from aideploy.services.release import ReleaseFiles, release_files
from aideploy.settings import Settings, load

PRINTS = (
    f"{sys.executable} -c 'import json, os; print(json.dumps([os.getcwd(), dict(os.environ)]))'"
)


def settings_with(folder: Path, command: str, more: str = "") -> Settings:
    (folder / "hosts.toml").write_text(
        "[app]\nname = 'ranker'\nrepository = '/unused'\n"
        f"[serve]\ncommand = {json.dumps(command)}\n{more}\n"
        "[environments.test.hosts.h1]\naddress = 'h1.example'\nroles = ['serve']\n"
    )
    return load(folder / "hosts.toml", "test")


def made(root: Path, command: str, more: str = "", model: str = "") -> ReleaseFiles:
    return release_files(
        settings_with(root, command, more),
        root=PurePosixPath(root),
        release="r1",
        revision="0123456",
        model=model,
        secrets={"TOKEN": "s3cret $x"},
    )


def serve_script(root: Path, command: str, more: str = "", model: str = "") -> Path:
    """A root with one release, its serve script as a slot's path names it."""
    files = made(root, command, more, model)
    inside = root / "releases" / "r1" / ".aideploy"
    inside.mkdir(parents=True)
    (inside / "env").write_text(files.environment)
    (inside / "serve").write_text(files.serve)
    (inside / "serve").chmod(0o755)
    slot = root / "slots" / "live"
    slot.mkdir(parents=True)
    (slot / "env").write_text(environment_file({"PORT": "8000", "SLOT": "live"}))
    (slot / "release").symlink_to("../../current")
    (root / "current").symlink_to("releases/r1")
    return slot / "release" / ".aideploy" / "serve"


def test_the_command_runs_in_the_release_with_all_that_it_was_promised(tmp_path: Path) -> None:
    serve = serve_script(tmp_path, PRINTS, "environment = { MODE = 'fast' }", "5ha")
    ran = subprocess.run([serve], capture_output=True, env={"HOME": "/"}, check=True)
    folder, environment = json.loads(ran.stdout)
    place = f"{tmp_path}/releases/r1"
    assert folder == place
    assert environment["PATH"].startswith(f"{place}/.venv/bin:")
    expected = {
        "RELEASE": "r1", "RELEASE_DIR": place, "REVISION": "0123456", "SLOT": "live",
        "MODEL_DIR": f"{tmp_path}/models/5ha", "VIRTUAL_ENV": f"{place}/.venv", "MODE": "fast",
        "TOKEN": "s3cret $x", "PORT": "8000", "HOME": "/", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    assert environment.items() >= expected.items()


@pytest.mark.parametrize(
    "command",
    [
        "sleep 60",
        "sleep $SECS",
        "MODE=fast sleep 60",
        "cd / && sleep 60",
        "mkdir -p scratch\nsleep 60\n",
        "exec sleep 60",
    ],
)
def test_the_process_that_the_manager_started_becomes_the_server_itself(
    tmp_path: Path, command: str
) -> None:
    serve = serve_script(tmp_path, command, "environment = { SECS = '60' }")
    started = subprocess.Popen([serve], env={})
    try:
        deadline = time.monotonic() + 10
        name = Path(f"/proc/{started.pid}/comm")
        while name.read_text() != "sleep\n" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert name.read_text() == "sleep\n"
    finally:
        started.kill()
        started.wait()


def test_a_command_with_every_kind_of_quote_arrives_as_it_was_written(tmp_path: Path) -> None:
    command = """printf '%s|' "it's" 'a "b"' $((1+1)) `echo c` "$(echo d)" %h é"""
    ran = subprocess.run([serve_script(tmp_path, command)], capture_output=True, env={}, check=True)
    assert ran.stdout.decode() == """it's|a "b"|2|c|d|%h|é|"""


def test_a_release_without_a_model_promises_none(tmp_path: Path) -> None:
    assert "MODEL_DIR" not in made(tmp_path, "true").environment


def test_a_secret_is_not_shown_with_the_object_that_holds_it(tmp_path: Path) -> None:
    files = made(tmp_path, "true")
    assert "s3cret" in files.environment
    assert "s3cret" not in repr(files)
    assert os.fspath(tmp_path) not in repr(files)
