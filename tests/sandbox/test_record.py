"""What an auditor asks: what was live then, made of what, judged how, by whom; and what differs.

One story on two hosts: three deploys with a model each, the third let past the model gate, a
rollback, and so few releases kept that the first is pruned.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from .small_project import SmallProject, small_project

_TRAIN = {
    "command": 'echo "$REVISION" > model; cp said metrics.json',
    "data_version": "echo rows-42",
}
_GATES = (
    {"metric": "auc", "min": 0.7},
    {"metric": "auc", "slice": "new users", "min": 0.6},
)
_SECRET = "not-for-the-record"  # the value that must appear nowhere


@dataclass(frozen=True)
class Story:
    """A project, its three releases, and a moment at which each of them was live."""

    project: SmallProject
    releases: tuple[str, ...]
    moments: tuple[datetime, ...]

    def asked(self, *arguments: str) -> Any:
        ran = self.project.fab(*arguments, "--json")
        assert ran.status == 0, ran.text
        return json.loads(ran.text)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    releases, moments = [], []
    with small_project(tmp_path_factory.mktemp("record"), hosts=2) as project:
        project.settle(
            gates=_GATES,
            app={"keep_releases": 1},
            train=_TRAIN,
            serve={"environment": {"LEVEL": "info"}, "secrets": ["API_KEY"]},
        )
        project.succeeds("setup")
        for auc, options in ((0.75, ()), (0.78, ()), (0.5, ("--no-gate",))):
            said = {"auc": auc, "slices": {"new users": {"auc": auc - 0.1}}}
            project.commit({"said": json.dumps(said)}, f"Reach {auc}")
            if auc == 0.78:
                project.settle(
                    gates=_GATES,
                    app={"keep_releases": 1},
                    train=_TRAIN,
                    serve={
                        "command": "exec python3 -B service.py",
                        "environment": {"LEVEL": "info", "MODE": "fast"},
                        "secrets": ["API_KEY"],
                    },
                )
            project.succeeds("deploy", *options, env={"API_KEY": _SECRET})
            releases.append(project.on_host().current or "")
            moments.append(_a_moment_later())
        project.succeeds("rollback")
        moments.append(_a_moment_later())
        yield Story(project, tuple(releases), tuple(moments))


def _a_moment_later() -> datetime:
    """Journals tell seconds: what comes next is told to be later than this moment."""
    time.sleep(1.1)
    now = datetime.now(UTC)
    time.sleep(1.1)
    return now


def test_history_says_what_was_live_at_any_moment(story: Story) -> None:
    first, second, third = story.releases

    for moment, release in zip(story.moments, (first, second, third, second), strict=True):
        said = story.asked("history", "--at", moment.isoformat())
        assert [(one["host"], one["span"]["release"]) for one in said["live"]] == [
            ("host1", release),
            ("host2", release),
        ]
    before = story.project.fab("history", "--at", "2020-02-29 12:00")
    assert (before.status, before.text) == (0, "nothing was live at 2020-02-29 12:00:00 UTC\n")


def test_history_says_what_it_was_made_of_how_it_was_judged_and_who_let_it_pass(
    story: Story,
) -> None:
    third = story.releases[2]
    at = f"{story.moments[2]:%Y-%m-%d %H:%M:%S}"

    said = story.project.fab("history", "--at", at).text
    [live, _] = story.asked("history", "--at", at)["live"]

    who = live["span"]["by"]
    record = live["record"]
    assert f"all 2 hosts  {third}" in said
    assert said.count("Reach 0.5") == 1, "of the second host only what is another there"
    assert re.search(r"^the same on host2, but for:\n  environment +\S+/host2/", said, re.MULTILINE)
    assert "refused by the model gate, --no-gate" in said
    assert f"overridden   by {who}" in said
    assert "auc at least 0.7: 0.5, fail (0.5 is below 0.7)" in said
    assert f"{record['revision']} Reach 0.5 (Ada)" in said
    assert record["model"] in said
    assert record["metrics"]["slices"] == {"new users": {"auc": 0.4}}
    assert (record["format"], record["id"], record["host"]) == (1, third, "host1")
    assert record["gate"]["overridden_by"] == record["who"] == who
    assert record["serve"]["secrets"] == ["API_KEY"]
    assert record["training"]["data_version"] == "rows-42"
    assert f"data         rows-42, inputs {record['training']['inputs']}" in said
    assert record["proof"].startswith("healthy after")
    assert record["tool"].startswith("aideploy ") and record["system"]


def test_a_day_shows_all_that_was_live_in_it_one_after_the_other(story: Story) -> None:
    first, second, third = story.releases
    today = f"{story.moments[0]:%Y-%m-%d}"
    if today != f"{story.moments[-1]:%Y-%m-%d}":
        pytest.skip("midnight (UTC) came in between: no day has all of it")

    live = story.asked("history", "--at", today)["live"]
    shown = story.project.fab("history", "--at", today).text

    on_host1 = [one["span"] for one in live if one["host"] == "host1"]
    assert [span["release"] for span in on_host1] == [first, second, third, second]
    assert [span["until"] for span in on_host1[:-1]] == [span["since"] for span in on_host1[1:]]
    assert [span["verdict"] for span in on_host1] == ["good"] * 4
    assert on_host1[-1]["why"] == "rolled back by hand"
    assert len(re.findall(r"^all 2 hosts", shown, re.MULTILINE)) == 4


def test_a_pruned_release_is_still_answered_for(story: Story) -> None:
    first = story.releases[0]
    root = story.project.root()
    assert not (root / "releases" / first).exists()
    assert (root / "records" / f"{first}.json").stat().st_size > 0

    said = story.asked("history", "--release", first)
    by_commit = story.asked("history", "--release", first.rpartition("-")[2])

    assert said["record"]["metrics"]["auc"] == 0.75
    assert said["record"]["gate"]["judgement"] == "blessed"
    assert [event["verdict"] for event in said["events"]] == ["prepared", "live", "good"]
    assert by_commit == said


def test_a_release_that_was_pruned_without_its_record_is_what_the_journal_knows(
    story: Story,
) -> None:
    first = story.releases[0]
    kept = [story.project.root(host.name) / "records" for host in story.project.hosts]
    for place in kept:
        place.rename(place.with_name("elsewhere"))
    try:
        record = story.asked("history", "--release", first)["record"]
    finally:
        for place in kept:
            place.with_name("elsewhere").rename(place)

    assert (record["format"], record["id"]) == (0, first)
    assert re.fullmatch("[0-9a-f]{64}", record["model"])
    assert record["revision"].startswith(first.rpartition("-")[2])


def test_compare_says_what_is_not_the_same(story: Story) -> None:
    first, second, _ = story.releases

    said = story.asked("compare", first, "current")
    shown = story.project.fab("compare", first, "current").text

    assert (said["before"]["id"], said["after"]["id"]) == (first, second)
    assert [one["subject"] for one in said["commits"]["gained"]] == ["Reach 0.78"]
    assert said["commits"]["lost"] == []
    [auc, of_slice] = said["differences"]["metrics"]
    assert (auc["before"], auc["after"], round(auc["change"], 9)) == (0.75, 0.78, 0.03)
    assert of_slice["slice"] == "new users"
    changes = {one["what"]: (one["before"], one["after"]) for one in said["differences"]["changes"]}
    assert changes["serve command"] == ("exec python3 service.py", "exec python3 -B service.py")
    assert changes["variables"] == ("LEVEL", "LEVEL MODE")
    assert changes["model"] == (said["before"]["model"], said["after"]["model"])
    assert not {"system", "interpreter", "secrets", "made with"} & set(changes)
    assert "commits: 1 more, 0 fewer" in shown
    assert re.search(r"^auc +0\.75 +0\.78 +\+0\.03$", shown, re.MULTILINE)


def test_compare_says_which_limit_broke(story: Story) -> None:
    _, second, third = story.releases

    gate = story.asked("compare", second, third)["differences"]["gate"]

    assert [(one["judged"], one["before"], one["after"]) for one in gate] == [
        ("auc", "pass", "fail"),
        ("auc of new users", "pass", "fail"),
    ]


def test_the_card_tells_of_the_model_and_lies_beside_it(story: Story, tmp_path: Path) -> None:
    second = story.releases[1]
    project = story.project
    file = tmp_path / "card.md"

    shown = project.fab("model.card")
    project.succeeds("model.card", "--out", str(file))
    project.succeeds("model.card", "--release", story.releases[0], "--out", str(file))

    model = json.loads((project.root() / "current" / "release.json").read_text())["model"]
    beside = (project.root() / "current" / ".aideploy" / "model_card.md").read_text()
    assert shown.status == 0
    assert f"`{model}`" in shown.text and f"`{model}`" in beside
    assert f"# Model card: `small` `{second}`" in beside
    assert "| `auc` | `new users` | 0.68 |" in beside
    assert "| `auc` |  | 0.78 | 0.75 | at least 0.7 | pass |  |" in beside
    assert f"`{story.releases[0]}`" in file.read_text()


def test_markdown_is_for_a_report(story: Story) -> None:
    said = story.project.fab("compare", story.releases[0], "current", "--markdown")

    assert said.status == 0
    assert "| METRIC | SLICE | BEFORE | AFTER | CHANGE |\n|---|---|---|---|---|\n" in said.text
    assert "| `auc` |  | `0.75` | `0.78` | `+0.03` |" in said.text


def test_no_secret_is_in_any_record_or_card(story: Story) -> None:
    project = story.project
    for host in project.hosts:
        root = project.root(host.name)
        files = [
            *root.glob("releases/*/release.json"),
            *root.glob("releases/*/.aideploy/model_card.md"),
            *root.glob("records/*.json"),
            root / "journal.jsonl",
        ]
        assert len(files) > 4
        assert not [file for file in files if _SECRET in file.read_text()]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("history", "--at", "yesterday"), "--at takes a time, not 'yesterday'"),
        (("history", "--at", "9999-12-31 23:59"), "is yet to come"),
        (("history", "--at", "2026-01-01", "--since", "2026-01-01"), "do not go together"),
        (("history", "--release", "../../etc"), "no host knows a release"),
        (("compare", "previous", "current"), "there is no good release before"),
        (("compare", "current", "2026"), "may be 3 releases"),
        (("model.card", "--out", "fabfile.py"), "is no model card; it was not touched"),
        (("model.card", "--out", "/dev/null/card"), "cannot be written"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_type(
    story: Story, arguments: tuple[str, ...], says: str
) -> None:
    ran = story.project.fab(*arguments)

    assert ran.status == 2, ran.text
    assert says in ran.text
    assert ran.shows_no_traceback


def test_a_line_that_is_damaged_is_not_passed_over_in_silence(story: Story) -> None:
    journal = story.project.root("host1") / "journal.jsonl"
    whole = journal.read_bytes()
    second = story.releases[1]
    lines = whole.splitlines(keepends=True)
    (place,) = (
        number
        for number, line in enumerate(lines)
        if b'"verdict": "live"' in line and second.encode() in line
        if b"rolled back" not in line
    )
    journal.write_bytes(b"".join([*lines[:place], lines[place][:40] + b"\n", *lines[place + 1 :]]))
    at = story.moments[1].isoformat()
    try:
        for asked in (("--at", at), ("--since", "2020-01-01"), ("--release", second)):
            said = story.project.fab("history", *asked)
            assert "host1: 1 line of its journal cannot be read" in said.text
            assert len(story.asked("history", *asked)["unreadable"]) == 1
    finally:
        journal.write_bytes(whole)
    assert story.asked("history", "--at", at)["unreadable"] == []
