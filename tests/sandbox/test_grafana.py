"""Promises of the marks on Grafana as a user meets them: `fab` against a peer of Grafana's API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.grafana import TOKEN, Grafana

from .small_project import SmallProject

ONLY = "--only=host1"


@pytest.fixture
def grafana(project: SmallProject) -> Iterator[Grafana]:
    """Is named in the project's settings, and lets us write."""
    with Grafana() as server:
        tables: dict[str, Any] = {
            "monitoring.grafana": {"url": server.url, "token": "GRAFANA_TOKEN"}
        }
        project.settle(**tables)
        yield server


def test_a_deploy_and_its_rollback_are_marked_and_the_token_stays_out_of_sight(
    project: SmallProject, grafana: Grafana
) -> None:
    project.commit({}, "Change nothing")
    deployed = project.fab("deploy", ONLY, env={"GRAFANA_TOKEN": TOKEN})
    assert deployed.status == 0, deployed.text
    release = project.on_host().current
    rolled_back = project.fab("rollback", ONLY, env={"GRAFANA_TOKEN": TOKEN})
    assert rolled_back.status == 0, rolled_back.text

    there, back = grafana.annotations.values()
    assert there["tags"] == [
        "deploy",
        "app:small",
        "env:sandbox",
        f"release:{release}",
        "result:done",
    ]
    assert back["tags"][0] == "rollback"
    assert f"release:{project.on_host().current}" in back["tags"]
    assert there["time"] < there["timeEnd"] < back["time"] < back["timeEnd"]
    assert f"{release} is live" in there["text"]
    logs = [log.read_text() for log in project.folder.glob(".aideploy/logs/*.log")]
    record = project.root() / "current" / "release.json"
    assert TOKEN not in "".join([deployed.text, rolled_back.text, *logs, record.read_text()])
    assert TOKEN not in json.dumps(grafana.asked)


def test_a_wrong_token_costs_a_line_and_no_deploy(project: SmallProject, grafana: Grafana) -> None:
    project.commit({}, "Change nothing again")
    ran = project.fab("deploy", ONLY, env={"GRAFANA_TOKEN": "glsa_wrong"})
    assert ran.status == 0, ran.text
    assert ran.text.count("does not know the token in GRAFANA_TOKEN") == 1
    assert "glsa_wrong" not in ran.text
    assert grafana.annotations == {}


def test_what_does_not_switch_says_nothing_to_grafana(
    project: SmallProject, grafana: Grafana
) -> None:
    for command in (("status",), ("plan",), ("step.fetch",)):
        project.fab(*command, ONLY, env={"GRAFANA_TOKEN": TOKEN})
    assert grafana.asked == []
