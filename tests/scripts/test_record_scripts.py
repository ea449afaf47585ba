"""The scripts that keep and read the record, each run for real in a temporary directory."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath

import pytest

from aideploy.phases import commits, install
from aideploy.phases.facts import HostFacts
from aideploy.records import card
from aideploy.remote.script import Script
from tests.git import git
from tests.scripts.running import run

WHO = ("-c", "user.name=Ann\tLee")


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """The root of an app whose mirror has four commits on two branches."""
    repository = tmp_path / "repo.git"
    git(tmp_path, "init", "--quiet", "--initial-branch=main", "work")
    for subject in ("one", "two $(reboot)\t'quoted'", "three"):
        git(tmp_path / "work", *WHO, "commit", "--quiet", "--allow-empty", "-m", subject)
    git(tmp_path / "work", "checkout", "--quiet", "-b", "side", "HEAD~2")
    git(tmp_path / "work", *WHO, "commit", "--quiet", "--allow-empty", "-m", "aside")
    git(tmp_path, "clone", "--quiet", "--mirror", "work", str(repository))
    return tmp_path


def between(root: Path, before: str, after: str) -> commits.Between:
    script = commits.script(PurePosixPath(root), before, after)
    assert script
    done = run(script)
    assert done.status == 0, done.lines
    return commits.read(done.result)


def test_commits_between_two_releases_are_those_gained_and_those_lost(mirror: Path) -> None:
    tip, side = (git(mirror / "repo.git", "rev-parse", name) for name in ("main", "side"))

    found = between(mirror, side, tip)

    assert found.known
    assert [one.subject for one in found.gained] == ["three", "two $(reboot)\t'quoted'"]
    assert [(one.subject, one.author) for one in found.lost] == [("aside", "Ann\tLee")]
    assert (found.gained_count, found.lost_count) == (2, 1)
    assert between(mirror, tip, tip) == commits.Between(known=True)


def test_a_commit_that_the_mirror_has_not_is_not_known(mirror: Path) -> None:
    tip = git(mirror / "repo.git", "rev-parse", "main")

    assert not between(mirror, "0" * 40, tip).known
    assert not between(mirror / "nowhere", tip, tip).known


@pytest.mark.parametrize("odd", ["", "main", "--output=/tmp/x", "A" * 40, "a" * 40 + "\n"])
def test_only_commits_are_asked_for(odd: str) -> None:
    assert commits.script(PurePosixPath("/srv"), "a" * 40, odd) is None
    assert commits.script(PurePosixPath("/srv"), odd, "a" * 40) is None


def test_the_card_goes_into_a_release_before_it_is_whole(tmp_path: Path) -> None:
    facts = HostFacts(host="h1", root=PurePosixPath(tmp_path))
    text = "# It's `$(reboot)`\n"
    (tmp_path / "releases" / "r").mkdir(parents=True)

    assert run(card.script(facts, "r", text)).status == 0

    assert (tmp_path / "releases/r/.aideploy/model_card.md").read_text() == text


def test_installed_packages_are_told_when_built_and_when_reused(tmp_path: Path) -> None:
    (tmp_path / "venvs").mkdir()
    (tmp_path / "releases" / "r").mkdir(parents=True)
    script = Script(
        "install", (str(tmp_path), "r", "t", "pip", "python3", "", "", "0"),
        libraries=("dependencies",),
    )  # fmt: skip
    built = install.read(run(script).result)
    assert (built.reused, built.packages) == (False, ())
    site = next((tmp_path / "venvs" / built.hash / "lib").glob("python3*")) / "site-packages"
    (site / "my_pack-1.0.dist-info").mkdir(parents=True)

    again = install.read(run(script).result)

    assert (again.reused, again.packages) == (True, ("my_pack-1.0.dist-info",))


def test_the_record_of_what_is_pruned_stays_and_a_half_release_leaves_none(tmp_path: Path) -> None:
    whole, half, kept = (f"2026010{day}T000000Z-aaaaaaa" for day in (1, 2, 3))
    for name in (whole, half, kept):
        (tmp_path / "releases" / name).mkdir(parents=True)
        if name != half:
            (tmp_path / "releases" / name / "release.json").write_text(json.dumps({"id": name}))

    words = (str(tmp_path), "app", "", "", "", kept)
    done = run(Script("finish", words, libraries=("release",)))

    assert done.status == 0, done.lines
    assert [place.name for place in (tmp_path / "releases").iterdir()] == [kept]
    assert [place.name for place in (tmp_path / "records").iterdir()] == [f"{whole}.json"]
    assert json.loads((tmp_path / "records" / f"{whole}.json").read_text()) == {"id": whole}


@pytest.mark.parametrize(
    "said",
    [
        "healthy after 0.1 s, 5 golden answers right",
        "fine & well",
        'a "quote" \\ and \\n',
        "a $(reboot) `reboot`",
        "\u00fc\x1b[0m\t",
    ],
)
def test_the_record_says_how_the_release_proved_itself(tmp_path: Path, said: str) -> None:
    """Whatever it says, the record stays JSON and nothing else in it changes."""
    name = "20260101T000000Z-aaaaaaa"
    (tmp_path / "releases" / name).mkdir(parents=True)
    before = {"metrics": {"proof": None, "x": '\n  "proof": null'}, "proof": None, "who": "a & b"}
    text = json.dumps(before, indent=2, sort_keys=True) + "\n"
    words = (
        str(tmp_path), "app", name, "", "", "A='1'\n", "#!/bin/sh\n", text, '{"a": 1}', "yes",
        "python3", "", "", "", "", "", "30", "", "127.0.0.1:8000",
    )  # fmt: skip
    script = Script("stage", words, libraries=("release", "manifest"))
    proven = "require_address() { :; }; prove_beside() { health=$SAID; }; require_due() { :; }"

    done = run(script, before=proven, environment={"SAID": said})

    assert done.status == 0, done.lines
    after = json.loads((tmp_path / "releases" / name / "release.json").read_text())
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in said)
    # A letter of two bytes becomes two question marks.
    assert re.sub(r"\?+", "?", after.pop("proof")) == re.sub(r"\?+", "?", plain)
    assert after == {key: value for key, value in before.items() if key != "proof"}


def test_what_an_analysis_found_is_kept_and_replaced_as_a_whole(tmp_path: Path) -> None:
    for document in ("{}", '{"watches": ["$(reboot)"]}'):
        done = run(Script("keep_analysis", (str(tmp_path), "r1", document)))
        assert done.status == 0, done.lines
    (file,) = (tmp_path / "analyses").iterdir()
    assert (file.name, file.read_text()) == ("r1.json", '{"watches": ["$(reboot)"]}\n')


def test_a_host_that_cannot_keep_an_analysis_goes_on(tmp_path: Path) -> None:
    (tmp_path / "analyses").write_text("in the way")
    assert run(Script("keep_analysis", (str(tmp_path), "r1", "{}"))).status == 0
