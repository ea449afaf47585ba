"""Where in a TOML file each key stands, for messages that name a line.

`loading` calls it with a text that `tomllib` has already accepted; tomllib gives no positions, and
no maintained library that does was found. Because the text is known to be valid, this only has to
tell keys, values and brackets apart; what a quoted or dotted key means is left to tomllib.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Path = tuple[str | int, ...]

_TOKEN = re.compile(
    r"""
      (?P<blank>    [ \t\r]+ | \#[^\n]* )
    | (?P<newline>  \n )
    | (?P<mark>     [\[\]{},=] )
    | (?P<text>     \"{3} (?:\\.|[^\\])*? \"{3,5}
                  | '{3} .*? '{3,5}
                  | \" (?:\\.|[^\"\\])* \"
                  | ' [^']* '
                  | [^\s\"'\#\[\]{},=]+ )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    line: int


def positions(text: str) -> Mapping[Path, int]:
    """Find the line, counted from 1, of every table and every key.

    Args:
        text: a valid TOML document.

    Returns:
        The line of each path. A path holds the names of tables and keys and, for what stands in a
        list, its index. A table that only others imply has the line of the first of them.
    """
    return _Reader(text).read()


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "blank":
            yield _Token(str(match.lastgroup), match[0], line)
        line += match[0].count("\n")
    yield _Token("end", "", line)


def _names(key: str) -> Path:
    """The parts of a key as it is written: `a."b.c"` is a, then b.c."""
    names: list[str] = []
    table: object = tomllib.loads(f"{key} = 0")
    while isinstance(table, dict):
        name, table = next(iter(table.items()))
        names.append(name)
    return tuple(names)


class _Reader:
    """Walks through the tokens of one document."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._token = next(self._tokens)
        self._lines: dict[Path, int] = {}
        self._lengths: dict[Path, int] = {}

    def read(self) -> Mapping[Path, int]:
        table: Path = ()
        while self._token.kind != "end":
            if self._token.kind == "newline":
                self._next()
            elif self._token.text == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _next(self) -> _Token:
        token = self._token
        self._token = next(self._tokens)
        return token

    def _header(self) -> Path:
        line = self._next().line
        in_list = self._token.text == "["
        if in_list:
            self._next()
        *parents, name = _names(self._key_until("]"))
        if in_list:
            self._next()
        path = self._newest(tuple(parents), name)
        if in_list:
            path = self._append(path, line)
        self._note(path, line)
        # The table's own header says more than an earlier one that only implied it.
        self._lines[path] = line
        return path

    def _newest(self, parents: Path, name: str | int) -> Path:
        """The path of a header, which means the last element of each list on its way."""
        path: Path = ()
        for parent in parents:
            path = (*path, parent)
            if path in self._lengths:
                path = (*path, self._lengths[path] - 1)
        return (*path, name)

    def _append(self, path: Path, line: int) -> Path:
        self._note(path, line)
        index = self._lengths.get(path, 0)
        self._lengths[path] = index + 1
        return (*path, index)

    def _pair(self, table: Path) -> None:
        line = self._token.line
        path = (*table, *_names(self._key_until("=")))
        self._note(path, line)
        self._value(path)

    def _key_until(self, mark: str) -> str:
        key = ""
        while self._token.text != mark:
            key += self._next().text
        self._next()
        return key

    def _value(self, path: Path) -> None:
        if self._token.text == "[":
            self._list(path)
        elif self._token.text == "{":
            self._inline_table(path)
        else:
            # A date and its time may stand apart.
            while self._token.kind == "text":
                self._next()

    def _list(self, path: Path) -> None:
        self._next()
        index = 0
        while self._token.text != "]":
            if self._token.kind == "newline" or self._token.text == ",":
                self._next()
            else:
                self._note((*path, index), self._token.line)
                self._value((*path, index))
                index += 1
        self._next()

    def _inline_table(self, path: Path) -> None:
        self._next()
        while self._token.text != "}":
            if self._token.kind == "newline" or self._token.text == ",":
                self._next()
            else:
                self._pair(path)
        self._next()

    def _note(self, path: Path, line: int) -> None:
        for length in range(1, len(path)):
            self._lines.setdefault(path[:length], line)
        self._lines.setdefault(path, line)
