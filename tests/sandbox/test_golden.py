"""A release that is well and wrong: recorded requests find it out, and no user ever meets it."""

from __future__ import annotations

import json
import re
import shutil
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ranker_versions
from aideploy.errors import ExitStatus
from ranker_sabotages import Sabotage

from .small_project import SmallProject, program, small_project

GOLDEN = "golden.jsonl"

# Answers twice what it is sent; what else it does is in a file that comes with the commit.
_SERVICE = program("""\
how = json.load(open("how.json"))
count = itertools.count()

def answer(request, sent=None):
    if request.command == "GET":
        return request.say(IS)
    if not isinstance(sent, int):
        return request.say({"error": "send a number"}, 400)
    said = {"double": sent * how.get("factor", 2), "name": "d\\u00f6ppel"}
    if how.get("counts"):
        said["count"] = next(count)
    request.say(said)
""")


def set_up_and_deployed(project: SmallProject) -> str:
    project.succeeds("setup")
    return project.succeeds("deploy").text


@pytest.fixture(scope="module")
def doubling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallProject]:
    """A service that doubles numbers, live on two hosts, with its golden file."""
    with small_project(tmp_path_factory.mktemp("doubling"), hosts=2) as project:
        project.commit({"service.py": _SERVICE, "how.json": "{}", GOLDEN: lines(1, 2, 30)})
        project.settle(golden={"file": GOLDEN, "path": "/double"})
        assert "3 golden answers right" in set_up_and_deployed(project)
        yield project


@pytest.fixture
def project(doubling: SmallProject) -> SmallProject:
    doubling.git("checkout", "--quiet", "--force", "main")
    doubling.settle(golden={"file": GOLDEN, "path": "/double"})
    return doubling


def lines(*numbers: int, factor: int = 2) -> str:
    return "".join(
        json.dumps({"request": number, "expected": {"double": number * factor}}) + "\n"
        for number in numbers
    )


def on_branch(project: SmallProject, name: str, files: dict[str, str | bytes | None]) -> str:
    project.git("checkout", "--quiet", "-B", name, "main")
    project.commit(files)
    return f"--revision={name}"


# -- a deploy -----------------------------------------------------------------------------------


def test_a_release_that_answers_wrongly_is_refused_on_every_host_and_the_last_word_shows_how(
    project: SmallProject,
) -> None:
    revision = on_branch(project, "wrong", {"how.json": '{"factor": 3}'})

    ran = project.refuses(
        "deploy", revision, status=ExitStatus.REFUSED, says="nothing was switched"
    )

    assert "the new release is not ready: 3 of 3 golden answers are wrong" in ran.text
    assert "golden.jsonl:1: double: expected 2 (within 2e-06), found 3" in ran.text
    assert "│ golden.jsonl:3: asked 30" in ran.text
    assert "(untouched)" in ran.text


def test_where_a_gpu_holds_one_model_the_golden_requests_follow_the_switch_and_take_it_back(
    project: SmallProject,
) -> None:
    revision = on_branch(project, "wrong-on-gpu", {"how.json": '{"factor": 3}'})
    project.settle(golden={"file": GOLDEN, "path": "/double"}, serve={"gpus": 1})
    before = {host.name: project.on_host(host.name).current for host in project.hosts}

    ran = project.fab("deploy", revision)

    assert ran.status == ExitStatus.ROLLED_BACK, ran.text
    assert "after the switch: 3 of 3 golden answers are wrong" in ran.text
    assert before == {host.name: project.on_host(host.name).current for host in project.hosts}


@pytest.mark.parametrize("source", ["push", "pull"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"request": 1, "expected": 2}\n{"reqest": 2}\n', 'golden.jsonl:2: unknown key "reqest"'),
        (None, "has no file golden.jsonl"),
    ],
    ids=["unknown key", "missing"],
)
def test_a_golden_file_that_is_wrong_is_told_before_anything_is_built(
    project: SmallProject, source: str, content: str | None, says: str
) -> None:
    revision = on_branch(project, f"bad-{source}", {GOLDEN: content})
    project.settle(app={"source": source}, golden={"file": GOLDEN, "path": "/double"})

    ran = project.refuses("deploy", revision, status=ExitStatus.USAGE, says=says)

    # Where this machine has the commit, nothing is connected to.
    assert ("fetch" in ran.text) == (source == "pull"), ran.text
    assert "environment" not in ran.text


# -- recording ----------------------------------------------------------------------------------


def test_recording_writes_what_the_live_release_answers_and_keeps_what_people_decided(
    project: SmallProject,
) -> None:
    golden = project.repository / GOLDEN
    old: list[dict[str, Any]] = [
        {"request": 1, "expected": {"double": 5}, "tolerance": 0.5},
        {"request": 2},
        {"request": 3, "expected": {"double": 6}},
    ]
    golden.write_text("".join(json.dumps(line) + "\n" for line in old))
    project.settle(app={"source": "push"}, golden={"file": GOLDEN, "path": "/double"})

    refused = project.fab("golden.record")
    assert refused.status == ExitStatus.USAGE, refused.text
    assert "1 changed, 2 the same" in refused.text
    assert "--yes" in refused.text
    assert json.loads(golden.read_text().splitlines()[0]) == old[0]

    ran = project.fab("golden.record", "--yes")
    assert ran.status == 0, ran.text
    recorded = [json.loads(line) for line in golden.read_text().splitlines()]
    # The tolerance, the field left out and the request that only warms up are as they were.
    assert recorded == [{**old[0], "expected": {"double": 2}}, *old[1:]]
    again = project.fab("golden.record")
    assert again.status == 0
    assert "says already" in again.text
    assert not [name for name in project.repository.iterdir() if name.name.endswith(".new")]


def test_requests_become_a_golden_file_that_the_next_deploy_uses(project: SmallProject) -> None:
    requests = project.folder / "requests.jsonl"
    requests.write_text('{"request": 7}\n{"request": 8, "tolerance": 1}\n{"request": 9}\n')
    out = project.folder / "new.jsonl"

    ran = project.fab("golden.record", "--requests=requests.jsonl", "--count=2", "--out=new.jsonl")

    assert ran.status == 0, ran.text
    assert "2 new" in ran.text
    assert [json.loads(line) for line in out.read_text().splitlines()] == [
        {"request": 7, "expected": {"double": 14, "name": "döppel"}},
        {"request": 8, "expected": {"double": 16, "name": "döppel"}, "tolerance": 1},
    ]
    revision = on_branch(project, "recorded", {GOLDEN: out.read_text()})
    ran = project.fab("deploy", revision)
    assert ran.status == 0, ran.text
    assert "2 golden answers right" in ran.text


def test_what_no_release_could_be_held_to_is_not_recorded(project: SmallProject) -> None:
    requests = project.folder / "requests.jsonl"
    requests.write_text('{"request": 7}\n{"request": "seven"}\n')
    record = ("golden.record", "--requests=requests.jsonl", "--out=odd.jsonl")
    out = project.folder / "odd.jsonl"

    ran = project.fab(*record)
    assert (ran.status, out.exists()) == (ExitStatus.USAGE, False), ran.text
    assert 'requests.jsonl:2: answered 400, {"error": "send a number"}; expected 200' in ran.text

    requests.write_text('{"request": 7}\n{"requst": 8}\n')
    ran = project.fab(*record)
    assert (ran.status, out.exists()) == (ExitStatus.USAGE, False), ran.text
    assert "requests.jsonl:2: unknown key" in ran.text

    ran = project.fab("deploy", on_branch(project, "counting", {"how.json": '{"counts": true}'}))
    assert ran.status == 0, ran.text
    requests.write_text('{"request": 7}\n')
    ran = project.fab(*record)
    assert (ran.status, out.exists()) == (ExitStatus.USAGE, False), ran.text
    assert re.search(r"requests.jsonl:1: count: expected \d+ .*, found \d+", ran.text), ran.text
    assert "[golden] ignore" in ran.text

    project.settle(golden={"file": GOLDEN, "path": "/double", "ignore": ["count"]})
    ran = project.fab(*record)
    assert (ran.status, "count" in out.read_text()) == (0, False), ran.text
    out.unlink()


# -- the example, spoiled -------------------------------------------------------------------------

WHY = {
    Sabotage.NAN_WEIGHTS: "ranking[0].probability is not a finite number",
    Sabotage.SWAPPED_LABELS: "10 of 10 golden answers are wrong",
    Sabotage.FEATURE_SCALED_TWICE: "golden.jsonl:1: ranking[0].probability: expected 0.363771",
    Sabotage.CONSTANT: "the answers do not depend on what is asked: ranking[].probability is",
    Sabotage.TRUNCATED: "weights.npz is damaged: it has 999 bytes",
    Sabotage.OTHER_LIBRARY: "has format 2; this release reads format 1",
    Sabotage.SLOW: "too slow: median",
    Sabotage.LEAKS_AT_LOAD: "MiB of memory, limit 250 MiB",
}


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallProject]:
    """The example, live on one host with the model that it trained there."""
    with small_project(tmp_path_factory.mktemp("ranker"), hosts=1) as project:
        # The host is this machine, which has what the example needs.
        gunicorn = f"exec {sys.executable} -m gunicorn app:app --bind $BIND:$PORT --threads 2"
        project.settle(
            # What the models are spoiled by does not show in their metrics.
            gates=[{"metric": "auc", "min": 0.65}],
            train={
                "command": f"{sys.executable} train.py",
                "environment": {"RANKER_ROWS": "100000"},
            },
            serve={"command": gunicorn},
            health={"timeout": "30s"},
            golden={"file": GOLDEN, "max_latency": "20ms", "max_memory": "250M"},
        )
        replace_files(project, ranker_versions.first)
        assert "10 golden answers right" in set_up_and_deployed(project)
        yield project


def replace_files(project: SmallProject, write: Callable[[Path], None]) -> None:
    for file in project.repository.glob("[!.]*"):
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink()
    write(project.repository)
    project.commit({})


# One that answers wrongly, one that does not start, one that answers late.
ALWAYS = {Sabotage.FEATURE_SCALED_TWICE, Sabotage.OTHER_LIBRARY, Sabotage.SLOW}


@pytest.mark.parametrize(
    "sabotage",
    [pytest.param(one, marks=() if one in ALWAYS else pytest.mark.slow) for one in Sabotage],
    ids=lambda one: one.name.lower(),
)
def test_a_spoiled_model_is_refused_before_it_takes_traffic_and_the_reason_is_told(
    ranker: SmallProject, sabotage: Sabotage
) -> None:
    live = ranker.on_host().current
    replace_files(ranker, sabotage.write)

    ran = ranker.refuses("deploy", status=ExitStatus.REFUSED, says=WHY[sabotage])

    assert f"serves {live} (untouched)" in ran.text
    address = ranker.host("host1").address
    with urllib.request.urlopen(f"http://{address}:{ranker.port}/healthz", timeout=10) as answer:
        assert json.load(answer)["release"] == live


def test_a_better_model_passes_the_golden_requests_of_the_one_before(ranker: SmallProject) -> None:
    replace_files(ranker, ranker_versions.improved)

    ran = ranker.fab("deploy")

    assert ran.status == 0, ran.text
    assert "10 golden answers right" in ran.text
