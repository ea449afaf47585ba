"""Jobs that a host runs by itself: left by a script, run by the program that setup installs.

The program is the real one, started as a service manager starts it. Of a restart of the host only
its trace is made by hand: another word for the start of the host in the job.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aideploy.remote.script import source
from aideploy.rendering import render
from tests.scripts.running import Calls, Ran, run_bare
from tests.waiting import eventually

ENVIRONMENT = {"HOME": "/a home", "PATH": os.environ["PATH"]}


class Due:
    """The folder of an app, and the program that runs what is due there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.proof = root / "proof"
        self.program = root / "due.sh"
        self.program.write_text(
            render("due.sh.j2", {"due_program": source("due") + source("due_runner")})
        )
        for name in ("due", "due.failed"):
            (root / name).mkdir()
        self.started: list[subprocess.Popen[str]] = []

    def call(self, body: str) -> Ran:
        calls = Calls("calls", libraries=("due",), body=f"root='{self.root}'\n{body}")
        return run_bare(calls, ENVIRONMENT)

    def leave(self, seconds: int, body: str = "", *, name: str = "revert") -> None:
        body = body or f"echo ran >>'{self.proof}'"
        ran = self.call(f"due_at {name} {seconds} 'does it' <<'END'\n{body}\nEND")
        assert ran.status == 0, ran.output

    def start(self, how: str = "leave") -> subprocess.Popen[str]:
        runner = subprocess.Popen(
            ["bash", str(self.program), str(self.root), how],
            env={"PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(runner)
        return runner

    def job(self, name: str = "revert") -> Path:
        return self.root / "due" / name

    def first_line(self, *changes: tuple[str, str]) -> None:
        """Change the first line of the job: patterns and what comes in their place."""
        first, _, rest = self.job().read_text().partition("\n")
        for pattern, new in changes:
            first = re.sub(pattern, new, first)
        self.job().write_text(f"{first}\n{rest}")


@pytest.fixture
def due(tmp_path: Path) -> Iterator[Due]:
    root = tmp_path / "an app"
    root.mkdir()
    due = Due(root)
    yield due
    for runner in due.started:
        if runner.poll() is None:
            os.killpg(runner.pid, signal.SIGKILL)
        runner.wait()
        assert runner.stdout is not None
        runner.stdout.close()


def test_a_job_runs_when_its_time_has_come_and_not_before_and_is_gone(due: Due) -> None:
    due.leave(2, f"date +%s%N >'{due.proof}'; echo \"$HOME\"")
    assert oct(due.job().stat().st_mode & 0o777) == "0o600"
    left = time.time()
    runner = due.start()
    said, _ = runner.communicate(timeout=10)
    assert runner.returncode == 0
    assert int(due.proof.read_text()) / 1e9 - left > 1
    assert not due.job().exists()
    assert "revert is due: try 1 of 3\nrevert is done\n" in said
    # In the surroundings of whoever left it.
    assert (due.root / "revert.log").read_text().splitlines()[1:] == ["/a home"]


def test_a_job_that_is_extended_waits_longer_and_one_that_is_cancelled_never_runs(due: Due) -> None:
    due.leave(1)
    assert due.call("due_extend revert 600").status == 0
    due.leave(600, name="retire")
    runner = due.start()
    time.sleep(2.5)
    assert due.call("due_cancel revert; due_cancel retire").status == 0
    assert runner.wait(10) == 0
    assert not due.proof.exists()
    assert due.call("due_extend revert 5").code == "not-armed"


def test_while_somebody_holds_the_lock_a_job_waits_and_may_still_be_taken_back(due: Due) -> None:
    with (due.root / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        due.leave(0)
        due.leave(0, f"touch '{due.root}/retired'", name="retire")
        runner = due.start()
        time.sleep(1.5)
        assert not due.proof.exists()
        due.call("due_cancel revert")
    assert runner.wait(10) == 0
    assert not due.proof.exists()
    assert (due.root / "retired").exists()


def test_who_comes_meanwhile_is_told_that_the_host_itself_holds_the_lock(due: Due) -> None:
    due.leave(0, "sleep 1.5")
    due.start()
    assert eventually(lambda: "the host itself (revert) since 20" in lock_line(due))
    with (due.root / "lock").open("a") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert eventually(lambda: not due.job().exists())
    with (due.root / "lock").open("a") as lock:
        assert eventually(lambda: is_free(lock.fileno()))


def lock_line(due: Due) -> str:
    file = due.root / "lock"
    return file.read_text() if file.exists() else ""


def is_free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_after_a_restart_of_the_host_a_job_is_due_at_once(due: Due) -> None:
    due.leave(600)
    due.first_line((r"\S+/\S+$", "another-start/1"))
    assert due.start().wait(10) == 0
    assert due.proof.exists()


def test_what_was_cut_while_it_was_written_does_not_wait_for_its_time(due: Due) -> None:
    due.leave(600)
    due.job().rename(due.job("revert.new.4711"))
    assert due.start().wait(10) == 0
    assert not due.proof.exists()
    assert list((due.root / "due").iterdir()) == []


@pytest.mark.parametrize("jump", [-86400, 86400])
def test_a_clock_that_jumps_changes_nothing(due: Due, jump: int) -> None:
    due.leave(1 if jump > 0 else 600)
    due.first_line((r"# due \d+", f"# due {int(time.time()) + jump}"))
    due.start()
    assert eventually(due.proof.exists, within=4) is (jump > 0)


def test_a_job_that_was_cut_never_runs_and_is_put_away(due: Due) -> None:
    due.leave(0, f"echo ran >>'{due.proof}'\necho and more")
    whole = due.job().read_text()
    due.job().write_text(whole[: whole.index("echo and more")])
    due.job("retire").write_text("")
    due.job("retire.new.4711").write_text("# due 1")
    due.program.write_text(due.program.read_text().replace("pause=5", "pause=0.1"))
    said, _ = due.start().communicate(timeout=10)
    assert not due.proof.exists()
    assert "this job was cut" in (due.root / "revert.log").read_text()
    assert "revert failed and is given up" in said
    assert {path.name for path in (due.root / "due.failed").iterdir()} == {"revert", "retire"}
    assert list((due.root / "due").iterdir()) == []


def test_a_job_that_fails_is_tried_again_then_given_up_until_somebody_leaves_a_new_one(
    due: Due,
) -> None:
    due.program.write_text(due.program.read_text().replace("pause=5", "pause=0.1"))
    due.leave(0, f"echo ran >>'{due.proof}'; [ $(wc -l <'{due.proof}') = 2 ]")
    assert due.start().wait(10) == 0
    assert due.proof.read_text() == "ran\nran\n"
    assert list((due.root / "due.failed").iterdir()) == []

    due.leave(0, "echo no; exit 3")
    assert due.start().wait(10) == 0
    assert (due.root / "due.failed" / "revert").exists()
    assert (due.root / "revert.log").read_text().splitlines().count("no") == 3
    due.leave(0)
    assert not (due.root / "due.failed" / "revert").exists()
    assert due.start().wait(10) == 0
    assert not due.job().exists()


def test_what_a_job_says_may_be_lost_and_the_job_goes_on(due: Due) -> None:
    (due.root / "revert.log").symlink_to("/dev/full")
    due.leave(0, f"for i in $(seq 20000); do echo $i; done; echo ran >'{due.proof}'")
    assert due.start().wait(10) == 0
    assert due.proof.exists()


def test_a_runner_that_was_killed_in_the_middle_of_a_job_does_it_again(due: Due) -> None:
    due.leave(0, f"echo ran >>'{due.proof}'; [ $(wc -l <'{due.proof}') = 2 ] || sleep 2")
    runner = due.start()
    assert eventually(due.proof.exists)
    os.kill(runner.pid, signal.SIGKILL)
    assert due.start().wait(10) == 0
    assert due.proof.read_text() == "ran\nran\n"


def test_without_setup_nothing_can_be_left_and_the_error_says_so(due: Due) -> None:
    (due.root / "due").rmdir()
    ran = due.call("due_at revert 5 'does it' <<<true")
    assert ran.code == "not-set-up"
