"""The screen: what a person at a terminal sees while a run goes on.

Above stays one line for each finished phase; below, the hosts of the running phases are redrawn in
place. Events only change what is remembered, a thread of its own draws at most `_MAX_RATE` times a
second and once a second when nothing happens: a host never waits for a slow or a stopped terminal.
"""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import IO, cast

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from aideploy.events import (
    Analysed,
    Evaluated,
    Event,
    Notice,
    Outcome,
    Phase,
    RunFinished,
    RunStarted,
)
from aideploy.report.analysis import findings_lines
from aideploy.report.last_word import Tone, last_word
from aideploy.report.output import Output
from aideploy.report.progress import HostProgress, PhaseProgress, PhaseResult, Progress
from aideploy.report.safe_text import first_line, harmless
from aideploy.report.verdict import verdict_lines
from aideploy.report.wording import duration, host_count, host_names, joined, one_or_count

_MAX_RATE = 8.0  # a second
_IDLE_SECONDS = 1.0
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_LONG_PHASES = (Phase.INSTALL, Phase.TEST, Phase.TRAIN)
_NAME_COLUMN = 20
_NAMED_HOSTS = 3

_TONES = {
    Tone.PLAIN: "",
    Tone.GOOD: "bold green",
    Tone.WARNING: "bold yellow",
    Tone.BAD: "bold red",
    Tone.STRONG: "bold",
    Tone.FAINT: "dim",
}
_MARKS = {
    Outcome.DONE: ("✓", "green"),
    Outcome.SKIPPED: ("-", "dim"),
    Outcome.FAILED: ("✗", "red"),
    Outcome.CANCELLED: ("■", "yellow"),
}


def console_for(out: Output, *, no_color: bool) -> Console:
    """A rich console on a terminal that takes every text literally."""
    return Console(
        file=cast(IO[str], out),
        force_terminal=True,
        no_color=no_color,
        highlight=False,
        markup=False,
        emoji=False,
    )


class Screen:
    """Shows a run on a terminal, from its first event to its last word."""

    def __init__(self, out: Output, *, no_color: bool) -> None:
        self._console = console_for(out, no_color=no_color)
        self._lock = threading.Lock()
        self._progress = Progress()
        self._lines: list[Text] = []  # to be printed above the live part
        self._live: Live | None = None
        self._changed = threading.Event()
        self._over = threading.Event()
        self._painter: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        with self._lock:
            result = self._progress.take(event)
            if isinstance(event, Evaluated):
                self._lines.extend(
                    Text(line.text, _TONES[line.tone]) for line in verdict_lines(event.evaluation)
                )
            elif isinstance(event, Analysed):
                if event.final:
                    self._lines.extend(
                        Text(line.text, _TONES[line.tone])
                        for line in findings_lines(event.findings)
                    )
            elif line := _result_line(result) if result else _line(event):
                self._lines.append(line)
        if isinstance(event, RunFinished):
            self.close()
            self._print_last_word(event)
        elif self._painter is None:
            self._start()
        elif not self._changed.is_set():
            self._changed.set()

    def close(self) -> None:
        """Stop drawing and leave the terminal as it was, everything finished printed."""
        self._over.set()
        self._changed.set()
        if self._painter is not None:
            self._painter.join()
            atexit.unregister(self.close)
        self._paint()
        self._stop_live()

    def _start(self) -> None:
        self._painter = threading.Thread(target=self._keep_painting, name="screen", daemon=True)
        self._painter.start()
        atexit.register(self.close)  # gives the cursor back if the run never gets its last word

    def _keep_painting(self) -> None:
        while not self._over.is_set():
            self._changed.clear()
            self._paint()
            self._over.wait(1 / _MAX_RATE)
            self._changed.wait(_IDLE_SECONDS - 1 / _MAX_RATE)

    def _paint(self) -> None:
        """Draw what is remembered; the terminal is written to without holding the lock."""
        width, height = self._console.size
        with self._lock:
            lines, self._lines = self._lines, []
            view = live_view(
                tuple(self._progress.running.values()), width, height, datetime.now(UTC)
            )
        if not view:
            self._stop_live()
        with self._console:  # one write for both
            for line in lines:
                self._print(line)
            if view:
                self._show_live(Group(*view))

    def _show_live(self, view: Group) -> None:
        if self._live is None:
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                # A print() of the user's own tasks appears above; errors sent to a file stay there.
                redirect_stderr=sys.stderr.isatty(),
            )
            self._live.start()
        self._live.update(view, refresh=True)

    def _stop_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _print_last_word(self, finished: RunFinished) -> None:
        for line in last_word(self._progress.with_tails(finished)):
            begin = _one_row if line.tone is Tone.FAINT else Text
            self._print(begin(line.text, _TONES[line.tone]))

    def _print(self, line: Text) -> None:
        """Print a line cut to the width, or whole: the terminal wraps it and it can be copied."""
        if line.no_wrap:
            self._console.print(line, no_wrap=True, overflow="ellipsis")
        else:
            self._console.print(line, soft_wrap=True)


def live_view(
    phases: Sequence[PhaseProgress], width: int, height: int, now: datetime
) -> list[Text]:
    """The running phases, cut to fit a terminal of this many columns and rows.

    What does not fit is counted: failed hosts are shown first, then the running ones.
    """
    rows = max((height - 2) // max(len(phases), 1), 2)
    return [line for phase in phases for line in _phase_view(phase, width, rows, now)]


def _phase_view(phase: PhaseProgress, width: int, rows: int, now: datetime) -> Iterable[Text]:
    hosts = list(phase.hosts.values())
    room = rows - 1
    yield _header(phase, hosts, now)
    if len(hosts) > room:
        hosts.sort(key=_urgency)
        room -= 1
    shown, rest = hosts[:room], hosts[room:]
    column = min(max((len(host.host) for host in shown), default=0), _NAME_COLUMN, width // 3)
    for host in shown:
        yield _row(phase, host, column, now)
    if rest:
        yield _one_row(f"  … and {len(rest)} more: {_counts(rest)}", "dim")


def _header(phase: PhaseProgress, hosts: Sequence[HostProgress], now: datetime) -> Text:
    through = sum(host.finished is not None for host in hosts)
    took = duration(phase.seconds(now))
    line = _one_row(f"{_spinner(now)} {phase.phase:<10}  ", "bold cyan")
    line.append(f"{through} of {host_count(len(hosts))}  {took}")
    line.append(f"  {joined(phase.batch, first_line(phase.note))}", "dim")
    return line


def _row(phase: PhaseProgress, host: HostProgress, column: int, now: datetime) -> Text:
    finished = host.finished
    mark, style = _MARKS[finished.outcome] if finished else (_spinner(now), "cyan")
    seconds = finished.seconds if finished else phase.seconds(now)
    name = Text(harmless(host.host))
    name.truncate(column, overflow="ellipsis", pad=True)
    line = _one_row(f"  {mark} ", style).append_text(name)
    line.append(f"  {duration(seconds):>7}", "dim")
    if finished:
        line.append(f"  {first_line(finished.message)}")
    else:
        line.append(f"  {first_line(host.step)}")
        if phase.phase in _LONG_PHASES:
            line.append(f"  {harmless(host.line).strip()}", "dim")
    return line


def _urgency(host: HostProgress) -> int:
    if host.finished is None:
        return 1
    return 0 if host.finished.outcome is Outcome.FAILED else 2


def _counts(hosts: Sequence[HostProgress]) -> str:
    running = sum(host.finished is None for host in hosts)
    counts = {"running": running} | {
        str(outcome): sum(
            host.finished is not None and host.finished.outcome is outcome for host in hosts
        )
        for outcome in Outcome
    }
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)


def _spinner(now: datetime) -> str:
    return _SPINNER[int(now.timestamp() * _MAX_RATE) % len(_SPINNER)]


def _line(event: Event) -> Text | None:
    """The line that an event leaves on the screen, if it leaves one."""
    match event:
        case RunStarted():
            names = host_names(event.hosts, _NAMED_HOSTS)
            what = f"{event.command} {event.app} in {event.environment}"
            return Text(harmless(what), "bold").append(f"  {names}", "dim")
        case Notice():
            host = f"{harmless(event.host)}: " if event.host else ""
            mark, style = ("!", "yellow") if event.level == "warning" else ("·", "")
            return Text(f"{mark} {host}{first_line(event.text)}", style)
    return None


def _result_line(result: PhaseResult) -> Text:
    mark, style = _MARKS[result.outcome]
    line = _one_row(f"{mark} ", style)
    line.append(f"{result.phase:<10}  {one_or_count(result.hosts):<9}")
    line.append(f"  {duration(result.seconds):>7}", "dim")
    line.append(f"  {result.words}", style if result.outcome is Outcome.FAILED else "")
    if text := str(result.batch):
        line.append(f"  {text}", "dim")
    return line


def _one_row(text: str, style: str) -> Text:
    """The beginning of a line that never takes more than one row."""
    line = Text(no_wrap=True, overflow="ellipsis")
    return line.append(text, style)
