"""The model gate as a user meets it: what it refuses, what it says, and what nobody is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aideploy.errors import ExitStatus

from .small_project import SmallProject

TRAINS = {"command": 'echo "$REVISION" > model; cp said metrics.json || true'}
GATES = (
    {"metric": "auc", "min": 0.7, "max_drop": 0.01},
    {"metric": "auc", "slice": "new users", "min": 0.6},
)
GOOD = {"auc": 0.76, "slices": {"new users": {"auc": 0.66}}}


@pytest.fixture
def gated(project: SmallProject) -> SmallProject:
    """The project with a training, a gate, and a good release behind it that has metrics."""
    says(project, GOOD)
    settle(project)
    if record(project)["metrics"] != GOOD:
        ran = project.fab("deploy", "--no-gate")
        assert ran.status == 0, ran.text
    return project


def settle(project: SmallProject, **changes: Any) -> None:
    project.settle(gates=GATES, app={"branch": "gated"}, train=TRAINS, **changes)


def says(project: SmallProject, metrics: object) -> None:
    """Commit a training that writes these metrics; bytes as they are, None for no file."""
    project.branch("gated")
    if metrics is not None:
        text = metrics if isinstance(metrics, bytes) else json.dumps(metrics)
        project.commit({"said": text})


def record(project: SmallProject, host: str = "host1") -> Any:
    """What release.json of the live release says."""
    return json.loads((project.root(host) / "current" / "release.json").read_text())


def verdicts(project: SmallProject) -> list[Path]:
    return sorted((project.folder / ".aideploy" / "logs").glob("*.gate.md"))


def test_a_training_without_a_gate_is_refused_before_anything_is_connected_to(
    project: SmallProject,
) -> None:
    project.settle(train={"command": "echo never > /tmp/never; exit 1"})
    (project.folder / "metrics.json").write_text('{"auc": 0.8}')

    ran = project.refuses(
        "deploy", status=ExitStatus.USAGE, says="there is no [[gate]]: nothing would say"
    )

    assert 'metric = "auc"' in ran.text
    assert "min = 0.76" in ran.text
    assert "--no-gate" in ran.text.split("Next")[1]
    assert " open " not in ran.text
    for step in ("step.evaluate", "step.stage"):
        project.refuses(step, status=ExitStatus.USAGE, says="there is no [[gate]]")
    assert "there is no [[gate]]" in project.fab("check").text


def test_the_first_model_is_unopposed_and_the_second_is_compared_with_it(
    project: SmallProject,
) -> None:
    says(project, GOOD)
    settle(project)
    first = project.fab("deploy")
    assert first.status == 0, first.text
    assert "blessed, unopposed: 3 limits" in first.text
    live = project.on_host().current
    gate = record(project)["gate"]
    assert (gate["judgement"], gate["baseline"], gate["overridden_by"]) == ("blessed", None, None)

    says(project, {**GOOD, "auc": 0.755})
    second = project.fab("deploy")

    assert second.status == 0, second.text
    assert f"blessed: 3 limits, against {live}" in second.text
    gate = record(project)["gate"]
    assert gate["baseline"] == live
    assert (gate["rows"][1]["value"], gate["rows"][1]["baseline"]) == (0.755, 0.76)


@pytest.mark.parametrize(
    ("metrics", "why"),
    [
        ({**GOOD, "auc": 0.74}, "auc: 0.74 after 0.76 is worse by 0.02, above 0.01"),
        (
            {"auc": 0.76, "slices": {"new users": {"auc": 0.31}}},
            "auc of new users: 0.31 is below 0.6",
        ),
        (b'{"auc": 0.7', "auc, auc of new users: metrics.json is not JSON"),
        (None, "auc, auc of new users: the training wrote no metrics.json"),
    ],
    ids=["dropped", "slice ruined", "cut", "no file"],
)
def test_a_sabotaged_model_goes_nowhere_and_the_last_word_says_why(
    gated: SmallProject, metrics: object, why: str
) -> None:
    says(gated, metrics)

    ran = gated.refuses("deploy", status=ExitStatus.REFUSED, says=why)

    headline, _, last = ran.text.partition("✗ the model gate refused ")[2].partition("\n")
    assert headline.endswith("; nothing was switched")
    assert f"    {why}" in last
    assert "all 3 hosts" in last
    assert "(untouched)" in last
    assert "fab deploy --no-gate" in last.split("Next")[1]
    assert " distribute " not in ran.text


def test_a_person_may_override_the_gate_and_the_records_keep_who_and_what(
    gated: SmallProject,
) -> None:
    says(gated, {**GOOD, "auc": 0.65})

    ran = gated.fab("deploy", "--no-gate")

    assert ran.status == 0, ran.text
    assert "warning: the model gate refused this model; " in ran.text
    assert "lets it pass all the same (--no-gate)" in ran.text
    gate = record(gated, "host2")["gate"]
    assert (gate["judgement"], gate["blessed"]) == ("refused", False)
    assert gate["overridden_by"] in ran.text
    assert [row["verdict"] for row in gate["rows"]] == ["fail", "fail", "pass"]
    assert "refused by the model gate, --no-gate" in gated.fab("history").text

    # What a person let pass and the watch found good is what the next one is compared with.
    says(gated, {**GOOD, "auc": 0.7})
    assert gated.fab("deploy").status == 0


def test_a_model_that_nobody_judges_needs_a_person_who_says_so(project: SmallProject) -> None:
    says(project, GOOD)
    project.settle(app={"branch": "gated"}, train=TRAINS)

    ran = project.fab("deploy", "--no-gate")

    assert ran.status == 0, ran.text
    assert "warning: no [[gate]] judges this model; " in ran.text
    assert record(project)["gate"]["judgement"] == "unjudged"
    assert record(project)["gate"]["overridden_by"]
    assert "without a model gate, --no-gate" in project.fab("history").text


def test_a_host_that_only_trains_gets_its_baseline_from_one_that_serves(
    gated: SmallProject,
) -> None:
    live = gated.on_host("host2").current
    hosts = gated.up.environment_toml(app="small", port=gated.port)
    for name, role in (("host1", "train"), ("host2", "serve"), ("host3", "serve")):
        header = f"[environments.sandbox.hosts.{name}]\n"
        hosts = hosts.replace(header, f'{header}roles = ["{role}"]\n')
    # As a trainer that never served: it knows no good release.
    root = gated.root("host1")
    (root / "journal.jsonl").rename(root / "journal.aside")
    try:
        settle(gated, hosts=hosts)
        says(gated, {**GOOD, "auc": 0.74})
        ran = gated.refuses("deploy", status=ExitStatus.REFUSED, says="is worse by 0.02")
    finally:
        (root / "journal.jsonl").unlink(missing_ok=True)
        (root / "journal.aside").rename(root / "journal.jsonl")
    assert "after 0.76" in ran.text
    assert gated.on_host("host2").current == live


def test_an_evaluation_alone_touches_nothing_and_writes_what_a_pull_request_shows(
    gated: SmallProject, tmp_path: Path
) -> None:
    says(gated, {**GOOD, "auc": 0.74})
    file = tmp_path / "verdict.md"

    ran = gated.refuses(
        "step.evaluate", f"--markdown={file}", status=ExitStatus.REFUSED, says="the model gate"
    )
    assert "### Model gate: ❌ refused" in file.read_text()
    assert "| **fail** | `0.74 after 0.76 is worse by 0.02, above 0.01` |" in file.read_text()
    assert verdicts(gated)[-1].read_text() == file.read_text()
    assert "   auc" in ran.text

    said = gated.fab("step.evaluate", "--json")
    document = json.loads(said.text[said.text.index("\n{\n") :].split("\n}\n")[0] + "\n}")
    assert document["status"] == ExitStatus.REFUSED
    assert document["gate"]["rows"][1]["verdict"] == "fail"

    gated.refuses(
        "step.evaluate", "--markdown=/proc/no", status=ExitStatus.USAGE, says="cannot be written"
    )
    says(gated, GOOD)
    well = gated.fab("step.evaluate")
    assert well.status == 0, well.text
    assert "is through evaluate; nothing was switched" in well.text


def test_the_plan_says_what_will_judge_the_model(gated: SmallProject) -> None:
    live = gated.on_host().current
    shown = gated.fab("plan", "--scripts").text
    assert f"by 2 [[gate]], against {live}" in shown
    assert "##### evaluate on host1" in shown
    gated.settle(train=TRAINS)
    assert "there is no [[gate]]: deploy needs --no-gate" in gated.fab("plan").text
