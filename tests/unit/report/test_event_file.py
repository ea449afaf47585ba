"""The stream of a run beside its log: read again it says the same, whatever happened to it."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from aideploy.errors import UsageError
from aideploy.events import (
    Event,
    HostFinished,
    Outcome,
    OutputReceived,
    Phase,
    ReleaseKnown,
    RunFinished,
    RunStarted,
)
from aideploy.report.choose import readers
from aideploy.report.event_file import LONGEST_TEXT, EventFile, stream_beside
from aideploy.report.event_reading import read_beginning, read_stream
from aideploy.report.log_file import KEPT_LOGS, LogFile
from aideploy.report.progress import TAIL_LINES
from tests.unit.report.pretend_run import NASTY, NEW, deploy, names
from tests.unit.report.sample_run import run


def written(path: Path, events: list[Event], **bounds: int) -> Path:
    reader = EventFile(path, **bounds)
    for event in events:
        reader(event)
    return path


@pytest.mark.parametrize("fail", [False, True])
def test_what_is_read_is_what_was_published(tmp_path: Path, fail: bool) -> None:
    events = list(deploy(names(3), fail=fail, log=tmp_path / "a.log"))
    stream = read_stream(written(tmp_path / "s", events))
    assert stream.events == tuple(events)
    assert (stream.unknown, stream.unreadable) == ((), 0)
    assert NASTY in {one.line.partition(" ")[2][7:] for one in events if hasattr(one, "line")}


def test_a_rollout_in_batches_and_its_verdict_come_back_whole(tmp_path: Path) -> None:
    events = list(run(["a", "b", "c"], "back"))
    assert read_stream(written(tmp_path / "s", events)).events == tuple(events)


def test_every_log_has_its_stream_and_goes_with_it(tmp_path: Path) -> None:
    log = tmp_path / "20240502T091210.345Z-deploy-x.log"
    with Path(os.devnull).open("w") as nowhere:
        for reader in readers(nowhere, nowhere, {}, json=False, log=log):
            reader(RunFinished(status=0, headline="done", seconds=1))
    assert stat.S_IMODE(stream_beside(log).stat().st_mode) == 0o600
    for number in range(KEPT_LOGS):
        LogFile(tmp_path / f"20250101T0000{number:02}.000Z-deploy-x.log")
    assert not log.exists() and not stream_beside(log).exists()


def test_output_is_bounded_and_the_last_lines_are_kept(tmp_path: Path) -> None:
    def said(number: int) -> Event:
        return OutputReceived(phase=Phase.TRAIN, host="h", line=f"{number:09}")

    end = HostFinished(phase=Phase.TRAIN, host="h", outcome=Outcome.FAILED, seconds=1)
    path = written(tmp_path / "s", [*map(said, range(100_000)), end], most_output=9_000)
    lines = [one.line for one in read_stream(path).events if isinstance(one, OutputReceived)]
    assert lines[:2] == ["000000000", "000000001"]
    assert (
        lines[1000] == f"… {100_000 - 1000 - TAIL_LINES} lines were left out here; the log has them"
    )
    assert lines[1001:] == [f"{n:09}" for n in range(100_000 - TAIL_LINES, 100_000)]
    assert read_stream(path).events[-1] == end


def test_a_run_that_ends_without_its_phase_keeps_the_last_lines(tmp_path: Path) -> None:
    line = OutputReceived(phase=Phase.TRAIN, host="h", line="last words")
    last = RunFinished(status=3, headline="lost", seconds=1)
    path = written(tmp_path / "s", [line, last], most_output=0)
    assert read_stream(path).events == (line, last)


def test_a_line_of_a_million_letters_is_cut(tmp_path: Path) -> None:
    path = written(
        tmp_path / "s", [OutputReceived(phase=Phase.TRAIN, host="h", line="x" * 1_000_000)]
    )
    (event,) = read_stream(path).events
    assert isinstance(event, OutputReceived)
    assert (len(event.line), event.line[-1]) == (LONGEST_TEXT, "…")


@dataclass(frozen=True, kw_only=True)
class Invented(Event):
    """Of a later version."""

    numbers: tuple[float, ...]


def test_what_is_damaged_or_new_takes_nothing_else_with_it(tmp_path: Path) -> None:
    known = ReleaseKnown(release=NEW, revision="3f2a9bc")
    path = written(tmp_path / "s", [known, Invented(numbers=(1.0, float("nan"), float("inf")))])
    with path.open("ab") as file:
        file.write(b'not json\n[1]\n{"event":"ReleaseKnown","release":7}\n{"event":"Event"\xff\n')
        file.write(b'{"event":"Path"}\n' + b"[" * 100_000 + b"\n")
        file.write(b'{"event":"ReleaseKnown","release":"cut in the mid')
    stream = read_stream(path)
    assert stream.events == (known,)
    assert [one.kind for one in stream.unknown] == ["Invented", "Path"]
    assert stream.unknown[0].values["numbers"] == [1.0, None, None]
    assert stream.unreadable == 6


def test_who_looks_for_a_run_reads_no_more_than_needed(tmp_path: Path) -> None:
    path = written(tmp_path / "s", list(run(["a"], "well")))
    kinds = [type(one) for one in read_beginning(path, (RunStarted, ReleaseKnown))]
    assert kinds == [RunStarted, ReleaseKnown]
    assert list(read_beginning(tmp_path / "missing", (RunStarted,))) == []


def test_a_file_that_cannot_be_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        EventFile(tmp_path / "no" / "s")
    with pytest.raises(UsageError, match="cannot be read"):
        read_stream(tmp_path)


def test_each_line_is_plain_json(tmp_path: Path) -> None:
    path = written(tmp_path / "s", list(deploy(names(1), fail=True, log=None)))
    lines = path.read_text(encoding="ascii").splitlines()
    assert all(isinstance(json.loads(line)["event"], str) for line in lines)
