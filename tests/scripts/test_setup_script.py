"""setup and its files on hosts that serve nothing: in a temporary folder, without a manager."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path, PurePosixPath

import pytest

from aideploy.phases.setup import set_up, setup
from aideploy.remote.script import Script
from aideploy.settings import load
from tests.scripts.running import Calls, Ran, run_bare


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "hosts.toml").write_text(
        "[app]\nname = 'ranker'\nrepository = '/unused'\n"
        "[serve]\ncommand = 'unused'\n"
        f"[monitoring]\nfile_sd = '{tmp_path}/prometheus/targets'\n"
        "[environments.test.hosts.m1]\naddress = 'm1.example'\nroles = ['monitor']\n"
        "[environments.test.hosts.h1]\naddress = 'h1.example'\nroles = ['serve']\n"
    )
    yield tmp_path


def set_up_monitor(folder: Path) -> Ran:
    settings = load(folder / "hosts.toml", "test")
    script = setup(
        settings, settings.hosts[0], root=PurePosixPath(folder / "srv/ranker"), user=getuser()
    )
    return run_bare(script, {"HOME": str(folder), "PATH": os.defpath})


def test_a_monitor_host_gets_folders_and_no_service(folder: Path) -> None:
    first = set_up_monitor(folder)
    assert first.status == 0, first.output
    assert str(folder / "prometheus/targets") in set_up([first.result]).changed
    made = {path.name for path in (folder / "srv/ranker").iterdir()}
    assert made == {
        *("releases", "venvs", "models", "slots", "shared", "jobs"),
        "due",
        "due.failed",
    }
    assert str(set_up([set_up_monitor(folder).result])) == "nothing to change"


def test_a_root_that_is_no_folder_is_left_alone(folder: Path) -> None:
    (folder / "srv").mkdir()
    (folder / "srv" / "ranker").write_text("precious")
    assert set_up_monitor(folder).code == "wrong-root"
    assert (folder / "srv" / "ranker").read_text() == "precious"


def test_nothing_of_setup_stays_in_the_folder_for_temporary_files(folder: Path) -> None:
    temporary = folder / "tmp"
    temporary.mkdir()
    settings = load(folder / "hosts.toml", "test")
    script = setup(settings, settings.hosts[0], root=PurePosixPath(folder / "r"), user=getuser())
    run_bare(script, {"HOME": str(folder), "PATH": os.defpath, "TMPDIR": str(temporary)})
    assert list(temporary.iterdir()) == []


def test_files_are_read_back_whole_wherever_their_path_begins(folder: Path) -> None:
    content = "a\n\n\\n é\n" * 2000
    (folder / "one").write_text(content)
    script = Script("read_files", ("~/one", f"{folder}/gone"), libraries=("files",))
    result = run_bare(script, {"HOME": str(folder), "PATH": os.defpath}).result
    assert result.data("content.1").decode() == content
    assert result.text("state.2") == "missing"
    asked = Calls("calls", libraries=("files",), body=f"emit_checksums '~/one' {folder}/gone")
    facts = run_bare(asked, {"HOME": str(folder), "PATH": os.defpath}).result.all("file")
    checksum = hashlib.sha256(content.encode()).hexdigest()
    assert facts == (f"{checksum} ~/one", f"missing {folder}/gone")
