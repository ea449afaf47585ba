"""The tables of the fault bench: rows that tests write down, shown at the end and in a file.

A test hands in its rows with the fixture `write_row`. They travel with its report, from the workers
of pytest-xdist too. `AIDEPLOY_FAULT_TABLES` names a Markdown file for them (`make faults` does).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

FILE = "AIDEPLOY_FAULT_TABLES"
_PROPERTY = "fault table"

Row = dict[str, str]
WriteRow = Callable[[str, Row], None]


@pytest.fixture
def write_row(request: pytest.FixtureRequest) -> WriteRow:
    """Call it with the title of a table and one row of it: its columns in order."""

    def write(title: str, row: Row) -> None:
        # Plain texts: the workers of pytest-xdist cannot send a member of an enum, and end.
        plain = {str(name): str(value) for name, value in row.items()}
        request.node.user_properties.append((_PROPERTY, (title, plain)))

    return write


def tables(reports: Iterable[pytest.TestReport]) -> dict[str, list[Row]]:
    """All rows that reports have brought, by the title of their table."""
    found: dict[str, list[Row]] = {}
    for report in reports:
        for name, value in report.user_properties:
            if name == _PROPERTY and report.when == "call" and isinstance(value, Sequence):
                title, row = value
                found.setdefault(title, []).append(row)
    return found


def markdown(title: str, rows: list[Row]) -> str:
    """One table as Markdown."""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([row[name] for name in columns] for row in rows)]
    return "\n".join([f"## {title}", "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def save(reports: Iterable[pytest.TestReport]) -> None:
    """Write the tables to the file that was asked for, if one was."""
    texts = [markdown(title, rows) for title, rows in tables(reports).items()]
    if texts and (file := os.environ.get(FILE)):
        Path(file).write_text("# What the fault bench saw\n\n" + "\n".join(texts))


def show(terminal: pytest.TerminalReporter, reports: Iterable[pytest.TestReport]) -> None:
    """Print the tables of a run."""
    for title, rows in tables(reports).items():
        terminal.write_line("")
        terminal.write_line(markdown(title, rows))
