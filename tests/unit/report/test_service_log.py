"""Which lines of a service are shown, and in which order those of several hosts come."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from aideploy.commands.logs import EVERYTHING, sifted
from aideploy.errors import UsageError
from aideploy.events import OutputReceived, Phase
from aideploy.report.merged_log import MergedLog
from aideploy.report.service_log import Level, Wanted, level_named, moment, wanted

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LINES = (
    "2026-01-01T11:00:00+0000 h1 ranker[7]: [2026-01-01 11:00:00 +0000] [7] [INFO] Booting",
    "2026-01-01T12:00:00+0000 h1 ranker[7]: WARNING slow request",
    "2026-01-01T13:00:01+0100 h1 ranker[7]: ERROR in predict",
    "2026-01-01T13:00:01+0100 h1 ranker[7]: Traceback (most recent call last):",
    '2026-01-01T13:00:01+0100 h1 ranker[7]:   File "service.py", line 3, in predict',
    "2026-01-01T13:00:01+0100 h1 ranker[7]: ValueError: no such user",
    "2026-01-01T12:00:02+0000 h1 ranker[7]: 127.0.0.1 - GET /predict 200",
)


def shown(want: Wanted, lines: tuple[str, ...] = LINES) -> list[str]:
    return [one.line.partition("]: ")[2] for one in sifted("h1", lines, want)]


@pytest.mark.parametrize(
    ("grep", "since", "level", "numbers"),
    [
        (None, None, None, [0, 1, 2, 3, 4, 5, 6]),
        ("predict", None, None, [2, 4, 6]),
        (r"GET /\w+ 2\d\d$", None, None, [6]),
        (None, "2026-01-01 12:00", None, [1, 2, 3, 4, 5, 6]),
        (None, "2h", None, [1, 2, 3, 4, 5, 6]),
        (None, "2026-01-02", None, []),
        (None, None, "info", [0, 1, 2, 3, 4, 5]),
        # A traceback belongs to its error, to the last line.
        (None, None, "error", [2, 3, 4, 5]),
        (None, None, "CRITICAL", []),
        ("user", "2026-01-01T12:00:01Z", "error", [5]),
    ],
)
def test_the_filters(
    grep: str | None, since: str | None, level: str | None, numbers: list[int]
) -> None:
    want = wanted(grep, since, level, now=NOON.replace(hour=14))
    assert shown(want) == [LINES[number].partition("]: ")[2] for number in numbers]


@pytest.mark.parametrize(
    ("message", "level"),
    [
        ('{"time": "…", "level": "error", "msg": "INFO"}', Level.ERROR),
        ("level=warn msg=slow", Level.WARNING),
        ("[2026-01-01 12:00:00 +0000] [9] [CRITICAL] WORKER TIMEOUT", Level.CRITICAL),
        ("INFO:     Started server process [7]", Level.INFO),
        ("2026-01-01 12:00:00,123 ERROR model: gone", Level.ERROR),
        ("GET /info?error=1 HTTP/1.1 200", None),
        ("no errors were found", None),
        ("/srv/ERROR/x", None),
    ],
)
def test_the_levels_as_services_write_them(message: str, level: Level | None) -> None:
    assert level_named(message) is level


@pytest.mark.parametrize(
    ("line", "at"),
    [
        ("2026-01-01T13:00:00+0100 h1 x[1]: y", NOON),
        ("[2026-01-01 12:00:00 +0000] [9] [INFO] Booting", NOON),
        ('{"time": "2026-01-01T12:00:00.000Z", "msg": "x"}', NOON),
        ("2026-01-01T12:00:00Z", NOON),
        # Of which zone nobody knows; no time at all; not when it was written.
        ("2026-01-01 12:00:00,123 INFO x", None),
        ("2026-13-01T12:00:00Z x", None),
        ("valid until 2026-01-01T12:00:00Z", None),
        ("", None),
    ],
)
def test_the_times_as_services_write_them(line: str, at: datetime | None) -> None:
    assert moment(line) == at


def test_what_cannot_be_asked_for_is_refused_in_words() -> None:
    for arguments, says in (
        (("(", None, None), "--grep takes a regular expression"),
        ((None, "yesterday", None), "--since takes a time, not 'yesterday'"),
        ((None, None, "bad"), "--level takes one of debug, info"),
    ):
        with pytest.raises(UsageError, match=says.replace("(", r"\(")):
            wanted(*arguments)
    with pytest.raises(UsageError, match="no times"):
        sifted("h1", ("a", "b"), wanted(None, "1h", None))
    assert wanted(None, "999999d", None).since == datetime.min.replace(tzinfo=UTC)


def test_what_is_grepped_for_is_what_is_seen() -> None:
    assert shown(wanted("^red alert$", None, None), ("\x1b[31mred\x1b[0m alert",)) == [""]


class Screen:
    """A log of two hosts that is followed, and when its lines came out."""

    def __init__(self, want: Wanted = EVERYTHING, past: int = 10) -> None:
        self.lines: list[str] = []
        self.log = MergedLog(self.lines.append, ("h1", "host2"), want, past)

    def says(self, host: str, line: str) -> None:
        self.log(OutputReceived(phase=Phase.RUN, host=host, line=line))

    def waits_for(self, count: int) -> float:
        began = time.monotonic()
        while len(self.lines) < count and time.monotonic() < began + 20:
            time.sleep(0.02)
        return time.monotonic() - began


def test_followed_lines_of_hosts_that_answer_apart_come_in_the_order_of_time() -> None:
    screen = Screen(past=2)
    with screen.log:
        for second in (1, 3, 5):
            screen.says("h1", f"2026-01-01T12:00:0{second}+0000 a")
        time.sleep(0.3)
        for second in (2, 4):
            screen.says("host2", f"2026-01-01T12:00:0{second}+0000 b")
        screen.waits_for(4)
        # From here on a line waits only a moment.
        screen.says("host2", "2026-01-01T12:00:09+0000 b")
        screen.says("h1", "2026-01-01T12:00:07+0000 a")
        assert screen.waits_for(6) < 3
    assert [line.partition("12:00:0")[2][0] for line in screen.lines] == list("234579")
    assert screen.lines[0] == "host2 | 2026-01-01T12:00:02+0000 b"
    assert screen.lines[1] == "h1    | 2026-01-01T12:00:03+0000 a"


def test_a_clock_that_is_ahead_holds_no_line_back_and_the_end_shows_all() -> None:
    screen = Screen(wanted("a", None, None))
    with screen.log:
        screen.says("h1", "2099-01-01T12:00:00+0000 a")
        screen.says("h1", "2099-01-01T12:00:00+0000 b")
        screen.log(OutputReceived(phase=Phase.OPEN, host="h1", line="another phase a"))
        screen.waits_for(1)
        screen.says("host2", "\x1b[2Jlast a")
    assert [line.partition(" | ")[2] for line in screen.lines] == [
        "2099-01-01T12:00:00+0000 a",
        "last a",
    ]
