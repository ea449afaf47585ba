"""Tables for people, and the same numbers for programs. Called by `__main__`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import rich.table
from rich.console import Console

from benchmarks.measuring import Mark, Table

_COLOUR = {Mark.KEPT: "green", Mark.BROKEN: "red", Mark.NONE: ""}


def show(table: Table, console: Console) -> None:
    """Print one table."""
    shown = rich.table.Table(title=table.title, title_justify="left", title_style="bold")
    for column in ("", "median", "rounds", "ratio", "of the best", "promise", "", "cost"):
        right = column in ("median", "rounds", "ratio", "of the best")
        shown.add_column(column, justify="right" if right else "left")
    for row in table.rows:
        shown.add_row(
            row.who,
            f"{row.median:.2f} {row.unit}",
            " ".join(f"{each:.2f}" for each in row.rounds),
            "" if row.ratio is None else f"{row.ratio:.2f}",
            # Where others use the machine too, the fastest round is the least disturbed one.
            "" if row.ratio is None else f"{min(row.rounds) / min(table.rows[0].rounds):.2f}",
            row.promise,
            f"[{_COLOUR[row.mark]}]{row.mark}[/]" if row.mark else "",
            row.note,
        )
    console.print(shown)


def write(tables: Iterable[Table], file: Path) -> None:
    """Write all numbers as JSON."""
    file.write_text(json.dumps([asdict(table) for table in tables], indent=2) + "\n")
