"""`fab report` as a user types it, on sandbox hosts: after a good deploy, a bad one, and elsewhere."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from aideploy.sandbox.lifecycle import Sandbox

from .small_project import Ran, SmallProject

_WRITES_METRICS = """\
import json, os
os.makedirs("model", exist_ok=True)
open("model/weights", "w").write("{auc}")
json.dump({{"auc": {auc}}}, open("metrics.json", "w"))
print("trained <b>with</b> \\x1b[31mcare\\x1b[0m")
"""
_TRAINING = {
    "train": {"command": "python3 train.py"},
    "gate": [{"metric": "auc", "min": 0.5}],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallProject]:
    """Two releases on two hosts, of which the second is live."""
    folder = tmp_path_factory.mktemp("report")
    with Sandbox(folder / "sandbox") as sandbox:
        up = sandbox.up(2)
        project = SmallProject(folder / "project", up, up.free_port(), more=_TRAINING)
        for auc in (0.7, 0.75):
            project.commit({"train.py": _WRITES_METRICS.format(auc=auc)}, f"Reach <{auc}>")
            if auc == 0.7:
                _succeed(project.fab("setup"))
            _succeed(project.fab("deploy"))
        yield project


def _succeed(ran: Ran) -> Ran:
    assert ran.status == 0, ran.text
    return ran


def test_x(project: SmallProject) -> None:
    print(project.fab("report").text)
