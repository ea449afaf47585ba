"""Promises of the line numbers in messages about hosts.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aideploy.settings.positions import positions

EVERYTHING = '''\
top = 1
# [comment]
[app]
name = "a" # name = 2
"quoted key" = 'x'
dotted . "with dot." . key = 3
text = """
[not.a.header]
key = "value" \\""" still
"quoted" end""""
raw = \'\'\'
[neither]
it's # this
\'\'\'
empty = ""
brackets = "[x] = {y}"
when = 1979-05-27 07:32:00
list = [
  "one", # comment ]
  { inner = "two", other = [1, 2] },
  [
    3,
  ],
]
table = { a = 1, "b c" = { d = 2 }, e.f = 3 }

[ environments . production . hosts . "gpu 1" ]
address = "x"

[[gate]]
metric = "auc"
[[gate.slice]]
name = "mobile"
[[gate]]
metric = "loss"
[gate.limits]
min = 1
'''


def line_of(text: str, line_start: str, nth: int = 1) -> int:
    """The line that starts so, found by reading the text and not by our own code."""
    lines = [
        n for n, line in enumerate(text.splitlines(), 1) if line.strip().startswith(line_start)
    ]
    return lines[nth - 1]


@pytest.mark.parametrize(
    ("path", "start", "nth"),
    [
        (("top",), "top", 1),
        (("app",), "[app]", 1),
        (("app", "name"), "name", 1),
        (("app", "quoted key"), '"quoted key"', 1),
        (("app", "dotted", "with dot.", "key"), "dotted", 1),
        (("app", "text"), "text", 1),
        (("app", "raw"), "raw", 1),
        (("app", "empty"), "empty", 1),
        (("app", "brackets"), "brackets", 1),
        (("app", "when"), "when", 1),
        (("app", "list"), "list", 1),
        (("app", "list", 0), '"one"', 1),
        (("app", "list", 1, "inner"), "{ inner", 1),
        (("app", "list", 2, 0), "3,", 1),
        (("app", "table", "b c", "d"), "table", 1),
        (("app", "table", "e", "f"), "table", 1),
        (("environments", "production"), "[ environments", 1),
        (("environments", "production", "hosts", "gpu 1", "address"), "address", 1),
        (("gate", 0, "metric"), "metric", 1),
        (("gate", 0, "slice", 0, "name"), "name", 2),
        (("gate", 1), "[[gate]]", 2),
        (("gate", 1, "metric"), "metric", 2),
        (("gate", 1, "limits", "min"), "min", 1),
    ],
)
def test_every_key_is_found_on_its_line(path: tuple[str | int, ...], start: str, nth: int) -> None:
    assert positions(EVERYTHING)[path] == line_of(EVERYTHING, start, nth)


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, (*path, key))
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths(inner, (*path, index))


@pytest.mark.parametrize(
    "text",
    [
        EVERYTHING,
        EVERYTHING.replace("\n", "\r\n"),
        (Path(__file__).parents[3] / "hosts.example.toml").read_text(),
        (Path(__file__).parents[3] / "pyproject.toml").read_text(),
        'a = """"quote first"""\nb = 1\n',
        "a = ''''quote first'''\nb = 1\n",
        'a = """two at the end"""""\nb = 1\n',
        'a = """"""\nb = \'\'\'\'\'\'\n"" = 1\n',
        'a = "\\\\"\nb = "\\""\nc = \'\\\'\nd = 1',
        "3.14 = 1\n1979-05-27 = 2\nx = -0.5e+3\n",
    ],
)
def test_the_keys_found_are_those_that_tomllib_reads(text: str) -> None:
    assert set(positions(text)) == set(paths(tomllib.loads(text)))


def test_a_tables_own_header_counts_more_than_one_that_implies_it() -> None:
    assert positions("[a.b]\nx = 1\n[a]\ny = 2\n")[("a",)] == 3
