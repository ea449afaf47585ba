from __future__ import annotations

import time

import pytest

from aideploy.report.safe_text import LINE_LIMIT, harmless, harmless_lines, kept, visible


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("plain text, ünïcödé and 日本語", "plain text, ünïcödé and 日本語"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdevice control\x1b\\text", "text"),
        ("\x1bc reset, \x1b7 save, \x1b(B charset", " reset,  save,  charset"),
        ("\x1b]0;never ended", "\\x1b]0;never ended"),
        ("ends in \x1b", "ends in \\x1b"),
        ("ring \x07 the bell", "ring \\x07 the bell"),
        ("10%\r 50%\r100%", "100%"),
        ("from Windows\r", "from Windows"),
        ("a\tb", "a       b"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("a\u2028b\x85c", "a\\u2028b\\x85c"),
        ("hidden \U000e0041 tag", "hidden \\U000e0041 tag"),
        ("half \ud83d", "half \\ud83d"),
        ("👩\u200d💻 joined", "👩\u200d💻 joined"),
        ("\x1b\x1b[31m[2J", "\\x1b[2J"),
    ],
)
def test_text_from_a_host_is_shown_without_its_power(written: str, shown: str) -> None:
    assert harmless(written) == shown


def test_the_log_loses_no_character() -> None:
    assert visible("\x1b[31mred\x1b[0m\tand\rmore\x00") == "\\x1b[31mred\\x1b[0m\tand\\x0dmore\\x00"


@pytest.mark.parametrize("long", ["a" * 65536, "\x1b[1m" * 5000 + "end", "\x07" * 1000])
def test_a_line_without_end_is_cut_and_says_so(long: str) -> None:
    assert len(harmless(long)) <= LINE_LIMIT
    assert harmless(long).endswith("…")
    assert len(kept(long)) <= LINE_LIMIT


@pytest.mark.parametrize("start", ["\x1b", "\x1b[", "\x1b]", "\x1bP", "\x1b[0", "\x1b ", "\x9d"])
def test_no_input_makes_it_slow(start: str) -> None:
    began = time.process_time()
    for _ in range(100):
        harmless(start * 65536)
        harmless(start + "0" * 65536)
    assert time.process_time() - began < 1.0


def test_an_empty_text_has_no_lines() -> None:
    assert harmless_lines(" \n") == []
    assert harmless_lines("one\n\x07two\n\n") == ["one", "\\x07two"]
