"""The contenders of the benchmarks: what is compared has to be the same work, really done."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import distribute
from benchmarks.contenders import Contender
from benchmarks.deploys import contenders
from benchmarks.scene import Scene, Tool, scene
from tests.lab.hosts import Host

pytestmark = pytest.mark.fleet


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(1, tmp_path_factory.mktemp("benchmarks")) as made:
        yield made


def health(host: Host, contender: Contender) -> dict[str, str]:
    said = host.exec(f"curl --silent --fail http://127.0.0.1:{contender.app.port}/healthz").stdout
    answer: dict[str, str] = json.loads(said)
    return answer


@pytest.mark.slow
def test_every_contender_puts_the_same_revision_and_model_live(stage: Scene) -> None:
    (host,) = stage.lab.hosts
    order = stage.order(Tool.UV, 1, new_dependencies=True)
    answers = []
    for contender in contenders(stage):
        stage.set_up(contender.app)
        contender.prepare(order)
        cost = contender.deploy(order)

        answer = health(host, contender)
        assert answer["revision"] == order.revision, contender.name
        assert cost.connections == 1, contender.name
        verdicts = host.exec(
            f"grep --count good {shlex.quote(str(contender.app.root / 'journal.jsonl'))}"
        )
        assert verdicts.stdout == "1\n", contender.name
        answers.append(answer["model"])
    assert len(set(answers)) == 1


def test_a_model_is_distributed_whole_by_both_that_are_compared(tmp_path: Path) -> None:
    # It compares the files of all hosts itself.
    table = distribute.measure(tmp_path, megabytes=8, rounds=1, serving=1)
    assert [row.who for row in table.rows] == ["ssh | tee | ssh", "aideploy"]
    assert all(seconds > 0 for row in table.rows for seconds in row.rounds)


def test_a_contender_that_fails_is_not_counted_as_fast(stage: Scene) -> None:
    first, *_ = contenders(stage)
    order = stage.order(Tool.UV, 1, new_dependencies=False)
    first.prepare(order)
    # A file stands where its folder would be: nothing can be deployed.
    (host,) = stage.lab.hosts
    root = first.app.root
    host.exec(f"[ ! -e {root} ] || mv {root} {root}.away; touch {root}")
    try:
        with pytest.raises(RuntimeError, match="failed on h1"):
            first.deploy(order)
    finally:
        host.exec(f"rm {root}; [ ! -e {root}.away ] || mv {root}.away {root}")
