"""A disk that gets full in the middle of a deploy."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from aideploy.errors import ExitStatus
from tests.fleet.project import Project, eventually
from tests.git import git
from tests.lab.hosts import Host, Lab

pytestmark = pytest.mark.fleet

MEGABYTE = 1024 * 1024
DISK_MEGABYTES = 200


@pytest.fixture(scope="module")
def small_disk(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """An app on two hosts, whose folder on the second one lies on a small disk."""
    first, second, _ = lab.hosts
    second.exec("install -d -o deploy -g deploy /srv/cramped")
    second.fill_disk("/srv/cramped", DISK_MEGABYTES * MEGABYTE)
    project = Project(
        lab, tmp_path_factory.mktemp("cramped"), hosts=[first, second], app="cramped", port=8820
    )
    project.set_up()
    project.deploy()
    yield project
    second.exec("systemctl stop cramped-due.path cramped-due.service cramped@live")
    second.free_disk("/srv/cramped")


# Leaves room for the model and takes it as soon as the model is there.
FILL_AFTER_THE_MODEL = """
import glob, os, time
def fill(size):
    try:
        with open("/srv/cramped/filler", "ab", buffering=0) as filler:
            while filler.write(bytes(size)): pass
    except OSError: pass
models = set(glob.glob("/srv/cramped/models/*/.complete"))
fill(1 << 20), fill(4096)
os.truncate("/srv/cramped/filler", os.path.getsize("/srv/cramped/filler") - (1 << 18))
while set(glob.glob("/srv/cramped/models/*/.complete")) <= models: time.sleep(0.001)
fill(1 << 16), fill(1)
""".replace('"', '\\"').replace("'", "")


def fill(host: Host) -> None:
    host.exec("cat /dev/zero > /srv/cramped/filler", check=False)


@pytest.mark.parametrize(
    "phase",
    [
        pytest.param("fetch", marks=pytest.mark.slow),
        pytest.param("install", marks=pytest.mark.slow),
        "distribute",
        pytest.param("stage", marks=pytest.mark.slow),
        pytest.param("switch", marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_is_named_and_nothing_changes_until_there_is_room_again(
    small_disk: Project, phase: str
) -> None:
    project = small_disk
    first, full = project.hosts
    before = project.all_serve()
    ballast = project.source / "ballast"
    if phase == "fetch":
        ballast.write_bytes(os.urandom(200 * MEGABYTE))
    project.slow_git(first, seconds=4 if phase == "install" else 0)
    project.commit(
        another_environment=phase == "install",
        trains_for=3 if phase in ("distribute", "stage") else 0,
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
            # The last block of the journal is full as well.
            full.exec(
                "cd /srv/cramped && printf '%*s' $((4096 - $(stat -c %s journal.jsonl) % 4096)) ''"
                " | tr ' ' '\\n' >> journal.jsonl"
            )
    time.sleep(0.2)
    if phase == "stage":
        full.exec(f'nohup python3 -c "{FILL_AFTER_THE_MODEL}" >/dev/null 2>&1 &')
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
        git(project.source, "reset", "--quiet", "--hard", "HEAD~1")
        project.commit()
    project.fab("deploy")
    assert len(project.all_serve() - before) == 1


# Whatever is freed is taken at once, as by a release that logs without end.
FILL_ON = """
cd /srv/brimful
while [ -e fills ]; do cat /dev/zero >>filler; sleep 0.005; done
"""


STOP_WHAT_STANDS_BY = """
cd /srv/brimful/slots
for slot in blue green; do [ $slot/release -ef ../current ] || systemctl stop brimful@$slot; done
"""


@pytest.fixture
def behind_haproxy_on_a_small_disk(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    host = lab.hosts[1]
    host.exec("install -d -o deploy -g deploy /srv/brimful")
    host.fill_disk("/srv/brimful", DISK_MEGABYTES * MEGABYTE)
    project = Project(
        lab,
        tmp_path_factory.mktemp("brimful"),
        hosts=[host],
        app="brimful",
        port=8830,
        strategy="blue_green",
    )
    project.set_up()
    project.deploy()
    yield project
    host.exec("systemctl stop brimful-due.path; systemctl stop 'brimful*'")
    # What was stopped may take a moment to be gone.
    assert eventually(lambda: host.exec("umount /srv/brimful", check=False).returncode == 0)


@pytest.mark.parametrize("old_one", [pytest.param("stands by", marks=pytest.mark.slow), "is down"])
def test_a_release_that_fills_the_disk_and_falls_ill_is_taken_back(
    behind_haproxy_on_a_small_disk: Project, old_one: str
) -> None:
    project = behind_haproxy_on_a_small_disk
    [host] = project.hosts
    before = project.all_serve()
    project.configure(bake="20s")
    project.commit(ill_when_told=True)

    command = project.start("deploy")
    command.wait_for(r"watch +\w+")
    host.exec("touch /srv/brimful/filler /srv/brimful/fills")
    host.exec(f"nohup bash -c '{FILL_ON}' >/dev/null 2>&1 &")
    time.sleep(0.5)
    if old_one == "is down":
        host.exec(STOP_WHAT_STANDS_BY)
    host.exec("touch /srv/brimful/shared/be-ill")
    finished = command.finish()

    assert finished.status == ExitStatus.ROLLED_BACK, finished.output
    assert project.all_serve() == before
    left = host.exec("ls -A /srv/brimful/due /srv/brimful/due.failed").stdout
    assert "revert" not in left
    # HAProxy begins anew with what it knew last.
    host.exec("systemctl reload brimful-haproxy")
    time.sleep(1)
    assert project.all_serve() == before
    host.exec("cd /srv/brimful; rm fills shared/be-ill; sleep 0.5; rm filler")
    project.deploy()
