"""`fab sandbox.*` as a first try: what is said next works, and hosts.toml stays its owner's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from aideploy.sandbox.lifecycle import DEFAULT_FOLDER, Sandbox
from aideploy.settings import load
from tests.git import git
from tests.typed import Ran, typed

PRODUCTION = """\
[app]
name = "ranker"
repository = "x"

[serve]
command = "run"
strategy = "socket"

# Ours. Keep this line.
[environments.production.hosts.gpu1]
address = "gpu1.acme.example"
"""


def fab(folder: Path, *arguments: str) -> Ran:
    return typed(folder, "-m", "aideploy", *arguments)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    Sandbox(tmp_path / DEFAULT_FOLDER).down()


def test_the_first_try_goes_from_an_empty_repository_to_hosts_that_are_set_up(folder: Path) -> None:
    (folder / "app.py").write_text("if __name__ == '__main__':\n    pass\n")
    git(folder, "init", "-q", "-b", "main")
    before_init = fab(folder, "sandbox.up", "--count", "1")
    assert "Next: fab init, then fab sandbox.up --write" in before_init.text
    assert fab(folder, "init").status == 0

    up = fab(folder, "sandbox.up", "--count", "1", "--write")
    assert up.status == 0, up.text
    assert "Next: fab setup --env sandbox, then fab deploy --env sandbox" in up.text

    set_up = fab(folder, "setup", "--env", "sandbox")
    assert set_up.status == 0, set_up.text
    assert "1 hosts are set up" in set_up.text or "1 host is set up" in set_up.text


def test_without_write_the_tables_are_only_shown_and_work_when_pasted(folder: Path) -> None:
    hosts_toml = folder / "hosts.toml"
    hosts_toml.write_text(PRODUCTION)

    shown = fab(folder, "sandbox.up", "--count", "2")

    assert shown.status == 0, shown.text
    assert hosts_toml.read_text() == PRODUCTION
    tables = shown.text.partition("do it:\n")[2].rpartition("Next:")[0]
    hosts_toml.write_text(PRODUCTION + tables)
    assert [host.name for host in load(hosts_toml, "sandbox").hosts] == ["host1", "host2"]
    # It is there now, so there is nothing to show.
    assert "[environments" not in fab(folder, "sandbox.up", "--count", "2").text


def test_writing_again_replaces_only_what_was_written_before(folder: Path) -> None:
    hosts_toml = folder / "hosts.toml"
    hosts_toml.write_text(PRODUCTION)
    first = fab(folder, "sandbox.up", "--count", "1", "--write")
    assert 'write [app] default_environment = "production"' in first.text
    hosts_toml.write_text(hosts_toml.read_text() + "# Below.\n")
    unchanged = hosts_toml.read_text()
    fab(folder, "sandbox.up", "--count", "1", "--write")
    assert hosts_toml.read_text() == unchanged

    fab(folder, "sandbox.down")
    fab(folder, "sandbox.up", "--count", "2", "--write")

    text = hosts_toml.read_text()
    assert text.startswith(PRODUCTION)
    assert text.endswith("# Below.\n")
    assert text.count("[environments.sandbox.app]") == 1
    assert len(load(hosts_toml, "sandbox").hosts) == 2


def test_an_environment_sandbox_of_somebody_else_is_left_alone(folder: Path) -> None:
    hosts_toml = folder / "hosts.toml"
    theirs = f'{PRODUCTION}[environments.sandbox.hosts.dev]\naddress = "dev.acme.example"\n'
    hosts_toml.write_text(theirs)
    ran = fab(folder, "sandbox.up", "--count", "1", "--write")
    assert ran.status == 2
    assert "has an environment sandbox that is not of this sandbox" in ran.text
    assert hosts_toml.read_text() == theirs


def test_what_else_is_wrong_with_hosts_toml_is_said_before_anything_starts(folder: Path) -> None:
    (folder / "hosts.toml").write_text("[app\n")
    ran = fab(folder, "sandbox.up")
    assert ran.status == 2
    assert "is not valid TOML" in ran.text
    assert not (folder / DEFAULT_FOLDER).exists()


def test_the_status_tells_of_every_host_and_of_the_end(folder: Path) -> None:
    assert "is down" in fab(folder, "sandbox.status").text
    fab(folder, "sandbox.up", "--count", "2")
    status = fab(folder, "sandbox.status")
    assert "is up" in status.text
    assert [line.split()[0] for line in status.text.splitlines()[1:]] == ["host", "host1", "host2"]
    facts = json.loads(fab(folder, "sandbox.status", "--json").text)
    assert facts["condition"] == "up"
    assert [host["name"] for host in facts["hosts"]] == ["host1", "host2"]

    assert fab(folder, "sandbox.down").status == 0
    assert json.loads(fab(folder, "sandbox.status", "--json").text)["condition"] == "down"


@pytest.mark.parametrize("count", ["0", "501", "-1", "three"])
def test_a_number_of_hosts_that_cannot_be_is_refused(folder: Path, count: str) -> None:
    ran = fab(folder, "sandbox.up", f"--count={count}")
    assert ran.status == 2
    assert count in ran.text
    assert "Traceback" not in ran.text


def test_without_the_extra_it_says_what_to_install(folder: Path) -> None:
    ran = typed(
        folder,
        "-c",
        "import importlib.util as u, runpy, sys\n"
        "real = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'asyncssh' else real(name, *more)\n"
        "sys.argv[1:] = ['sandbox.up']\n"
        "runpy.run_module('aideploy', run_name='__main__')\n",
    )
    assert ran.status == 3
    assert "pip install 'aideploy[sandbox]'" in ran.text
    assert "Traceback" not in ran.text
