"""The verdict of the model gate as a table: for the screen and the logs, and as Markdown.

Only words are put together here. What stands in it came from hosts.toml and from a host's file, so
every cell is made harmless.
"""

from __future__ import annotations

from collections.abc import Iterator

from aideploy.events import Evaluated
from aideploy.gates.model import Evaluation, Judgement, Row, RowVerdict
from aideploy.report.last_word import Line, Tone
from aideploy.report.markdown import code, number
from aideploy.report.safe_text import first_line, harmless
from aideploy.report.tables import aligned

_COLUMNS = ("METRIC", "SLICE", "NOW", "BASELINE", "LIMIT", "VERDICT")
_TONES = {
    RowVerdict.PASS: Tone.PLAIN,
    RowVerdict.UNOPPOSED: Tone.WARNING,
    RowVerdict.FAIL: Tone.BAD,
    RowVerdict.MISSING: Tone.BAD,
}


def verdict_lines(evaluation: Evaluation) -> list[Line]:
    """Return the table, below each limit that does not hold the reason; nothing without limits."""
    return list(_lines(evaluation)) if evaluation.rows else []


def _lines(evaluation: Evaluation) -> Iterator[Line]:
    head, *body = aligned([_COLUMNS, *map(_cells, evaluation.rows)])
    yield Line(f"    {head}", Tone.FAINT)
    for text, row in zip(body, evaluation.rows, strict=True):
        yield Line(f"    {text}", _TONES[row.verdict])
        # Where nothing was good yet, the word says all there is to say.
        if row.reason and (evaluation.baseline or not row.holds):
            yield Line(f"      {first_line(row.reason)}", _TONES[row.verdict])


def markdown(event: Evaluated) -> str:
    """Return the verdict for a pull request."""
    return "\n".join(_markdown_lines(event)) + "\n"


def _markdown_lines(event: Evaluated) -> Iterator[str]:
    evaluation = event.evaluation
    yield f"### Model gate: {_headline(evaluation)}"
    yield ""
    yield f"{code(event.app)} in {code(event.environment)}, release {code(event.release)},"
    yield f"{_compared(evaluation)}."
    if evaluation.overridden_by:
        yield ""
        yield f"**{code(evaluation.overridden_by)} lets it pass all the same (--no-gate).**"
    if not evaluation.rows:
        return
    yield ""
    yield "| metric | slice | now | baseline | limit | verdict | |"
    yield "|---|---|--:|--:|---|---|---|"
    for row in evaluation.rows:
        metric, slice_name, now, baseline, limit, verdict = _cells(row)
        bad = verdict if row.holds else f"**{verdict}**"
        cells = (code(metric), code(slice_name), now, baseline, limit, bad, code(row.reason))
        yield f"| {' | '.join(cells)} |"


def _headline(evaluation: Evaluation) -> str:
    words = {
        Judgement.BLESSED: "✅ blessed",
        Judgement.REFUSED: "❌ refused",
        Judgement.UNJUDGED: "⚠️ unjudged",
    }
    return words[evaluation.judgement]


def _compared(evaluation: Evaluation) -> str:
    if evaluation.judgement is Judgement.UNJUDGED:
        return "there is no `[[gate]]`"
    if evaluation.baseline is None:
        return "unopposed: there is no good release to compare with yet"
    return f"compared with {code(evaluation.baseline)}"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        harmless(row.metric),
        harmless(row.slice) if row.slice is not None else "",
        number(row.value),
        number(row.baseline),
        row.limit_in_words,
        row.verdict.value,
    )
