"""The serve script of a release, run as a service manager runs it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath

import pytest

from aideploy.errors import SettingsError
from aideploy.services.environment import environment_file
from aideploy.services.release import ReleaseFiles, release_files
from aideploy.settings import Settings
from tests.hosts_toml import loaded

PRINTS = (
    f"{sys.executable} -c 'import json, os; print(json.dumps([os.getcwd(), dict(os.environ)]))'"
)


def settings_with(folder: Path, command: str, more: str = "") -> Settings:
    return served(folder, f"command = {json.dumps(command)}\n{more}")


def served(folder: Path, serve: str) -> Settings:
    return loaded(
        folder,
        f"[app]\nname = 'ranker'\nrepository = '/unused'\n[serve]\n{serve}\n"
        "[environments.test.hosts.h1]\naddress = 'h1.example'\nroles = ['serve']\n",
    )


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
    return put(root, made(root, command, more, model), PORT="8000")


def put(root: Path, files: ReleaseFiles, **variables: str) -> Path:
    inside = root / "releases" / "r1" / ".aideploy"
    inside.mkdir(parents=True)
    (inside / "env").write_text(files.environment)
    (inside / "serve").write_text(files.serve)
    (inside / "serve").chmod(0o755)
    slot = root / "slots" / "live"
    slot.mkdir(parents=True)
    (slot / "env").write_text(environment_file({**variables, "SLOT": "live"}))
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


# -- containers ------------------------------------------------------------------------------------

# Stands in for podman, which the tests of the fleet run: prints what it is started with.
PODMAN = """#!{python}
import json, os, sys
if "run" in sys.argv:
    file = sys.argv[sys.argv.index("--env-file") + 1]
    slot = {{name: os.environ[name] for name in ("PORT", "SLOT")}}
    print(json.dumps([sys.argv[1:], open(file).read(), slot]))
"""
CONTAINER = """
image = 'registry.example/ranker:1.4'
memory_max = '4G'
gpus = 1
linked = ['.env', 'data/']
"""


def contained(folder: Path, more: str = "", **secrets: str) -> ReleaseFiles:
    return release_files(
        served(folder, f"{CONTAINER}{more}\nsecrets = {list(secrets)}"),
        root=PurePosixPath(folder),
        release="r1",
        revision="0123456",
        model="abc",
        secrets=secrets,
        image="sha256:1d",
    )


def started(folder: Path, more: str = "", **secrets: str) -> tuple[list[str], str, dict[str, str]]:
    """The arguments, the variables and the slot that the runtime of this release gets."""
    serve = put(folder, contained(folder, more, **secrets), BIND="127.0.0.1", PORT="8000")
    for name in ("podman", "docker"):
        program = folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(PODMAN.format(python=sys.executable))
        program.chmod(0o755)
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    said = subprocess.run(
        [serve],
        env={"PATH": path},
        check=True,
        capture_output=True,
        text=True,
    )
    arguments, variables, told = json.loads(said.stdout)
    return arguments, variables, told


def test_a_container_gets_its_image_by_content_and_its_secrets_by_a_file(tmp_path: Path) -> None:
    arguments, variables, told = started(tmp_path, TOKEN="s3cret $x \"'#")
    assert arguments[-1] == "sha256:1d"
    assert "s3cret" not in " ".join(arguments)
    assert "TOKEN=s3cret $x \"'#\n" in variables
    assert f"MODEL_DIR={tmp_path}/models/abc\n" in variables
    assert "PATH=" not in variables, "the image has one of its own"
    assert told == {"PORT": "8000", "SLOT": "live"}
    volumes = {arguments[at + 1] for at, word in enumerate(arguments) if word == "--volume"}
    expected = {
        "releases/r1": ":ro",
        "models/abc": ":ro",
        "shared/.env": ":ro",
        "shared/data": "",
    }
    assert volumes == {f"{tmp_path}/{p}:{tmp_path}/{p}{ro}" for p, ro in expected.items()}
    assert arguments[arguments.index("--device") + 1] == "nvidia.com/gpu=all"
    assert "--memory" not in arguments, "the unit limits it"


def test_docker_is_told_of_limits_and_gpus_and_runs_nothing_as_root(tmp_path: Path) -> None:
    more = "runtime = 'docker'\ncommand = 'exec serve --port $PORT'\ncpu_quota = '150%'"
    arguments, _, _ = started(tmp_path, more)
    options = dict(itertools.pairwise(arguments))
    assert options["--memory"] == str(4 * 1024**3)
    assert options["--cpus"] == "1.5"
    assert options["--gpus"] == "all"
    assert options["--user"] == f"{os.getuid()}:{os.getgid()}"
    assert options["--entrypoint"] == "/bin/sh"
    assert arguments[-3:] == ["sha256:1d", "-c", "exec serve --port $PORT"]


def test_a_secret_of_several_lines_is_refused_for_a_container(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the value of KEY has more than one line") as error:
        contained(tmp_path, KEY="-----BEGIN\nsecret\n")
    assert "secret" not in str(error.value)
