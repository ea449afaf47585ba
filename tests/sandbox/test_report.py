"""`fab report` as a user types it: after a good deploy, after a refused one, and elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aideploy.errors import ExitStatus

from .small_project import SmallProject, small_project

# Says what unfriendly programs say, and how good its model is.
_TRAINS = """\
import json, os
os.makedirs("model", exist_ok=True)
open("model/weights", "w").write("{auc}")
json.dump({{"auc": {auc}, "slices": {{"<b>new</b>": {{"auc": {auc}}}}}}}, open("metrics.json", "w"))
print("<script>alert(1)</script>\\x1b[31mred\\x1b[0m \\u202egnp.exe", "x" * 1_000_000)
"""
_SETTINGS: dict[str, Any] = {
    "train": {"command": "python3 train.py"},
    "gates": [{"metric": "auc", "min": 0.5}],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallProject]:
    """Two releases on two hosts, of which the second is live, then one that the gate refused."""
    with small_project(tmp_path_factory.mktemp("report"), hosts=2) as project:
        project.settle(**_SETTINGS)
        project.succeeds("setup")
        for auc in (0.7, 0.75):
            project.commit({"train.py": _TRAINS.format(auc=auc)}, f"Reach <i>{auc}</i>")
            project.succeeds("deploy")
        yield project


def _report(project: SmallProject, *arguments: str, status: int = 0) -> str:
    """Write a report with these options; what is in it."""
    file = project.folder / "it.html"
    file.unlink(missing_ok=True)
    ran = project.fab("report", "--to", str(file), *arguments)
    assert ran.status == status, ran.text
    assert str(file) in ran.text
    page = file.read_text(encoding="utf-8")
    # Of no page, whatever it is about.
    assert "<script" not in page and "\x1b" not in page and "\u202e" not in page
    assert "@import" not in page and "url(" not in page
    assert not re.search(r"<[^>]+(\ssrc|\shref)=", page)
    return page


def _live(project: SmallProject) -> str:
    live = project.on_host().current
    assert live is not None
    return live


def test_a_deploy_as_a_page(project: SmallProject) -> None:
    page = _report(project)
    assert f"{_live(project)} is live on 2 hosts" in page
    assert "Reach &lt;i&gt;0.75&lt;/i&gt;" in page
    assert all(f">{phase}<" in page for phase in ("open", "train", "stage", "switch", "finish"))
    # Against the release before it, which only the hosts know.
    assert "The model against its predecessor" in page and "+0.05" in page
    assert "&lt;b&gt;new&lt;/b&gt;" in page
    assert 'The model gate: <span class="good">blessed' in page
    assert "What became of it" in page and ">good<" in page
    # What the training printed, harmless and short.
    assert "&lt;script&gt;alert(1)&lt;/script&gt;red \\u202egnp.exe" in page
    assert len(page) < 300_000


def test_it_has_a_place_of_its_own_where_none_is_named(project: SmallProject) -> None:
    ran = project.succeeds("report")
    file = Path(ran.text.partition(" is about ")[0])
    assert file == project.folder / ".aideploy" / "reports" / f"sandbox-{_live(project)}.html"
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert (file.parent / ".gitignore").read_text() == "*\n"
    assert "release" in json.loads(project.fab("report", "--json").text)


def test_a_release_that_another_machine_deployed(project: SmallProject) -> None:
    logs, away = project.folder / ".aideploy", project.folder / "away"
    check = {"name": "errors <b>", "verdict": "pass", "why": "", "canary": 0.1, "baseline": 0.2}
    for host in ("host1", "host2"):
        kept = project.root(host) / "analyses" / f"{_live(project)}.json"
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps({"version": 1, "watches": [{"checks": [check]}]}))
    logs.rename(away)
    try:
        page = _report(project, "--release", "current")
        assert "Canary against baseline" in page and "errors &lt;b&gt;" in page
        assert "The run was on another machine, or its log is gone." in page
        assert "The model against its predecessor" in page and "blessed" in page
        assert "Where the time went" not in page
        ran = project.fab("report", "--local")
        assert (ran.status, "this machine has no log" in ran.text) == (ExitStatus.USAGE, True)
        # Nothing here, so what is live is meant.
        assert _live(project) in _report(project)
    finally:
        shutil.rmtree(logs, ignore_errors=True)
        away.rename(logs)


def test_without_a_host_the_log_is_enough(project: SmallProject) -> None:
    release = _live(project)
    page = _report(project, "--local")
    assert "The hosts were not asked" in page and f"{release} is live" in page
    assert "Where the time went" in page and "blessed" in page
    assert "Where the time went" in _report(project, "--local", "--release", release[-7:])
    for word, says in (("current", "only the hosts know"), ("2019", "this machine knows no")):
        ran = project.fab("report", "--local", "--release", word)
        assert (ran.status, says in ran.text) == (ExitStatus.USAGE, True), ran.text


def test_hosts_that_are_away_are_named_and_the_page_is_written(project: SmallProject) -> None:
    settings = (project.folder / "hosts.toml").read_text()
    # The port of the service is the only other one in that file.
    gone = re.sub(rf"(?m)^port = (?!{project.port}$)\d+$", "port = 1", settings)
    assert gone != settings
    (project.folder / "hosts.toml").write_text(gone)
    try:
        page = _report(project, status=ExitStatus.NOT_READY)
    finally:
        (project.folder / "hosts.toml").write_text(settings)
    assert "There is nothing from the hosts: " in page
    assert "Where the time went" in page


def test_a_refused_model_is_reported_with_the_reason(project: SmallProject) -> None:
    project.commit({"train.py": _TRAINS.format(auc=0.3)}, "Go wrong")
    assert project.fab("deploy").status == ExitStatus.REFUSED
    page = _report(project)
    assert "the model gate refused" in page
    assert 'The model gate: <span class="bad">refused' in page
    assert "0.3 is below 0.5" in page
    # The one before is still there to be asked for.
    assert f"{_live(project)} is live on 2 hosts" in _report(project, "--release", "current")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--release", "20190101T000000Z-0000000"), "no host knows a release"),
        (("--release", ""), "no host knows a release ''"),
        (("--to", "."), "is a folder"),
        (("--to", "fabfile.py"), "is no report; it was not touched"),
        (("--to", "missing/folder/it.html"), "there is no folder missing/folder"),
    ],
)
def test_what_cannot_be_changes_nothing(
    project: SmallProject, arguments: tuple[str, ...], says: str
) -> None:
    before = {path: path.stat().st_mtime for path in project.folder.iterdir()}
    project.refuses("report", *arguments, status=ExitStatus.USAGE, says=says)
    assert {path: path.stat().st_mtime for path in project.folder.iterdir()} == before


def test_the_stream_is_for_programs_and_for_its_owner(project: SmallProject) -> None:
    newest = max((project.folder / ".aideploy" / "logs").glob("*-deploy-*.events.jsonl"))
    assert stat.S_IMODE(newest.stat().st_mode) == 0o600
    events = [json.loads(line) for line in newest.read_text(encoding="ascii").splitlines()]
    assert (events[0]["event"], events[0]["format"]) == ("RunStarted", 1)
    assert events[-1]["event"] == "RunFinished"
    # A line of a million letters is in the log; here is its beginning.
    assert max(map(len, newest.read_text().splitlines())) < 10_000
