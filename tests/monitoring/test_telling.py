"""What a deploy tells Prometheus beside itself: the script that takes it, without a line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from aideploy.monitoring.telling import framed
from aideploy.remote.script import Script

TARGETS = '[\n  {\n    "targets": ["a:1"]\n  }\n]\n'


def tell(file: Path, data: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run the script as the monitor host does when it gets these bytes and no more."""
    script = Script("targets", (str(file), f"{file}.old", "app", "prod"), libraries=("old_name",))
    return subprocess.run(["bash", "-c", script.bare_text()], input=data, capture_output=True)


@pytest.mark.parametrize("arrived", [0, 1, 3, 20, -1])
def test_a_controller_that_dies_while_it_tells_leaves_the_targets_as_they_were(
    tmp_path: Path, arrived: int
) -> None:
    file = tmp_path / "app.prod.json"
    assert tell(file, framed(TARGETS)).returncode == 0
    assert tell(file, framed(TARGETS.replace("a:1", "ü:2"))[:arrived]).returncode != 0
    assert file.read_text() == TARGETS
    assert list(tmp_path.iterdir()) == [file]
    assert tell(file, framed(TARGETS.replace("a:1", "ü:2"))).returncode == 0
    assert "ü:2" in file.read_text()
