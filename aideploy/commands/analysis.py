"""`fab analysis.run`: the checks of [[analysis]] on any two sides, over what has been."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aideploy.analysis.arms import Arm, Arms
from aideploy.analysis.findings import Verdict
from aideploy.analysis.jury import Jury
from aideploy.analysis.samples import MOST_WINDOWS
from aideploy.errors import AideployError, UsageError
from aideploy.monitoring.windows import asked
from aideploy.report.facts import Table, Text
from aideploy.settings import Settings
from aideploy.transaction.analysing import cases_of


@dataclass(frozen=True)
class Analysed:
    """What was found.

    Args:
        canary, baseline: the label matchers of both sides; an empty one is no side.
        since, until: the time that was looked at, UTC.
        verdict: of all checks that count.
        checks: the findings, as in the record.
    """

    canary: str
    baseline: str
    since: datetime
    until: datetime
    verdict: Verdict
    checks: tuple[dict[str, Any], ...]

    def shown(self) -> tuple[Table | Text, ...]:
        """Return the findings as a table, and below it why."""
        rows = tuple(
            (
                one["name"],
                one["kind"],
                _number(one["canary"]),
                _number(one["baseline"]),
                one["verdict"] + (" (dry run)" if one["dry_run"] else ""),
                one["why"],
            )
            for one in self.checks
        )
        queries = tuple(
            f"{one['name']}, {query['side']}: {query['query']}"
            for one in self.checks
            for query in one["queries"]
        )
        return (
            Table(("CHECK", "KIND", "CANARY", "BASELINE", "VERDICT", "WHY"), rows),
            Text("Asked:", queries),
            Text("", (f"verdict: {self.verdict}",)),
        )


def analyse(settings: Settings, canary: str, baseline: str, last: timedelta) -> Analysed:
    """Judge one side against another; a single look, which needs no second one.

    Args:
        settings: of the environment; its [[analysis]] are the checks.
        canary, baseline: label matchers, as `host="h1"`; an empty baseline: only absolute limits.
        last: the time that is looked at, up to now.

    Raises:
        UsageError: there is no [[analysis]], or a side is no list of label matchers.
        SettingsError, MonitoringUnavailable: see `asked`.
    """
    if not settings.analyses:
        raise UsageError(
            "there is no [[analysis]] in hosts.toml",
            next_step="write what is judged: docs/analysis.md",
        )
    longest = max(check.interval for check in settings.analyses)
    if last < longest:
        raise UsageError(
            f"--last is {last.total_seconds():g}s, shorter than the interval of a check",
            next_step=f"look at {longest.total_seconds():g}s or more",
        )
    shortest = min(check.interval for check in settings.analyses) * MOST_WINDOWS
    if last > shortest:
        raise UsageError(
            f"--last is {last.total_seconds():g}s, more than {MOST_WINDOWS} intervals of a check",
            next_step=f"look at {shortest.total_seconds():g}s at most, or make the interval longer",
        )
    new, old = _matchers("canary", canary), _matchers("baseline", baseline)
    if not new:
        raise UsageError("--canary names no side", next_step="as: --canary 'host=\"h1\"'")
    source = asked(settings, os.environ)
    now = time.time()
    both = Arms(
        Arm((new,), new), Arm((old,) if old else (), old or "nothing"), now - last.total_seconds()
    )
    once = tuple(
        replace(case, check=case.check.model_copy(update={"failure_limit": 0}))
        for case in cases_of(settings, timedelta(0))
    )
    jury = Jury(once, both, "what was asked")
    for case in once:
        jury.look(case, source, now)
    findings = jury.findings
    return Analysed(
        canary=new,
        baseline=old,
        since=datetime.fromtimestamp(both.since, UTC),
        until=datetime.fromtimestamp(now, UTC),
        verdict=findings.verdict,
        checks=tuple(one.record() for one in findings.found),
    )


def not_passed(found: Analysed) -> AideployError | None:
    """Return how the command ends where not all is well."""
    if found.verdict is Verdict.PASS:
        return None
    return AideployError(f"the analysis says: {found.verdict}")


def _matchers(option: str, text: str) -> str:
    """Return what was typed without braces around it."""
    bare = text.strip().removeprefix("{").removesuffix("}").strip().rstrip(",")
    if bare and "=" not in bare:
        raise UsageError(
            f"--{option} takes label matchers, not {text!r}",
            next_step=f"as: --{option} 'host=\"h1\"', in quotes for the shell",
        )
    return bare


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
