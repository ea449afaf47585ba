"""Bytes from a host become marks and lines, however they are cut."""

from __future__ import annotations

import random

import pytest

from aideploy.remote.result import Result
from aideploy.remote.script import Script, Secret
from aideploy.remote.stream import Demultiplexer, Line, Mark, unescape

TOKEN = b"0123456789abcdef0123456789abcdef"
START = b"\x1eaideploy " + TOKEN + b"\n"


def mark(text: str) -> bytes:
    return b"\x1e" + TOKEN + b" " + text.encode() + b"\n"


def taken_apart(data: bytes, sizes: list[int] | None = None) -> list[Mark | Line]:
    stream = Demultiplexer()
    items: list[Mark | Line] = []
    while data:
        size = sizes.pop() if sizes else len(data)
        items += stream.feed(data[:size])
        data = data[size:]
    return [*items, *stream.flush()]


def test_what_a_login_shell_prints_is_passed_over() -> None:
    data = b"Welcome!\n\x1eaideploy no\n" + START + b"hello\n"
    assert taken_apart(data) == [Line("hello")]


@pytest.mark.parametrize("seed", range(20))
def test_it_does_not_matter_how_the_bytes_are_cut(seed: int) -> None:
    data = (
        START
        + "eins\nzwei ü\r\n50%\r100%\n".encode()
        + mark("step go")
        + b"no end"
        + mark("end 0 0")
    )
    expected = [
        Line("eins"), Line("zwei ü"), Line("50%"), Line("100%"), Mark("step", "go"),
        Line("no end"), Mark("end", "0 0"),
    ]  # fmt: skip
    chance = random.Random(seed)
    assert taken_apart(data, [chance.randint(1, 9) for _ in range(len(data))]) == expected


def test_a_mark_inside_a_line_does_not_cut_the_line() -> None:
    assert taken_apart(START + b"half " + mark("pong") + b"whole\n") == [
        Mark("pong", ""),
        Line("half whole"),
    ]


def test_an_endless_line_comes_in_pieces_and_loses_nothing() -> None:
    items = taken_apart(START + ("ü" * 20000).encode(), [1000] * 100)
    assert all(isinstance(item, Line) and len(item.text) <= 8192 for item in items)
    assert "".join(item.text for item in items if isinstance(item, Line)) == "ü" * 20000


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert taken_apart(START + b"\xff\xfe ok\n") == [Line("\ufffd\ufffd ok")]


def test_a_mark_with_another_token_is_output() -> None:
    assert taken_apart(START + b"\x1e" + b"f" * 32 + b" end 0 0\n") == [
        Line("\x1e" + "f" * 32 + " end 0 0")
    ]


@pytest.mark.parametrize("value", ["", "a\\nb", "a\nb", "\\", "\\\\n\n\\"])
def test_what_emit_escapes_is_unescaped(value: str) -> None:
    assert unescape(value.replace("\\", "\\\\").replace("\n", "\\n")) == value


def test_arguments_are_quoted_and_secrets_not_shown() -> None:
    script = Script("open", ("$(reboot)", Secret("pass'word"), "a b"))
    assert "set -- '$(reboot)' 'pass'\"'\"'word' 'a b'" in script.text()
    assert "pass" not in script.shown().partition("\n")[0]
    assert "pass" not in repr(script)


def test_a_mark_without_an_end_is_not_kept_for_ever() -> None:
    stream = Demultiplexer()
    endless = START + mark("emit key " + "x" * 5_000_000).removesuffix(b"\n")
    seen = 0
    for at in range(0, len(endless), 65536):
        for item in stream.feed(endless[at : at + 65536]):
            assert isinstance(item, Line)
            seen += len(item.text)
    assert seen > 4_900_000


@pytest.mark.parametrize("sent", ["a", "====", "YQ", "ü"])
def test_what_is_no_base64_is_nothing(sent: str) -> None:
    assert Result("script", (("record", sent),)).data("record") == b""
