"""The shell that answers on a host, driven through pipes: no SSH, everything else real."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from aideploy.remote.script import Script, source
from aideploy.remote.session import bootstrap
from aideploy.remote.stream import Demultiplexer, Line, Mark, unescape
from tests.scripts.running import Calls, run_bare

SECONDS = 10.0


class Shell:
    """A session shell and both ends of its pipes."""

    def __init__(
        self,
        root: Path,
        *,
        lock: str = "lock",
        owner: str = "ann@laptop",
        idle: int = 30,
        first: Sequence[tuple[int, str]] = (),
        environment: Mapping[str, str] | None = None,
    ):
        words = (word for seconds, text in first for word in (str(seconds), text))
        start = Script("session", (str(root), lock, owner, str(idle), *words), libraries=("due",))
        self.process = subprocess.Popen(
            ["bash", "-c", bootstrap(start)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        self.items: list[Mark | Line] = []
        self._stream = Demultiplexer()

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def run(self, *texts: str, seconds: int = 0) -> None:
        frame = f"run {len(texts)}\n".encode()
        for text in texts:
            data = (source("prelude") + text).encode()
            frame += f"script {len(data)} {seconds}\n".encode() + data
        self.send(frame)

    def until(self, kind: str) -> list[Mark | Line]:
        """Read up to the first mark of this kind and return everything before it, and it."""
        assert self.process.stdout is not None
        seen: list[Mark | Line] = []
        deadline = time.monotonic() + SECONDS
        while True:
            while self.items:
                item = self.items.pop(0)
                seen.append(item)
                if isinstance(item, Mark) and item.kind == kind:
                    return seen
            ready, _, _ = select.select([self.process.stdout], [], [], deadline - time.monotonic())
            data = os.read(self.process.stdout.fileno(), 1 << 16) if ready else b""
            assert data, f"no {kind} came; seen: {seen}"
            self.items += self._stream.feed(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        self.process.wait(SECONDS)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    shell.until("ready")
    yield shell
    if shell.process.poll() is None:
        shell.close()


def lines(items: list[Mark | Line]) -> list[str]:
    return [item.text for item in items if isinstance(item, Line)]


def gone(pid: int) -> bool:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_scripts_of_one_frame_run_in_turn_until_one_fails(shell: Shell) -> None:
    shell.run("echo one", "echo two; exit 3", "echo three")
    seen = shell.until("idle")
    assert lines(seen) == ["one", "two"]
    assert [item for item in seen if isinstance(item, Mark) and item.kind == "end"] == [
        Mark("end", "0 0"),
        Mark("end", "1 3"),
    ]


def test_a_fact_comes_back_as_it_was_said(shell: Shell) -> None:
    value = "back\\slash \\n and\na newline, ü, " + "x" * 9000
    shell.run(f"value=$(cat <<'END'\n{value}\nEND\n)\nemit key \"$value\"")
    marks = [item for item in shell.until("idle") if isinstance(item, Mark)]
    parts = [mark.rest.removeprefix("key ") for mark in marks if mark.kind in ("part", "emit")]
    assert unescape("".join(parts)) == value


def test_a_failing_command_is_named(shell: Shell) -> None:
    shell.run("ls /nowhere/at/all")
    seen = shell.until("idle")
    said = [item.rest for item in seen if isinstance(item, Mark) and item.kind == "emit"]
    assert said == ["fail.command ls /nowhere/at/all (exit status 2)"]


def test_what_a_program_prints_is_never_taken_for_a_mark(shell: Shell) -> None:
    shell.run(
        r"printf '\x1eaideploy 00000000000000000000000000000000\n\x1e0000 end 0 0\n'"
        "; printf 'no end of line'; env"
    )
    seen = shell.until("end")
    assert seen[-1] == Mark("end", "0 0")
    assert any("no end of line" in line for line in lines(seen))
    assert not any("mark_token" in line for line in lines(seen)), "programs must not inherit it"


def test_fifty_megabytes_on_one_line_come_through_while_pings_are_answered(shell: Shell) -> None:
    shell.run("head -c 50000000 /dev/zero | tr '\\0' x; echo; emit done yes")
    shell.send(b"ping\nping\n")
    size = 0
    pongs = 0
    assert shell.process.stdout is not None
    deadline = time.monotonic() + 60
    ended = False
    while not ended and time.monotonic() < deadline:
        for item in shell._stream.feed(os.read(shell.process.stdout.fileno(), 1 << 16)):
            size += len(item.text) if isinstance(item, Line) else 0
            pongs += item == Mark("pong", "")
            ended = ended or item == Mark("end", "0 0")
    assert (size, pongs) == (50_000_000, 2)


@pytest.mark.parametrize("way", ["cancel", "end of input", "bye", "killed"])
def test_whatever_ends_the_session_ends_what_runs_in_it(shell: Shell, way: str) -> None:
    shell.run("sleep 300 & echo $!; bash -c 'trap \"\" TERM; echo $$; sleep 300'; wait")
    pids: list[int] = []
    assert shell.process.stdout
    while len(pids) < 2:
        shell.items += shell._stream.feed(os.read(shell.process.stdout.fileno(), 1 << 16))
        pids = [int(line) for line in lines(shell.items)]
    match way:
        case "cancel":
            shell.send(b"cancel\n")
            assert shell.until("end")[-1] == Mark("end", "0 cancelled")
        case "end of input":
            shell.close()
        case "bye":
            shell.send(b"bye\n")
        case "killed":
            os.killpg(shell.process.pid, signal.SIGHUP)
            shell.close()
    assert all(gone(pid) for pid in pids)


def test_a_script_that_takes_too_long_is_ended(shell: Shell) -> None:
    shell.run("sleep 300", seconds=1)
    assert shell.until("end")[-1] == Mark("end", "0 timeout")
    shell.run("echo still here")
    assert lines(shell.until("end")) == ["still here"]


def test_the_time_limit_of_one_script_does_not_reach_the_next(shell: Shell) -> None:
    shell.run("true", seconds=1)
    shell.until("idle")
    shell.run("sleep 2; echo done")
    assert lines(shell.until("end")) == ["done"]


def test_the_second_session_is_told_who_holds_the_lock(shell: Shell, tmp_path: Path) -> None:
    second = Shell(tmp_path, owner="bob@desk")
    mark = second.until("refused")[-1]
    assert isinstance(mark, Mark)
    assert mark.rest.startswith("locked ann@laptop since 20")
    second.process.wait(SECONDS)


@pytest.mark.parametrize(("holds_for", "came_to"), [(2.5, "ready"), (60, "refused")])
def test_a_job_of_the_host_itself_is_waited_for_but_not_for_ever(
    tmp_path: Path, holds_for: float, came_to: str
) -> None:
    with (tmp_path / "lock").open("w") as lock:
        lock.write("the host itself (stop-old) since 2026-11-22T21:42:39Z\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = Shell(tmp_path, idle=4)
        free = threading.Timer(holds_for, lambda: fcntl.flock(lock, fcntl.LOCK_UN))
        free.start()
        try:
            waited = second.until(came_to)
        finally:
            free.cancel()
            free.join()
            second.close()
    # So that nobody takes it for dead.
    assert Mark("pong", "") in waited


def test_the_lock_ends_with_the_session_even_when_a_daemon_stays(
    shell: Shell, tmp_path: Path
) -> None:
    shell.run("setsid sleep 300 >/dev/null 2>&1 </dev/null 8>&- & echo $!")
    daemon = int(lines(shell.until("end"))[0])
    try:
        os.kill(shell.process.pid, signal.SIGKILL)
        shell.process.wait(SECONDS)
        second = Shell(tmp_path)
        second.until("ready")
        second.close()
    finally:
        os.kill(daemon, signal.SIGKILL)


def test_setup_takes_the_lock_where_there_is_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "srv"
    for _ in range(2):
        # Nothing is made where there is nothing.
        first = Shell(root, lock="lock-if-there")
        first.until("ready")
        first.close()
        assert not root.exists()
    root.mkdir()
    first = Shell(root, lock="lock-if-there", owner="ann@laptop (setup)")
    first.until("ready")
    for how in ("lock-if-there", "lock"):
        second = Shell(root, lock=how)
        mark = second.until("refused")[-1]
        assert isinstance(mark, Mark)
        assert mark.rest.startswith("locked ann@laptop (setup) since 20")
        second.process.wait(SECONDS)
    first.close()
    leave_revert(root, f"touch {root}/back")
    third = Shell(root, lock="lock-if-there")
    assert Mark("reverting", "") in third.until("ready")
    assert (root / "back").exists()
    third.close()
    # What is wrong there setup itself says better.
    (root / "lock").unlink()
    (root / "lock").mkdir()
    fourth = Shell(root, lock="lock-if-there")
    fourth.until("ready")
    fourth.close()


def test_two_first_setups_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, root = tmp_path / "ho me", tmp_path / "srv" / "app"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))

    def refused(how: str = "lock-if-there") -> None:
        second = Shell(root, lock=how)
        mark = second.until("refused")[-1]
        assert isinstance(mark, Mark)
        assert mark.rest.startswith("locked ann@laptop (setup) since 20")
        second.process.wait(SECONDS)

    first = Shell(root, lock="lock-if-there", owner="ann@laptop (setup)")
    first.until("ready")
    refused()
    # It has made the folder, and is not through.
    root.mkdir(parents=True)
    refused()
    other = Shell(root.with_name("other"), lock="lock-if-there")
    other.until("ready")
    other.close()
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait(SECONDS)
    third = Shell(root, lock="lock-if-there", owner="ann@laptop (setup)")
    third.until("ready")
    refused()
    refused("lock")
    third.close()
    assert list(home.iterdir()) == []


def test_setup_goes_on_where_the_home_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "nonexistent"))
    first = Shell(tmp_path / "srv", lock="lock-if-there")
    first.until("ready")
    first.close()


def test_a_lock_taken_on_purpose_stays_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "held").write_text("ann since 2026-01-01T00:00:00Z: audit\n")
    shell = Shell(tmp_path)
    assert shell.until("refused")[-1] == Mark(
        "refused", "held ann since 2026-01-01T00:00:00Z: audit"
    )
    shell.process.wait(SECONDS)


def test_who_waited_for_the_lock_is_told_that_it_was_taken_on_purpose_meanwhile(
    tmp_path: Path,
) -> None:
    with (tmp_path / "lock").open("w") as lock:
        lock.write("the host itself (revert) since 2026-01-01T00:00:00Z\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        shell = Shell(tmp_path)
        shell.until("pong")
        (tmp_path / "held").write_text("ann: audit\n")
    assert shell.until("refused")[-1] == Mark("refused", "held ann: audit")
    shell.process.wait(SECONDS)


def test_nobody_else_on_the_host_can_keep_us_out(tmp_path: Path) -> None:
    (tmp_path / "lock").touch(mode=0o644)
    shell = Shell(tmp_path)
    shell.until("ready")
    assert (tmp_path / "lock").stat().st_mode & 0o077 == 0, "who may read it may hold it"
    shell.close()


def test_start_files_of_the_user_change_nothing_of_what_our_words_mean(tmp_path: Path) -> None:
    (tmp_path / "start").write_text("set -o noclobber\necho hello\n")
    (tmp_path / "lock").write_text("somebody, long ago\n")
    odd = {
        "BASH_ENV": str(tmp_path / "start"),
        "ENV": str(tmp_path / "start"),
        "SHELLOPTS": "noclobber:xtrace",
        "CDPATH": f"{tmp_path}:/",
        "BASH_FUNC_cd%%": '() { builtin cd "$@"; echo moved; }',
        "BASH_FUNC_head%%": "() { echo nothing; }",
    }
    shell = Shell(tmp_path, environment=odd)
    shell.until("ready")
    assert (tmp_path / "lock").read_text().startswith("ann@laptop since ")
    shell.run('cd /; emit here "$(cd tmp && pwd)"; cd /; head -c 3 /proc/version; echo')
    items = shell.until("end")
    assert lines(items) == ["Lin"]
    assert Mark("emit", "here /tmp") in items
    # What the user asks for finds its surroundings as they are.
    shell.run("bash -c 'head'")
    assert lines(shell.until("end")) == ["hello", "nothing"]
    shell.close()


def test_a_host_that_speaks_german_is_understood(tmp_path: Path) -> None:
    german = {"LC_ALL": "C.UTF-8", "LANGUAGE": "de", "LC_MESSAGES": "de_DE.UTF-8"}
    shell = Shell(tmp_path, environment=german)
    shell.until("ready")
    shell.run("cat /none || true; git -C /none status || true; locale charmap")
    said = "\n".join(lines(shell.until("end")))
    assert said.count("No such file or directory") == 2
    assert said.endswith("UTF-8"), "that alone is changed"
    shell.close()


def leave_revert(root: Path, body: str) -> None:
    """Leave the way back as a switch does."""
    (root / "due").mkdir(exist_ok=True)
    leave = Calls(
        "calls",
        libraries=("due",),
        body=f"root={root}\ndue_at revert 600 'goes back' <<'END'\n{body}\nEND",
    )
    assert run_bare(leave, {"HOME": str(root), "PATH": os.environ["PATH"]}).status == 0


def test_silence_from_the_controller_ends_the_session_and_takes_the_switch_back(
    tmp_path: Path,
) -> None:
    shell = Shell(tmp_path, idle=1)
    shell.until("ready")
    leave_revert(tmp_path, f"echo reverted >> {tmp_path}/proof; echo told")
    shell.process.wait(SECONDS)
    assert (tmp_path / "proof").read_text() == "reverted\n"
    assert not (tmp_path / "due" / "revert").exists()
    assert (tmp_path / "revert.log").read_text().splitlines()[1:] == ["told"]


def test_a_session_that_only_looks_takes_nothing_back(tmp_path: Path) -> None:
    leave_revert(tmp_path, f"touch {tmp_path}/proof")
    shell = Shell(tmp_path, lock="open")
    shell.until("ready")
    shell.close()
    assert not (tmp_path / "proof").exists()


def test_what_a_killed_session_left_unconfirmed_is_taken_back_before_the_next_one_looks(
    shell: Shell, tmp_path: Path
) -> None:
    leave_revert(tmp_path, f"sleep 1; echo reverted >> {tmp_path}/proof")
    os.kill(shell.process.pid, signal.SIGKILL)
    shell.process.wait(SECONDS)
    second = Shell(tmp_path)
    kinds = [mark.kind for mark in second.until("ready") if isinstance(mark, Mark)]
    assert (kinds[0], kinds[-1], set(kinds[1:-1])) == ("reverting", "ready", {"pong"})
    assert (tmp_path / "proof").read_text() == "reverted\n"
    second.close()
    assert (tmp_path / "proof").read_text() == "reverted\n"


def test_a_way_back_that_fails_keeps_nobody_out_and_stays_for_the_host_to_try_again(
    tmp_path: Path,
) -> None:
    leave_revert(tmp_path, f"echo tried >> {tmp_path}/proof; exit 1")
    shell = Shell(tmp_path)
    shell.until("ready")
    shell.run("echo here")
    assert lines(shell.until("end")) == ["here"]
    shell.close()
    assert (tmp_path / "proof").read_text() == "tried\ntried\n"
    assert (tmp_path / "due" / "revert").exists()


def test_a_host_that_was_not_set_up_says_so(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "nothing")
    assert shell.until("refused")[-1] == Mark("refused", f"missing {tmp_path}/nothing")
    shell.process.wait(SECONDS)


def test_half_a_script_never_runs(tmp_path: Path) -> None:
    whole = source("prelude") + f"touch {tmp_path}/ran\n# the rest, which never came"
    shell = Shell(tmp_path)
    shell.until("ready")
    shell.send(f"run 1\nscript {len(whole)} 0\n".encode() + whole[:-10].encode())
    shell.close()
    assert not (tmp_path / "ran").exists()


def test_a_cancel_that_follows_at_once_is_heard(shell: Shell) -> None:
    for _ in range(20):
        data = (source("prelude") + "sleep 60").encode()
        shell.send(f"run 1\nscript {len(data)} 0\n".encode() + data + b"cancel\n")
        assert Mark("end", "0 cancelled") in shell.until("idle")


def test_the_first_scripts_are_run_at_once_and_within_their_time(tmp_path: Path) -> None:
    first = [(0, source("prelude") + "emit one 1"), (1, source("prelude") + "sleep 60")]
    shell = Shell(tmp_path, first=first)
    seen = shell.until("idle")
    ends = [item.rest for item in seen if isinstance(item, Mark) and item.kind == "end"]
    assert ends == ["0 0", "1 timeout"]
    shell.send(b"bye\n")
    assert shell.process.wait(SECONDS) == 0
