"""A training on several hosts, script by script: each host is a folder, torchrun is a stand-in.

What torchrun itself makes of it is tried in tests/fleet/test_torchrun.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aideploy.jobs import scripts
from aideploy.jobs.gang import Gang, read
from aideploy.jobs.job import State
from tests.scripts.running import Ran, run
from tests.scripts.test_job_scripts import WRITES_A_MODEL, Trainer
from tests.waiting import eventually

# It tells what it was asked for, and runs the command once.
TORCHRUN = """#!/bin/bash
while [ "$1" != --no-python ]; do printf '%s ' "$1"; shift; done
echo
shift
exec "$@"
"""
GO_ON = "until [ -e $JOB_DIR/../../enough ]; do sleep 0.1; done; "


class Host(Trainer):
    """One of two hosts that train together."""

    def configure(self, **train: object) -> None:
        """Write [train] anew, for two hosts."""
        super().configure(**({"engine": "torchrun"} | train))
        with (self.folder / "hosts.toml").open("a") as file:
            file.write("[environments.e.hosts.i]\naddress = 'i'\nroles = ['train']\n")

    @property
    def variables(self) -> dict[str, str]:
        return {
            "PATH": f"{self.folder.parent}:{os.environ['PATH']}",
            "SSH_CONNECTION": "198.51.100.7 50000 192.0.2.1 22",
        }

    def begin(self) -> Gang | None:
        """Submit as the first host does, and return what it tells the others."""
        return read(self.submit(**self.variables).result)

    def join(self, gang: Gang, **variables: str) -> Ran:
        """Take part as the second host does."""
        train = self.prepare()
        script = scripts.join(
            self.settings, train, self.release, self.revision, "ann@here",
            gang=gang, rank=1, leader="h",
        )  # fmt: skip
        return run(script, environment=self.variables | variables)

    def let_it_end(self) -> None:
        (self.root / "enough").touch()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    (tmp_path / "torchrun").write_text(TORCHRUN)
    (tmp_path / "torchrun").chmod(0o755)
    first, second = Host(tmp_path / "h"), Host(tmp_path / "i")
    second.source = first.source
    yield first, second
    for host in (first, second):
        for job in host.jobs().values():
            run(scripts.cancel(host.settings, job.id, "the end of the test"))


def configure(pair: tuple[Host, Host], **train: object) -> None:
    for host in pair:
        host.configure(**train)


def test_both_run_the_command_as_ranks_of_one_group_and_the_first_has_the_model(
    pair: tuple[Host, Host],
) -> None:
    first, second = pair
    configure(pair, command=f"{WRITES_A_MODEL} echo $NODE_RANK", data_version="echo d7")
    gang = first.begin()
    assert gang and gang.data_version == "d7"
    assert second.join(gang).status == 0
    assert first.follow().status == 0
    assert run(scripts.follow(second.settings, job=gang.job)).status == 0
    asked = "--nnodes 2 --node-rank {} --nproc-per-node 1 --rdzv-backend static --rdzv-id {}"
    meeting = " --master-addr 192.0.2.1 --master-port 29500 --max-restarts 0 "
    for rank, host in enumerate(pair):
        log = (host.place() / "log").read_text().splitlines()
        assert log == [asked.format(rank, gang.job) + meeting, str(rank)]
        assert (host.job().state, host.job().rank) == (State.SUCCEEDED, rank)
    assert first.keep().result.text("model") == first.job().model
    assert second.job().model == ""
    assert (first.job().inputs, first.job().data_version) == (
        second.job().inputs,
        second.job().data_version,
    )
    # It has the model: there is nothing to do for the others.
    assert first.begin() is None


def test_to_join_twice_is_to_join_once_and_another_attempt_ends_the_one_before(
    pair: tuple[Host, Host],
) -> None:
    first, second = pair
    configure(pair, command=GO_ON + WRITES_A_MODEL)
    gang = first.begin()
    assert gang and second.join(gang).status == 0
    keeper = (second.place() / "started").read_text()
    again = first.begin()
    assert again == gang
    assert second.join(gang).result.text("attached") == "yes"
    assert (second.place() / "started").read_text() == keeper

    first.cancel()
    anew = first.begin()
    assert anew and anew.job == gang.job and anew.meeting != gang.meeting
    assert second.job().state is State.RUNNING
    assert second.join(anew).status == 0
    assert (second.place() / "started").read_text() != keeper
    assert eventually(lambda: not Path("/proc", keeper.split()[0]).exists())
    earlier = json.loads((second.place() / "attempts/1/status.json").read_text())
    assert earlier["state"] == State.CANCELLED
    assert second.job().state is State.RUNNING
    assert (second.job().attempt, first.job().attempt) == (2, 2)
    for host in pair:
        host.let_it_end()
    assert eventually(lambda: second.job().state is State.SUCCEEDED)


def test_a_host_that_trains_something_else_or_has_no_torchrun_does_not_join(
    pair: tuple[Host, Host],
) -> None:
    first, second = pair
    configure(pair, command=GO_ON + WRITES_A_MODEL)
    gang = first.begin()
    assert gang
    assert second.join(gang, PATH=os.environ["PATH"]).code == "no-engine"
    assert not second.jobs()
    second.begin()
    busy = second.join(Gang(job="f" * 16, meeting="x 2 a 1", inputs="", data_version=""))
    assert busy.code == "job-busy"


def test_where_they_meet_may_be_said_and_one_host_more_is_another_job(
    pair: tuple[Host, Host],
) -> None:
    first, _ = pair
    first.configure(command=WRITES_A_MODEL)
    before = first.begin()
    assert before and before.meeting.split()[1:] == ["2", "192.0.2.1", "29500"]
    assert first.follow().status == 0
    hosts = first.folder / "hosts.toml"
    more = "[environments.e.hosts.k]\naddress = 'k'\nroles = ['train']\n"
    hosts.write_text(hosts.read_text() + more)
    submitted = first.submit(**first.variables)
    after = read(submitted.result)
    assert after and after.job != before.job
    assert any("the number of hosts" in line for line in submitted.lines)
    assert first.follow().status == 0
    said = json.dumps({"MASTER_ADDR": "203.0.113.9", "MASTER_PORT": "4000"}).replace(":", " =")
    hosts.write_text(hosts.read_text().replace("[train]\n", f"[train]\nenvironment = {said}\n"))
    named = first.begin()
    assert named and named.meeting.split()[1:] == ["3", "203.0.113.9", "4000"]
    assert first.follow().status == 0
