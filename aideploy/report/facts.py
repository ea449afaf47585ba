"""Shows the facts that a command found: as tables and lines for people, or as one JSON document.

Called by the tasks that ask and change nothing (`status`, `releases`, …) with what their command
returned. It decides nothing; how facts are put in words is the commands' own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass
from datetime import datetime
from enum import Enum
from pathlib import PurePath
from typing import Any, ClassVar, Protocol

from aideploy.report.markdown import code, table_lines
from aideploy.report.output import Output
from aideploy.report.safe_text import harmless
from aideploy.report.tables import Row, print_table


@dataclass(frozen=True)
class Table:
    """The names of the columns, and as many cells in each row."""

    columns: Row
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Text:
    """Lines under a title; without lines neither is shown."""

    title: str
    lines: tuple[str, ...]


class Facts(Protocol):
    """What a command found: a frozen dataclass, which is the JSON document."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def shown(self) -> tuple[Table | Text, ...]:
        """Return the parts in the order in which they are printed."""
        ...


def show(facts: Facts, environ: Mapping[str, str]) -> None:
    """Print the facts for people on standard output."""
    out = Output(sys.stdout)
    printed = False
    for part in facts.shown():
        match part:
            case Table(rows=()) | Text(lines=()):
                continue
            case Table():
                if printed:
                    out.line()
                print_table(part.columns, part.rows, sys.stdout, environ)
            case Text():
                if printed and part.title:
                    out.line()
                if part.title:
                    out.line(harmless(part.title))
                for line in part.lines:
                    out.line(harmless(line))
        printed = True


def print_markdown(facts: Facts) -> None:
    """Print the facts as Markdown on standard output, for a report or a pull request."""
    out = Output(sys.stdout)
    for part in facts.shown():
        match part:
            case Table(rows=()) | Text(lines=()):
                continue
            case Table():
                lines = [*table_lines(part.columns, part.rows), ""]
            case Text():
                title = [f"**{harmless(part.title)}**", ""] if part.title else []
                lines = [*title, *(f"- {code(line)}" for line in part.lines), ""]
        for line in lines:
            out.line(line)


def print_json(facts: Facts) -> None:
    """Print the facts as one JSON document on standard output."""
    text = json.dumps(asdict(facts), indent=2, default=_plain)
    # GitHub Actions takes "##[" anywhere in a log for a command; this is the same JSON.
    Output(sys.stdout).line(text.replace("##[", "#\\u0023["))


def _plain(value: object) -> Any:
    match value:
        case datetime():
            return value.isoformat(timespec="seconds")
        case Enum():
            return value.value
        case PurePath():
            return str(value)
    raise TypeError(f"{type(value).__name__} has no place in a JSON document")
