"""Tables of facts for the commands `status`, `releases` and `history`.

On a terminal with rich, which fits the columns to the width; elsewhere as aligned text that `grep`
and `awk` can work with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TextIO

from aideploy.report.output import Output
from aideploy.report.safe_text import harmless

Row = Sequence[str]


def print_table(
    columns: Row, rows: Sequence[Row], stdout: TextIO, environ: Mapping[str, str]
) -> None:
    """Print the rows below the names of their columns.

    Args:
        columns: the name of each column.
        rows: as many cells each as there are columns.
        stdout: where to print.
        environ: the environment; NO_COLOR is honoured.
    """
    cells = [[harmless(cell) for cell in row] for row in rows]
    out = Output(stdout)
    if out.isatty():
        _print_on_terminal(columns, cells, out, no_color=bool(environ.get("NO_COLOR")))
    else:
        for line in aligned([columns, *cells]):
            out.line(line)


def _print_on_terminal(columns: Row, rows: Sequence[Row], out: Output, *, no_color: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from aideploy.report.screen import console_for

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console_for(out, no_color=no_color).print(table)


def aligned(rows: Sequence[Row]) -> list[str]:
    """Return the rows as lines, each cell as wide as the widest of its column."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
