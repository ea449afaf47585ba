from __future__ import annotations

import io
import re
import threading
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from aideploy.events import (
    Events,
    HostFinished,
    Outcome,
    OutputReceived,
    Phase,
    PhaseFinished,
    PhaseStarted,
    RunFinished,
    StepStarted,
)
from aideploy.report.output import Output
from aideploy.report.progress import PhaseProgress, Progress
from aideploy.report.screen import Screen, live_view
from tests.unit.report.pretend_run import NEW, OLD, deploy, names
from tests.unit.report.terminal import Terminal

NOW = datetime(2024, 5, 2, 9, 12, tzinfo=UTC)
COLOUR = re.compile(rb"\x1b\[[0-9;]*3[0-7][;m]")


def installing(
    hosts: int, failed: tuple[str, ...] = (), done: tuple[str, ...] = ()
) -> list[PhaseProgress]:
    progress = Progress()
    since = NOW - timedelta(seconds=12)
    progress.take(PhaseStarted(phase=Phase.INSTALL, hosts=names(hosts), at=since))
    for outcome, these in ((Outcome.FAILED, failed), (Outcome.DONE, done)):
        for host in these:
            progress.take(
                HostFinished(phase=Phase.INSTALL, host=host, outcome=outcome, seconds=3.0)
            )
    return list(progress.running.values())


def test_a_good_run_leaves_one_line_for_each_phase_and_none_of_the_output() -> None:
    terminal = Terminal(80, 40)
    assert terminal.run("--hosts", "3", "--pace", "0.03") == 0
    assert terminal.lines == [
        "deploy ranker in production  gpu1, gpu2, gpu3",
        "✓ open        3 hosts       1.3s  Debian 12",
        "✓ fetch       3 hosts       1.3s  3f2a9bc",
        "✓ install     3 hosts       1.3s  reused",
        "✓ test        gpu1          1.3s  exit status 0",
        "    METRIC  SLICE      NOW   BASELINE  LIMIT                  VERDICT",
        "    auc                0.77  0.76      at least 0.7           pass",
        "    auc                0.77  0.76      worse by at most 0.01  pass",
        "    auc     new_users  0.61  0.71      worse by at most 0.01  fail",
        "      0.61 after 0.71 is worse by 0.1, above 0.01",
        "    f1                                 at least 0.5           missing",
        "      there is no such metric; there are auc, red [bold]not bol…",
        "! no gate is configured",
        "✓ stage       3 hosts       1.3s  ready",
        "✓ switch      3 hosts       1.3s  live",
        "✓ 3f2a9bc is live",
        "  after 12.3s",
        f"  Now   all 3 hosts  serves, {NEW}, healthy",
    ]
    assert not terminal.cursor_hidden


def test_while_a_phase_runs_each_host_shows_its_step_and_its_last_line() -> None:
    terminal = Terminal(120, 40)
    terminal.run("--hosts", "2", "--pace", "0.2")
    shown = "\n".join("\n".join(moment) for moment in terminal.moments)
    assert re.search(
        r"^. install {5}0 of 2 hosts  0\.\ds\n"
        r"  . gpu1 {5}0\.\ds  building the environment  install line 24 red \[bold\]not bold",
        shown,
        re.MULTILINE,
    )
    assert re.search(r"^  ✓ gpu1 {5}1\.2s  reused\n  . gpu2 ", shown, re.MULTILINE)


def test_a_failed_run_ends_with_where_why_the_last_lines_the_state_and_the_next_command() -> None:
    terminal = Terminal(80, 60)
    terminal.run("--hosts", "3", "--fail")
    lines = terminal.lines
    end = lines[lines.index("✗ Nothing was switched: the new release did not become ready") :]
    assert end[1:5] == [
        "  after 12.3s, exit status 3",
        "  ✗ stage on gpu2, gpu3: the service did not answer /healthz within 60s",
        "    ranker@green on gpu2 exited with 1",
        "    the last lines of gpu2:",
    ]
    tail = end[5:25]
    assert [int(line.split()[3]) for line in tail] == list(range(5, 25))
    assert all(line.endswith("…") for line in tail)
    assert end[25:] == [
        f"  Now   all 3 hosts  serves, {OLD}, healthy",
        "  Next  fab logs --env production --only gpu3",
    ]


def test_what_a_host_wrote_cannot_move_the_cursor_or_change_the_terminal() -> None:
    terminal = Terminal(120, 60)
    terminal.run("--hosts", "2", "--fail")
    assert b"\x1b[2J" not in terminal.raw
    assert b"\x1b]0;" not in terminal.raw
    assert "\u202e".encode() not in terminal.raw
    assert "│ stage line 24 red [bold]not bold[/bold] \\u202egnp.exe" in "\n".join(terminal.lines)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 24), (40, 10)])
def test_two_hundred_hosts_stay_on_one_screen(columns: int, rows: int) -> None:
    terminal = Terminal(columns, rows)
    assert terminal.run("--hosts", "200", "--pace", "0.001") == 0
    working = [moment for moment in terminal.moments if "more:" in moment[-1]]
    assert working
    for moment in working:
        assert sum(" hosts  " in line and " of " in line for line in moment) == 1
        assert f"and {200 - (rows - 4)} more:" in moment[-1]


def test_hosts_that_failed_are_shown_before_those_that_run_and_those_that_are_done() -> None:
    phases = installing(200, failed=("gpu150",), done=names(100))
    view = [line.plain for line in live_view(phases, 80, 8, NOW)]
    assert view[0].endswith("install     101 of 200 hosts  12.0s  ")
    assert view[1].split()[:2] == ["✗", "gpu150"]
    assert [line.split()[1] for line in view[2:-1]] == ["gpu101", "gpu102", "gpu103"]
    assert view[-1] == "  … and 196 more: 96 running, 100 done"


def test_a_small_fleet_keeps_its_order_so_that_rows_do_not_jump() -> None:
    view = live_view(installing(4, failed=("gpu3",), done=("gpu1",)), 80, 24, NOW)
    assert [line.plain.split()[1] for line in view[1:]] == ["gpu1", "gpu2", "gpu3", "gpu4"]


def test_on_forty_columns_rows_are_cut_and_the_next_command_is_not() -> None:
    terminal = Terminal(40, 80)
    terminal.run("--hosts", "2", "--fail", "--pace", "0.2")
    for moment in terminal.moments:
        for row, line in enumerate(moment[:-1]):
            if "building the" in line:
                assert line.endswith("…")
                assert moment[row + 1].startswith(("  ", "✓"))
    assert b"fab logs --env production --only gpu2" in terminal.raw


def test_a_run_that_ends_without_a_last_word_gives_the_cursor_back() -> None:
    terminal = Terminal(80, 24)
    assert terminal.run("--die", "--pace", "0.05") == 1
    assert b"\x1b[?25l" in terminal.raw
    assert not terminal.cursor_hidden
    assert "✓ test        gpu1          1.3s  exit status 0" in terminal.lines


def test_a_hundred_idle_hosts_cost_next_to_nothing() -> None:
    terminal = Terminal(100, 50)
    terminal.run("--hosts", "100", "--idle", "3")
    used = re.search(rb"CPU seconds while idle: ([0-9.]+)", terminal.raw)
    assert used
    assert float(used[1]) < 0.09  # 0.3 s in 10 s


def test_what_the_users_own_tasks_print_stands_on_lines_of_its_own() -> None:
    terminal = Terminal(80, 40)
    terminal.run("--hosts", "3", "--idle", "0.3", "--pace", "0.05")
    assert any(line.startswith("CPU seconds while idle: ") for line in terminal.lines)


def test_no_color_means_no_colour() -> None:
    coloured, plain = Terminal(80, 24), Terminal(80, 24)
    coloured.run()
    plain.run(NO_COLOR="1")
    assert COLOUR.search(coloured.raw)
    assert not COLOUR.search(plain.raw)


class StoppedTerminal(io.StringIO):
    """Somebody pressed Ctrl-S: no write returns until the terminal goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.goes_on = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.goes_on.wait()
        return super().write(text)


def test_a_stopped_terminal_does_not_hold_up_the_run() -> None:
    stopped = StoppedTerminal()
    events = Events(Screen(Output(stopped), no_color=True))
    *before, last = deploy(names(3), fail=False, log=None)
    events.publish(before[0])
    assert stopped.reached.wait(5)
    for event in before[1:]:
        events.publish(event)  # would never return if it waited for the terminal
    assert stopped.getvalue() == ""
    stopped.goes_on.set()
    events.publish(last)
    assert "3f2a9bc is live" in stopped.getvalue()


def test_fifty_megabytes_on_one_line_are_not_kept_in_memory() -> None:
    progress = Progress()
    progress.take(PhaseStarted(phase=Phase.TRAIN, hosts=names(10)))
    tracemalloc.start()
    for piece in range(50):
        for host in names(10):
            line = f"{piece}" + "x" * 100_000
            progress.take(OutputReceived(phase=Phase.TRAIN, host=host, line=line))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1_000_000


def test_a_long_host_name_does_not_push_its_progress_off_the_screen() -> None:
    host = "gpu-node-17.cluster-b.region-1.acme.example"
    progress = Progress()
    progress.take(PhaseStarted(phase=Phase.FETCH, hosts=(host,), at=NOW))
    progress.take(StepStarted(phase=Phase.FETCH, host=host, text="unpacking main"))
    row = live_view(list(progress.running.values()), 80, 24, NOW)[1].plain
    assert row.endswith(" gpu-node-17.cluster…     0.0s  unpacking main")


def test_a_line_that_comes_after_its_phase_does_not_bring_the_phase_back() -> None:
    progress = Progress()
    progress.take(PhaseStarted(phase=Phase.TEST, hosts=("gpu1",)))
    progress.take(PhaseFinished(phase=Phase.TEST, outcome=Outcome.DONE, seconds=1.0))
    progress.take(OutputReceived(phase=Phase.TEST, host="gpu1", line="late"))
    progress.take(StepStarted(phase=Phase.TEST, host="gpu1", text="later"))
    assert not progress.running


def test_an_error_before_the_first_phase_is_a_last_word_alone() -> None:
    out = io.StringIO()
    Screen(Output(out), no_color=True)(
        RunFinished(status=2, headline="hosts.toml is missing", seconds=0.1, next_step="fab init")
    )
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())
    assert text == ("\n✗ hosts.toml is missing\n  after 0.1s, exit status 2\n\n  Next  fab init\n")
