"""A disk that gets full in the middle of a deploy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aideploy.errors import ExitStatus
from tests.fleet.project import Project
from tests.lab.hosts import Host, Lab

pytestmark = pytest.mark.fleet

MEGABYTE = 1024 * 1024
DISK_MEGABYTES = 160


@pytest.fixture(scope="module")
def small_disk(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """An app whose folder on the second of two hosts lies on a small disk; one trains, both serve."""
    first, second, _ = lab.hosts
    second.exec("install -d -o deploy -g deploy /srv/cramped")
    second.fill_disk("/srv/cramped", DISK_MEGABYTES * MEGABYTE)
    project = Project(
        lab, tmp_path_factory.mktemp("cramped"), hosts=[first, second], app="cramped", port=8500
    )
    project.set_up()
    project.deploy()
    yield project
    second.exec("systemctl stop cramped@live")
    second.free_disk("/srv/cramped")


def fill(host: Host) -> None:
    host.exec("cat /dev/zero > /srv/cramped/filler", check=False)


@pytest.mark.parametrize("phase", ["fetch", "install", "distribute", "stage", "switch"])
def test_a_full_disk_is_named_and_nothing_changes_until_there_is_room_again(
    small_disk: Project, phase: str
) -> None:
    project = small_disk
    first, full = project.hosts
    before = project.all_serve()
    ballast = project.source / "ballast"
    ballast.unlink(missing_ok=True)
    if phase == "fetch":
        ballast.write_bytes(Path("/dev/urandom").open("rb").read(170 * MEGABYTE))
    project.slow_git(first, seconds=4 if phase == "install" else 0)
    project.commit(
        another_environment=phase == "install",
        trains_for=3 if phase in ("distribute", "stage") else 0,
        model_megabytes=40 if phase == "distribute" else 0,
        staged_starts_after={"h1": 4} if phase == "switch" else {},
    )

    command = project.start("deploy")
    match phase:
        case "install":
            command.wait_for("fetch +h2 +done")
        case "distribute" | "stage":
            command.wait_for_phase("train")
        case "switch":
            command.wait_for("stage +h2 +done")
    time.sleep(0.2)
    if phase == "stage":
        # The model has room, a release has not.
        full.exec("(until ls /srv/cramped/models/*/.complete -t | head -n 1 | xargs -I% find % -newer"
                  " /srv/cramped/lock | grep -q .; do sleep 0.005; done;"
                  " cat /dev/zero > /srv/cramped/filler) >/dev/null 2>&1 &")  # fmt: skip
    elif phase != "fetch":
        fill(full)
    finished = command.finish()

    expected = ExitStatus.ROLLED_BACK if phase == "switch" else ExitStatus.NOT_READY
    assert finished.status == expected, finished.output
    assert f"{phase} on h2: " in finished.last_words
    assert "disk" in finished.last_words
    assert project.all_serve() == before

    full.exec("rm -f /srv/cramped/filler")
    project.slow_git(first, seconds=0)
    if phase == "fetch":
        ballast.unlink()
        project.commit()
    project.fab("deploy")
    assert len(project.all_serve() - before) == 1
