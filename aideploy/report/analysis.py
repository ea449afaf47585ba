"""What the live analysis found, as a table: for the screen and the logs.

Only words are put together here. What stands in it came from hosts.toml and from Prometheus, so
every cell is made harmless.
"""

from __future__ import annotations

from collections.abc import Iterator

from aideploy.analysis.findings import Finding, Findings, Verdict
from aideploy.report.last_word import Line, Tone
from aideploy.report.markdown import number
from aideploy.report.safe_text import first_line, harmless
from aideploy.report.tables import aligned

_COLUMNS = ("CHECK", "KIND", "CANARY", "BASELINE", "LOOKS", "VERDICT", "")
_TONES = {
    Verdict.PASS: Tone.PLAIN,
    Verdict.FAIL: Tone.BAD,
    Verdict.INCONCLUSIVE: Tone.WARNING,
    Verdict.ERROR: Tone.WARNING,
}


def findings_lines(findings: Findings) -> list[Line]:
    """Return the table: for each check the numbers, the verdict and why."""
    return list(_lines(findings)) if findings.found else []


def queries_lines(findings: Findings) -> list[str]:
    """Return what Prometheus was asked, for the log."""
    return [
        f"{harmless(one.name)}, {asked.side}: {first_line(asked.query)}"
        for one in findings.found
        for asked in one.asked
    ]


def _lines(findings: Findings) -> Iterator[Line]:
    words = f"analysis of {findings.what} against {findings.against}: {findings.verdict}"
    yield Line(f"    {harmless(words)}", _TONES[findings.verdict])
    head, *body = aligned([_COLUMNS, *map(_cells, findings.found)])
    yield Line(f"    {head}", Tone.FAINT)
    for text, one in zip(body, findings.found, strict=True):
        tone = Tone.FAINT if one.dry_run else _TONES[one.verdict]
        yield Line(f"    {text}", tone)
        yield Line(f"      {first_line(one.why)}", tone)


def _cells(one: Finding) -> tuple[str, ...]:
    notes = [] if one.critical else ["not critical"]
    notes += ["dry run"] if one.dry_run else []
    return (
        harmless(one.name),
        one.kind,
        _shown(one.canary),
        _shown(one.baseline),
        str(one.looks),
        one.verdict.value,
        ", ".join(notes),
    )


def _shown(value: float | None) -> str:
    return number(None if value is None else float(f"{value:.4g}"))
