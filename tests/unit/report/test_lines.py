from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aideploy.events import (
    Event,
    Failure,
    OutputReceived,
    Phase,
    PhaseStarted,
    Reader,
    RunFinished,
    RunStarted,
)
from aideploy.report.choose import readers
from aideploy.report.ci import FoldedLog
from aideploy.report.log_file import LogFile
from aideploy.report.output import Output
from aideploy.report.plain import Plain
from aideploy.report.screen import Screen
from aideploy.report.tables import print_table
from tests.unit.report.pretend_run import NEW, OLD, deploy, names
from tests.unit.report.terminal import PRETEND

GITHUB = {"GITHUB_ACTIONS": "true", "TERM": "xterm"}
GITLAB = {"GITLAB_CI": "true", "TERM": "xterm"}


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def read_by(reader: Reader, events: list[Event]) -> None:
    for event in events:
        reader(event)


def shown(environ: dict[str, str], *events: Event, fail: bool = False) -> list[str]:
    out = io.StringIO()
    (reader,) = readers(out, io.StringIO(), environ, json=False, log=None)
    read_by(reader, list(events or deploy(names(2), fail=fail, log=None)))
    return out.getvalue().split("\n")


def test_plain_lines_tell_each_host_and_each_phase() -> None:
    lines = [re.sub(r"^\[ *\d+\.\ds\] ", "", line) for line in shown({})]
    assert lines[:7] == [
        "deploy ranker in production (2 hosts) by ada",
        "open        2 hosts",
        "open        gpu1  … connecting",
        "open        gpu2  … connecting",
        "open        gpu1  done 1.2s  Debian 12",
        "open        gpu2  done 1.2s  Debian 12",
        "open        2 hosts  done 1.3s  Debian 12",
    ]
    assert "warning: no gate is configured" in lines
    assert lines[-2] == f"  Now   gpu1, gpu2  serves, {NEW}, healthy"


def test_plain_lines_stream_what_tests_write_and_nothing_else() -> None:
    lines = shown({})
    assert [line for line in lines if "line 7" in line] == [
        "gpu1 | test line 7 red [bold]not bold[/bold] \\u202egnp.exe ::error::no ##[error]no"
    ]


def test_no_reader_without_a_terminal_uses_colours_or_moves_the_cursor() -> None:
    for environ in ({}, GITHUB):
        assert "\x1b" not in "\n".join(shown(environ, fail=True))


def test_github_folds_each_phase_and_shows_its_result_below_the_fold() -> None:
    lines = shown(GITHUB)
    begin = lines.index("::group::fetch")
    end = lines.index("::endgroup::", begin)
    assert "fetch       gpu1  done 1.2s  3f2a9bc" in lines[begin + 4]
    assert lines[end + 1].endswith("fetch       2 hosts  done 1.3s  3f2a9bc")
    assert lines.count("::endgroup::") == sum(line.startswith("::group::") for line in lines)


def test_github_marks_each_reason_as_an_error_and_still_ends_with_the_last_word() -> None:
    lines = shown(GITHUB, fail=True)
    errors = [line for line in lines if line.startswith("::error")]
    assert errors == [
        "::error title=stage on gpu1%2C gpu2::the service did not answer /healthz within 60s"
        "%0Aranker@green on gpu1 exited with 1"
    ]
    assert lines[-2] == "  Next  fab logs --env production --only gpu2"


ATTACKS = (
    "::set-env name=PATH::/evil",
    "  ::add-mask::a",
    "\x1b[0m::stop-commands::x",
    "\u3000::warning::x",
    "text ##[add-mask]a",
    "##\x1b[0m[error]x",
    "##[##[error]x",
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_output_of_a_host_is_a_command_to_github(attack: str) -> None:
    failure = Failure(
        what=attack, host="gpu1", phase="test", why=f"first\n{attack}", tail=(attack,)
    )
    lines = shown(
        GITHUB,
        RunStarted(command="deploy", app=attack, environment="e", hosts=("gpu1",), who=attack),
        PhaseStarted(phase=Phase.TEST, hosts=("gpu1",), note=attack),
        OutputReceived(phase=Phase.TEST, host="gpu1", line=attack),
        RunFinished(
            status=5, headline=attack, seconds=1, failures=(failure,), next_step=f"a\n{attack}"
        ),
    )
    ours = ("::group::test", "::endgroup::")
    commands = [line for line in lines if line.strip().startswith("::") and line not in ours]
    assert len(commands) == 1
    assert commands[0].startswith("::error title=test on gpu1::")
    assert not any("##[" in line for line in lines if line not in commands)


def test_gitlab_folds_each_phase_under_a_name_of_its_own() -> None:
    text = "\n".join(shown(GITLAB, fail=True))
    begun = re.findall(r"\x1b\[0Ksection_start:\d+:(\w+)\[collapsed=true\]\r\x1b\[0K(\w+)\n", text)
    ended = re.findall(r"\x1b\[0Ksection_end:\d+:(\w+)\r\x1b\[0K\n", text)
    assert [phase for _, phase in begun] == ["open", "fetch", "install", "test", "stage"]
    assert [name for name, _ in begun] == ended
    assert len(set(ended)) == 5


def test_no_output_of_a_host_is_a_section_of_gitlab() -> None:
    attack = "\x1b[0Ksection_end:1:aideploy_1\r\x1b[0Kgone"
    lines = shown(
        GITLAB,
        PhaseStarted(phase=Phase.TEST, hosts=("gpu1",)),
        OutputReceived(phase=Phase.TEST, host="gpu1", line=attack),
    )
    assert lines[-2] == "gpu1 | gone"


def test_json_is_one_document_on_stdout_with_everything_a_program_asks_for() -> None:
    out, err = io.StringIO(), io.StringIO()
    for reader in readers(out, err, {}, json=True, log=None):
        read_by(reader, list(deploy(names(2), fail=True, log=Path("a.log"))))
    document = json.loads(out.getvalue())
    assert document["status"] == 3
    assert document["headline"] == "Nothing was switched: the new release did not become ready"
    assert (document["command"], document["app"], document["environment"]) == (
        "deploy",
        "ranker",
        "production",
    )
    assert document["log"] == "a.log"
    assert document["hosts"][1] == {
        "host": "gpu2",
        "state": "serves",
        "release": OLD,
        "healthy": True,
    }
    assert [failure["host"] for failure in document["failures"]] == ["gpu1", "gpu2"]
    assert len(document["failures"][0]["tail"]) == 20
    assert [phase["phase"] for phase in document["phases"]] == [
        "open",
        "fetch",
        "install",
        "test",
        "stage",
    ]
    assert document["phases"][4]["outcome"] == "failed"
    assert document["phases"][1]["hosts"][0] == {
        "host": "gpu1",
        "outcome": "done",
        "seconds": 1.2,
        "message": "3f2a9bc",
    }
    assert "fetch       gpu1  done" in err.getvalue()
    assert "##[" not in out.getvalue()
    assert "##[error]no" in document["failures"][0]["tail"][0]


@pytest.mark.parametrize(
    ("stdout", "environ", "kind"),
    [
        (Tty(), {"TERM": "xterm"}, Screen),
        (Tty(), {"TERM": "dumb"}, Plain),
        (Tty(), {}, Plain),
        (io.StringIO(), {"TERM": "xterm"}, Plain),
        (Tty(), GITHUB, FoldedLog),
        (io.StringIO(), GITLAB, FoldedLog),
    ],
)
def test_the_reader_fits_where_the_output_goes(
    stdout: io.StringIO, environ: dict[str, str], kind: type
) -> None:
    (reader,) = readers(stdout, io.StringIO(), environ, json=False, log=None)
    assert type(reader) is kind


def test_the_log_is_written_before_anything_is_shown(tmp_path: Path) -> None:
    log, *_ = readers(io.StringIO(), io.StringIO(), {}, json=False, log=tmp_path / "log")
    assert isinstance(log, LogFile)
    log(RunFinished(status=0, headline="", seconds=0))


@pytest.mark.parametrize("arguments", [(), ("--fail",), ("--json",)])
def test_a_reader_who_leaves_early_does_not_end_the_run(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    run = subprocess.Popen(
        [sys.executable, PRETEND, "--hosts", "50", "--pace", "0.001", *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    os.close(reading)  # as `| head` does, only earlier
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 0
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


def test_a_terminal_that_knows_only_ascii_gets_escapes_instead_of_an_error() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Output(stream).line("✓ done")
    assert raw.getvalue() == b"\\u2713 done\n"


def test_a_pipe_that_another_program_made_non_blocking_still_gets_the_last_word() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    full = threading.Event()
    received: list[bytes] = []

    def read() -> None:
        full.wait(5)
        with os.fdopen(reading, "rb") as pipe:
            received.append(pipe.read())

    listener = threading.Thread(target=read)
    listener.start()
    with os.fdopen(writing, "w") as stream:
        out = Output(stream)
        out.write("x" * 1_000_000)  # more than the pipe holds, and nobody reads yet
        assert os.get_blocking(writing)
        full.set()
        out.line("the last word")
    listener.join()
    assert received[0].endswith(b"the last word\n")


ROWS = [("gpu1", "20240502T091210Z-3f2a9bc", "live"), ("gpu200", "\x1b[31m日本\x1b[0m", "[b]")]


def test_tables_for_programs_are_aligned_and_whole() -> None:
    out = io.StringIO()
    print_table(("host", "release", "state"), ROWS, out, {})
    assert out.getvalue().splitlines() == [
        "host    release                   state",
        "gpu1    20240502T091210Z-3f2a9bc  live",
        "gpu200  日本                      [b]",
    ]


def test_tables_fit_a_narrow_terminal_without_losing_a_character(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    out = Tty()
    print_table(("host", "release", "state"), ROWS, out, {"NO_COLOR": "1"})
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert all(len(line) <= 30 for line in text.splitlines())
    assert "20240502T091210Z-3f2a9bc" in "".join(
        line[8:].split("  ")[0].strip() for line in text.splitlines()[1:3]
    )
    assert "[b]" in text


def test_a_table_without_rows_shows_its_columns() -> None:
    out = io.StringIO()
    print_table(("host", "state"), [], out, {})
    assert out.getvalue() == "host  state\n"
