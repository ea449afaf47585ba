from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aideploy.errors import UsageError
from aideploy.events import Event, Events, Failure, Notice, OutputReceived, Phase, RunFinished
from aideploy.report.log_file import KEPT_LOGS, LogFile, log_path
from tests.git import git
from tests.unit.report.pretend_run import deploy

NOW = datetime(2024, 5, 2, 9, 12, 10, 345678, tzinfo=UTC)


def test_its_name_says_when_what_and_where(tmp_path: Path) -> None:
    assert log_path(tmp_path, "deploy", "production", NOW) == (
        tmp_path / ".aideploy/logs/20240502T091210.345Z-deploy-production.log"
    )


@pytest.mark.parametrize("environment", ["../../etc", "a/b", "x" * 500, "a\nb", "\ud800"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, environment: str) -> None:
    path = log_path(tmp_path, "deploy", environment, NOW)
    assert path.parent == tmp_path / ".aideploy/logs"
    LogFile(path)(RunFinished(status=0, headline="", seconds=0))
    assert path.exists()


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = log_path(tmp_path, "deploy", "production", NOW)
    LogFile(path)(RunFinished(status=0, headline="", seconds=0))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_every_line_of_output_is_in_it_at_once_and_whole(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    line = "x" * 100_000 + "\x1b[31m\tend"
    log(OutputReceived(phase=Phase.TRAIN, host="gpu1", line=line, at=NOW))
    assert (tmp_path / "log").read_text() == (
        f"2024-05-02T09:12:10.345Z train      gpu1  | {'x' * 100_000}\\x1b[31m\tend\n"
    )
    log(RunFinished(status=0, headline="", seconds=0))


def test_it_tells_the_whole_story(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    for event in deploy(("gpu1", "gpu2", "gpu3"), fail=True, log=None):
        log(event)
    lines = (tmp_path / "log").read_text().splitlines()
    told = [line.split("Z ", 1)[1] for line in lines]
    assert told[0] == "-          -  deploy ranker in production by ada on gpu1, gpu2, gpu3"
    for expected in (
        "fetch      -  begins on gpu1, gpu2, gpu3",
        "fetch      gpu2  > unpacking main",
        "fetch      gpu2  done 1.2s  3f2a9bc",
        "fetch      -  done 1.3s",
        "-          -  warning: no gate is configured",
        "stage      gpu2  failed 1.2s  the service did not answer /healthz within 60s",
        "stage      gpu2  failure: the service did not answer /healthz within 60s",
        "stage      gpu3  failure: the service did not answer /healthz within 60s",
        "stage      gpu3  ranker@green on gpu3 exited with 1",
        "-          gpu1  now: serves, 20240501T101500Z-77e01ac, healthy",
        "-          -  next: fab logs --env production --only gpu3",
    ):
        assert told.count(expected) == 1, expected
    assert sum("  | stage line " in line for line in told) == 75


def test_a_line_that_looks_like_another_cannot_be_forged(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    failure = Failure(what="exit 1", host="a", tail=("x\n2024 forged",))
    log(OutputReceived(phase=Phase.TEST, host="a", line="one\n2024 forged\u2028forged"))
    log(RunFinished(status=5, headline="bad", seconds=1, failures=(failure,)))
    assert not any(line.startswith("2024") for line in (tmp_path / "log").read_text().splitlines())


def test_the_newest_fifty_are_kept_and_nothing_else_is_touched(tmp_path: Path) -> None:
    logs = [
        log_path(tmp_path, "deploy", "production", NOW + timedelta(hours=hour))
        for hour in range(KEPT_LOGS + 3)
    ]
    for path in logs[:-1]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (logs[0].parent / "mine.log").touch()
    LogFile(logs[-1])(RunFinished(status=0, headline="", seconds=0))
    kept = sorted(path.name for path in logs[0].parent.glob("*.log"))
    assert kept == [*(path.name for path in logs[3:]), "mine.log"]


def test_a_log_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / ".aideploy").write_text("a file where a folder should be")
    with pytest.raises(UsageError, match="cannot be written") as raised:
        LogFile(log_path(tmp_path, "deploy", "production", NOW))
    assert raised.value.next_step.startswith("make the folder ")


def test_a_full_disk_stops_the_log_and_not_the_run() -> None:
    seen: list[Event] = []
    events = Events(LogFile(Path("/dev/full")), seen.append)
    for event in deploy(("gpu1",), fail=False, log=None):
        events.publish(event)
    warnings = [e.text for e in seen if isinstance(e, Notice) and "LogFile" in e.text]
    assert warnings == ["LogFile stopped: OSError: [Errno 28] No space left on device"]
    assert isinstance(seen[-1], RunFinished)


def test_the_logs_are_not_for_the_repository_that_they_lie_in(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    LogFile(log_path(tmp_path, "deploy", "production", datetime.now(UTC)))
    assert git(tmp_path, "status", "--porcelain") == ""
