"""Markdown for pull requests, wikis and model cards: cells and tables.

Only words are put together here. What stands in them came from hosts, commits and settings, so
every cell is made harmless.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aideploy.report.safe_text import harmless


def code(value: object) -> str:
    """As code, in which neither Markdown nor a mention counts; `|` would end a table's cell."""
    text = harmless("" if value is None else str(value)).replace("`", "'").replace("|", "\\|")
    return f"`{text}`" if text.strip() else ""


def number(value: float | None) -> str:
    """A measured number, as far as it says something; nothing where there is none."""
    return "" if value is None else f"{value:.6g}"


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table; its cells come as plain text."""
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(map(code, row))} |"
