"""What hosts tell node_exporter, without root and without systemd: through deploys, trainings that
fail, rollbacks; and where node_exporter's folder is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from aideploy.errors import ExitStatus
from tests.scripts.test_host_metrics import check_by_promtool

from .small_project import SmallProject

NAME = "aideploy-small.sandbox.prom"


def settle(project: SmallProject, command: str, folder: Path) -> None:
    project.settle(
        gates=[{"metric": "auc", "min": 0.7}],
        train={"command": command},
        monitoring={"textfile": str(folder)},
    )


@pytest.fixture
def watched(project: SmallProject) -> SmallProject:
    """The project with a folder of node_exporter on its hosts, which are one machine here."""
    folder = project.folder.parent / "textfile"
    folder.mkdir(exist_ok=True)
    settle(project, "echo model > model; echo '{\"auc\": 0.8}' > metrics.json", folder)
    ran = project.fab("setup")
    assert ran.status == 0, ran.text
    return project


def told(project: SmallProject, host: str = "host1") -> str:
    file = project.root(host) / "metrics" / NAME
    check_by_promtool(file)
    return file.read_text()


def test_deploys_failed_trainings_and_rollbacks_are_told(watched: SmallProject) -> None:
    assert watched.fab("deploy", "--yes").status == 0
    live = (watched.root() / "current").readlink().name
    for host in ("host1", "host2", "host3"):
        assert f'release="{live}"' in told(watched, host)
    assert 'aideploy_deploy_last_status{app="small",env="sandbox"} 1' in told(watched)
    assert 'aideploy_training_last_failed{app="small",env="sandbox"} 0' in told(watched)
    assert 'metric="auc",slice=""} 0.8' in told(watched)

    # A training that fails is told by the job itself, not by the deploy that waited for it.
    settle(watched, "exit 7", watched.folder.parent / "textfile")
    assert watched.fab("deploy", "--yes").status not in (0, ExitStatus.USAGE)
    text = told(watched)
    assert 'aideploy_training_last_failed{app="small",env="sandbox"} 1' in text
    assert f'release="{live}"' in text

    # A rollback leaves a release behind that was not good.
    settle(
        watched,
        "echo other > model; echo '{\"auc\": 0.8}' > metrics.json",
        watched.folder.parent / "textfile",
    )
    assert watched.fab("deploy", "--yes").status == 0
    assert f'release="{live}"' not in told(watched)
    assert watched.fab("rollback").status == 0
    assert f'release="{live}"' in told(watched)
    assert 'aideploy_deploy_last_status{app="small",env="sandbox"} 0' in told(watched)


def test_a_missing_folder_is_a_notice_and_stops_nothing(watched: SmallProject) -> None:
    settle(watched, "true", watched.folder.parent / "gone")
    ran = watched.fab("setup")
    assert ran.status == 0, ran.text
    assert "there is no folder" in ran.text
    ran = watched.fab("check")
    assert ran.status == 0, ran.text
    assert "where node_exporter would read" in ran.text
    assert not (watched.folder.parent / "gone").exists()
