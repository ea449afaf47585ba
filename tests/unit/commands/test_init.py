"""Promises of `fab init` and `fab schema`, typed as a user types them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from aideploy.settings import load
from tests.git import git
from tests.typed import Ran, typed


def run(folder: Path, *arguments: str) -> Ran:
    env = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    return typed(folder, "-m", *arguments, env=env)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "ranker"
    folder.mkdir()
    (folder / "requirements.txt").write_text("flask\n")
    (folder / "train.py").write_text("print('training')\n")
    (folder / "metrics.json").write_text('{"rows": 9, "log_loss": 0.2, "auc": 0.75}')
    (folder / "app.py").write_text(
        "import flask\napp = flask.Flask(__name__)\n@app.get('/healthz')\ndef f(): return 'ok'\n"
    )
    git(folder, "init", "-q", "-b", "main")
    return folder


def test_a_project_without_a_fabfile_gets_one_that_fab_understands(project: Path) -> None:
    ran = run(project, "aideploy", "init", "--address", "gpu1.acme.example")
    assert ran.status == 0, ran.text
    assert "Wrote hosts.toml and fabfile.py" in ran.text
    assert "training: python train.py" in ran.text
    assert "Put in" not in ran.text

    settings = load(project / "hosts.toml", None)
    assert [host.address for host in settings.hosts] == ["gpu1.acme.example"]
    (gate,) = settings.gates
    assert (gate.metric, gate.max, gate.greater_is_better) == ("log_loss", 0.21, False)
    assert "  deploy " in run(project, "fabric", "--list").text


def test_what_is_missing_is_named_with_its_line(project: Path) -> None:
    ran = run(project, "aideploy", "init")
    lines = (project / "hosts.toml").read_text().splitlines()
    (place,) = [line for line in ran.text.splitlines() if "the address of a host" in line]
    number = int(place.split(":")[1])
    assert lines[number - 1].startswith("# address = ")


def test_a_training_whose_metrics_are_not_known_gets_a_gate_to_fill_in(project: Path) -> None:
    (project / "metrics.json").write_text("[]")
    ran = run(project, "aideploy", "init", "--address", "gpu1")
    (place,) = [line for line in ran.text.splitlines() if "a metric of the model" in line]
    number = int(place.split(":")[1])
    assert (project / "hosts.toml").read_text().splitlines()[number - 1] == "[[gate]]"
    assert load(project / "hosts.toml", None).gates


def test_a_folder_with_nothing_in_it_is_told_all_that_is_missing(tmp_path: Path) -> None:
    ran = run(tmp_path, "aideploy", "init")
    assert ran.status == 0
    for missing in ("the address of your git repository", "how the service is started"):
        assert missing in ran.text
    lines = (tmp_path / "hosts.toml").read_text().splitlines()
    for line in ran.text.partition("Put in:\n")[2].splitlines()[:-1]:
        assert 1 <= int(line.split(":")[1]) <= len(lines)


def test_a_second_init_changes_nothing_and_says_what_is_there(project: Path) -> None:
    run(project, "aideploy", "init")
    (project / "hosts.toml").write_text("# mine\n")
    before = {path.name: path.read_bytes() for path in project.glob("[!.]*.*")}
    ran = run(project, "fabric", "init")
    assert ran.status == 2
    assert "there is a hosts.toml already; nothing was written" in ran.text
    assert {path.name: path.read_bytes() for path in project.glob("[!.]*.*")} == before


def test_a_file_without_a_word_in_it_is_in_nobodys_way(project: Path) -> None:
    (project / "hosts.toml").write_text("\n  \n")
    ran = run(project, "aideploy", "init", "--address", "gpu1")
    assert ran.status == 0, ran.text
    assert load(project / "hosts.toml", None).app.name == "ranker"


def test_a_fabfile_that_is_there_stays_and_the_missing_line_is_said(project: Path) -> None:
    fabfile = project / "fabfile.py"
    fabfile.write_text("# ours\n")
    ran = run(project, "aideploy", "init")
    assert ran.status == 0
    assert fabfile.read_text() == "# ours\n"
    assert "ns = aideploy.namespace(__name__)" in ran.text


def test_a_fabfile_of_the_folder_above_is_not_hidden_by_a_new_one(project: Path) -> None:
    (project.parent / "fabfile.py").write_text("from aideploy.tasks import *\n")
    ran = run(project, "fabric", "init")
    assert ran.status == 0, ran.text
    assert not (project / "fabfile.py").exists()


@pytest.mark.parametrize("address", ["two words", "", "-oProxyCommand=x", "a\nb"])
def test_an_address_that_cannot_be_one_is_refused_before_anything_is_written(
    project: Path, address: str
) -> None:
    ran = run(project, "aideploy", "init", f"--address={address}")
    assert ran.status == 2
    assert "cannot be the address of a host" in ran.text
    assert not (project / "hosts.toml").exists()


def test_the_schema_goes_to_the_screen_or_into_a_file(tmp_path: Path) -> None:
    printed = run(tmp_path, "aideploy", "schema")
    assert printed.status == 0
    assert json.loads(printed.text)["title"] == "hosts.toml of aideploy"

    written = run(tmp_path, "aideploy", "schema", "--output", "hosts.schema.json")
    assert "#:schema hosts.schema.json" in written.text
    assert (tmp_path / "hosts.schema.json").read_text() == printed.text

    nowhere = run(tmp_path, "aideploy", "schema", "--output", "no/such/folder/x.json")
    assert nowhere.status == 3
    assert "no/such/folder/x.json cannot be written" in nowhere.text


def test_a_task_of_this_machine_says_that_it_needs_no_hosts(project: Path) -> None:
    ran = run(project, "aideploy", "-H", "gpu1,gpu2", "init")
    assert ran.status == 2
    assert ran.text.count("works on this machine: leave out -H, --hosts") == 1
    assert not (project / "hosts.toml").exists()
