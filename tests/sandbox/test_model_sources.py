"""Deploys of models that were trained elsewhere, or go through a store: real MLflow, real S3."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from aideploy.errors import ExitStatus
from tests.lab import model_tools
from tests.lab.file_server import FileServer
from tests.lab.model_tools import Mlflow

from .small_project import SmallProject

WEIGHTS = os.urandom(2_000_000)


def model_of(name: str, content: bytes) -> str:
    return hashlib.sha256(f"{hashlib.sha256(content).hexdigest()}  ./{name}\n".encode()).hexdigest()


def record(project: SmallProject, host: str = "host1") -> dict[str, object]:
    text = (project.root(host) / "current/release.json").read_text()
    found: dict[str, object] = json.loads(text)
    return found


def served(project: SmallProject, path: str) -> set[bytes]:
    """What the live releases of all hosts find there."""
    return {(project.root(h.name) / "current" / path).read_bytes() for h in project.hosts}


@pytest.fixture
def web() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    with model_tools.mlflow(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


def test_a_model_behind_a_url_goes_live_and_is_fetched_once_by_each_host(
    project: SmallProject, web: FileServer
) -> None:
    web.behaviour.files["/ranker.bin"] = WEIGHTS
    sha256 = hashlib.sha256(WEIGHTS).hexdigest()
    project.settle(model={"source": web.url("/ranker.bin"), "sha256": sha256})

    ran = project.fab("deploy", "--no-gate")
    assert ran.status == 0, ran.text
    assert re.search(
        rf"model +host1 +done .* model {model_of('ranker.bin', WEIGHTS)[:7]}", ran.text
    )
    assert served(project, "model") == {WEIGHTS}
    assert record(project)["model_source"] == {"source": web.url("/ranker.bin"), "sha256": sha256}
    assert len(web.asked) == 3

    assert project.fab("deploy", "--no-gate").status == 0
    assert len(web.asked) == 3
    plan = project.fab("plan")
    assert f"from {web.url('/ranker.bin')}, unless it is there" in plan.text


def test_what_cannot_be_had_changes_nothing_and_says_why(
    project: SmallProject, web: FileServer
) -> None:
    web.behaviour.files["/ranker.bin"] = WEIGHTS
    right = hashlib.sha256(WEIGHTS).hexdigest()

    def refuses(path: str, sha256: str, status: ExitStatus, says: str) -> None:
        project.settle(model={"source": web.url(path), "sha256": sha256})
        project.refuses("deploy", "--no-gate", status=status, says=says)

    refuses("/no.bin", right, ExitStatus.USAGE, "answered 404 Not Found")
    refuses("/ranker.bin", "0" * 64, ExitStatus.REFUSED, f"is {right}, not {'0' * 64}")
    web.behaviour.token = "wanted"
    refuses("/ranker.bin", right[::-1], ExitStatus.NOT_READY, "answered 401 Unauthorized")
    project.settle(model={"source": "s3://bucket/m.bin", "sha256": right})
    says = "add fsspec and s3fs to the requirements"
    project.refuses("deploy", "--no-gate", status=ExitStatus.NOT_READY, says=says)


def test_the_alias_of_a_registry_is_resolved_once_and_recorded(
    project: SmallProject, mlflow: Mlflow
) -> None:
    first = mlflow.register("ranker", {"w.bin": WEIGHTS, "deep/v": b"words"}, {"auc": 0.91})
    mlflow.alias("ranker", "champion", first)
    model = {"source": "models:/ranker@champion", "tracking_uri": mlflow.url}
    project.settle(model=model)
    project.refuses("deploy", status=ExitStatus.USAGE, says="there is no [[gate]]")
    gates = [{"metric": "auc", "min": 0.9}]
    project.settle(model=model, gates=gates)
    ran = project.fab("deploy")
    assert ran.status == 0, ran.text
    assert served(project, "model/w.bin") == {WEIGHTS}
    assert served(project, "model/deep/v") == {b"words"}
    told = record(project, "host3")
    assert told["metrics"] == {"auc": 0.91}
    source = told["model_source"]
    assert isinstance(source, dict)
    assert (source["source"], source["version"]) == ("models:/ranker@champion", first)
    assert source["run"]

    # The next champion is another model; the alias moved, hosts.toml did not.
    better = mlflow.register("ranker", {"w.bin": b"better"}, {"auc": 0.95})
    mlflow.alias("ranker", "champion", better)
    assert project.fab("deploy").status == 0
    assert served(project, "model/w.bin") == {b"better"}

    worse = mlflow.register("ranker", {"w.bin": b"worse"}, {"auc": 0.7})
    mlflow.alias("ranker", "champion", worse)
    project.refuses("deploy", status=ExitStatus.REFUSED, says="the model gate refused")
    assert served(project, "model/w.bin") == {b"better"}

    project.settle(model={**model, "source": "models:/ranker@nobody"})
    says = "Registered model alias nobody not found"
    project.refuses("deploy", "--no-gate", status=ExitStatus.USAGE, says=says)
    project.settle(model={**model, "source": "models:/ranker/77"})
    project.refuses("deploy", "--no-gate", status=ExitStatus.USAGE, says="does not know the model")


def test_a_registry_that_does_not_answer_or_is_none_is_named(
    project: SmallProject, web: FileServer
) -> None:
    model = {"source": "models:/ranker@champion"}
    project.settle(model={**model, "tracking_uri": "http://127.0.0.1:1"})
    says = "the MLflow server http://127.0.0.1:1 cannot be asked"
    project.refuses("deploy", "--no-gate", status=ExitStatus.NOT_READY, says=says)
    api = "/api/2.0/mlflow/registered-models/alias"
    web.behaviour.files[api] = b"<html>hello</html>"
    project.settle(model={**model, "tracking_uri": web.url("")})
    project.refuses(
        "deploy", "--no-gate", status=ExitStatus.NOT_READY, says="as an MLflow server should"
    )
    project.settle(model={**model, "tracking_uri": web.url(""), "token": "A_TOKEN"})
    says = "A_TOKEN: not in the environment of this machine"
    project.refuses("deploy", "--no-gate", status=ExitStatus.USAGE, says=says)


def test_models_in_a_bucket_are_fetched_and_stored_with_the_fsspec_of_the_release(
    project: SmallProject, tmp_path: Path
) -> None:
    with model_tools.s3(tmp_path) as endpoint:
        variables = {
            # In place of a requirements.txt with s3fs: the tests need no package index.
            "PYTHONPATH": str(model_tools.packages()),
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        httpx.put(f"{endpoint}/models", timeout=60).raise_for_status()
        project.settle(
            train={"command": "mkdir model; seq 300000 > model/w"},
            model={
                "store": "s3://models/small",
                "environment": variables,
                "secrets": list(model_tools.BUCKET_ACCOUNT),
            },
        )
        ran = project.fab("deploy", "--no-gate", env=model_tools.BUCKET_ACCOUNT)
        assert ran.status == 0, ran.text
        assert "put 1 files into the store" in ran.text
        assert len(served(project, "model/w")) == 1
        assert model_tools.BUCKET_ACCOUNT["AWS_SECRET_ACCESS_KEY"] not in ran.text
        trained = str(record(project)["model"])

        # The same model as a source, for an app that does not train.
        source = f"s3://models/small/{trained}/"
        project.settle(
            model={
                "source": source,
                "sha256": trained,
                "environment": variables,
                "secrets": list(model_tools.BUCKET_ACCOUNT),
            }
        )
        ran = project.fab("deploy", "--no-gate", env=model_tools.BUCKET_ACCOUNT)
        assert ran.status == 0, ran.text
        assert record(project)["model"] == trained
        project.refuses(
            *("deploy", "--no-gate"),
            status=ExitStatus.USAGE,
            says="2 secrets have no value",
            env=dict.fromkeys(model_tools.BUCKET_ACCOUNT),
        )
