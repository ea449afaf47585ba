"""What changed in a release since it was made whole, and what going back to it would lose."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from aideploy.phases import rollback
from aideploy.phases.rollback import Choice
from aideploy.remote.result import Result
from aideploy.remote.script import Script, source
from tests.git import git
from tests.scripts.running import run

RELEASE, LATER = "20260101T000000Z-aaaaaaa", "20260101T010000Z-bbbbbbb"
NAMES = ["app.py", "with space.py", "-rf", "ünï", "a\\b", "new\nline", "deep/er/$(reboot).txt"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An app with one release that was made whole, with an environment and a model."""
    root = tmp_path / "srv.d"
    place = root / "releases" / RELEASE
    for name in NAMES:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("as it was\n")
    for store, name in (("venvs/abc", "lib/numpy.py"), ("models/def", "weights.bin")):
        (root / store / name).parent.mkdir(parents=True)
        (root / store / name).write_text("1")
        (root / store / ".complete").touch()
    (place / ".venv").symlink_to("../../venvs/abc")
    (place / "model").symlink_to("../../models/def")
    (place / ".aideploy").mkdir()
    text = f'mark_token=x\n{source("prelude")}\n{source("manifest")}\nroot=$1; write_manifest "$2"'
    subprocess.run(["bash", "-c", text, "bash", str(root), RELEASE], check=True)
    (place / "release.json").write_text('{\n "revision": "abc"\n}\n')
    (root / "current").symlink_to(f"releases/{RELEASE}")
    # What happens within one tick of the kernel's clock has one time.
    time.sleep(0.02)
    return root


def look(root: Path) -> Choice:
    done = run(Script("rollback", (str(root), "8", "3"), libraries=("manifest",)))
    assert done.status == 0, done.lines
    return rollback.read(done.result)


def changed(root: Path) -> set[str]:
    return set(map(str, look(root).releases[RELEASE].changed))


def test_a_release_that_nobody_touched_is_as_it_was(root: Path) -> None:
    assert changed(root) == set()


def test_what_was_touched_and_is_the_same_again_is_no_change(root: Path) -> None:
    place = root / "releases" / RELEASE
    (place / "app.py").write_text("a hot fix\n")
    (place / "app.py").write_text("as it was\n")
    (place / "__pycache__").mkdir()
    (place / "__pycache__" / "app.pyc").write_text("new, and nobody's concern")
    os.link(root / "models/def/weights.bin", root / "a second link")

    assert changed(root) == set()


def test_every_way_to_change_a_file_is_seen(root: Path) -> None:
    place = root / "releases" / RELEASE
    old = (place / "app.py").stat()
    (place / "app.py").write_text("AS IT WAS\n")
    os.utime(place / "app.py", (old.st_atime, old.st_mtime))
    (place / "with space.py").unlink()
    (place / "-rf").rename(place / "moved")
    shutil.copy2(place / "ünï", place / "deep/er/$(reboot).txt")
    (place / "deep/er/$(reboot).txt").write_text("x")

    assert changed(root) == {"app.py", "with space.py", "-rf", "deep/er/$(reboot).txt"}


def test_an_environment_a_model_and_a_link_are_compared_too(root: Path) -> None:
    place = root / "releases" / RELEASE
    (root / "venvs/abc/lib/numpy.py").write_text("pip install was here")
    (root / "models/def/weights.bin").write_text("2")
    (place / "model").unlink()
    (place / "model").symlink_to("../../models/def/")

    assert changed(root) == {
        "lib/numpy.py (venv)",
        "weights.bin (model)",
        "model -> ../../models/def",
    }


def test_only_so_many_changes_are_told(root: Path) -> None:
    place = root / "releases" / RELEASE
    lines = [f"{'0' * 64}  ./gone{number}" for number in range(500)]
    with (place / ".aideploy/files").open("a") as manifest:
        manifest.write("\n".join(lines) + "\n")

    assert len(changed(root)) == 20


def test_a_release_of_an_older_aideploy_is_not_suspected(root: Path) -> None:
    shutil.rmtree(root / "releases" / RELEASE / ".aideploy")
    (root / "releases" / RELEASE / "app.py").write_text("who knows")

    assert changed(root) == set()


def test_a_large_release_is_compared_within_a_moment(root: Path) -> None:
    place = root / "releases" / RELEASE
    lines = []
    for number in range(5000):
        (place / f"file{number}").write_text("x")
        lines.append(f"{'0' * 64}  ./file{number}")
    with (place / ".aideploy/files").open("a") as manifest:
        manifest.write("\n".join(lines) + "\n")
    later = time.time() + 60
    os.utime(place / ".aideploy/files", (later, later))

    began = time.monotonic()
    assert changed(root) == set()
    # Reading 5000 files would show that their checksums are wrong.
    assert time.monotonic() - began < 10


def test_what_a_rollback_loses_is_told_with_its_commits(root: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    git(tmp_path, "init", "--quiet", "work")
    commits = []
    for number in range(6):
        git(work, "commit", "--quiet", "--allow-empty", "-m", f"Change {number}")
        commits.append(git(work, "rev-parse", "HEAD"))
    git(tmp_path, "clone", "--quiet", "--bare", "work", str(root / "repo.git"))
    for release, commit in ((RELEASE, commits[0]), (LATER, commits[-1])):
        place = root / "releases" / release
        place.mkdir(exist_ok=True)
        record = {"revision": commit, "subject": "s", "metrics": {"auc": 0.9, "bad": "x"}}
        (place / "release.json").write_text(json.dumps(record, indent=1))
    (root / "current").unlink()
    (root / "current").symlink_to(f"releases/{LATER}")

    looked = look(root).releases[RELEASE]

    assert looked.count == 5
    assert [line.split(" ", 1)[1] for line in looked.commits] == [
        "Change 5 (Ada)",
        "Change 4 (Ada)",
        "Change 3 (Ada)",
    ]
    assert looked.made.metrics == {"auc": 0.9}


def test_a_host_that_lies_about_its_releases_cannot_crash_the_controller() -> None:
    facts = [
        (f"record.{RELEASE}", base64.b64encode(b"[1]").decode()),
        ("record", base64.b64encode(b'{"metrics": 3, "subject": []}').decode()),
        (f"changed.{RELEASE}", "nonsense"),
        (f"commits.{RELEASE}", "many"),
    ]
    choice = rollback.read(Result("rollback", tuple(facts)))

    assert choice.releases[RELEASE].count == 0
    assert choice.releases[RELEASE].changed == ()
