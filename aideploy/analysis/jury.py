"""All checks of one watch, look after look, until they can be decided.

Pure but for what the `Source` asks. A check fails when more looks in a row fail than its
`failure_limit` bears: bursts of errors look like a bad release for one window, and not for two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from aideploy.analysis.arms import Arms
from aideploy.analysis.findings import Finding, Findings, Verdict
from aideploy.analysis.judging import Look, judge
from aideploy.analysis.queries import Templates
from aideploy.analysis.samples import Asking
from aideploy.analysis.source import NoAnswer, Source
from aideploy.settings.analysis import Analysis, Kind

FALSE_ALARMS = 0.01
"""How likely all looks of all checks together may take back a rollout of the same release."""


@dataclass(frozen=True)
class Case:
    """One check and what it asks.

    Args:
        check: from the settings.
        templates: its queries.
        alpha: how likely one of its looks may fail where nothing is different.
    """

    check: Analysis
    templates: Templates
    alpha: float


def cases(checks: Sequence[tuple[Analysis, Templates]], watched: timedelta) -> tuple[Case, ...]:
    """Divide the false alarms that are borne over all checks that compare, and over their looks.

    Args:
        checks: the checks and their queries.
        watched: for how long a rollout is watched at most, all batches together.
    """
    comparing = sum(check.kind is not Kind.SLO and not check.dry_run for check, _ in checks)
    return tuple(
        Case(
            check,
            queries,
            FALSE_ALARMS / max(comparing, 1) / max(math.ceil(watched / check.interval), 1),
        )
        for check, queries in checks
    )


class Jury:
    """The checks of one watch.

    Args:
        all_cases: them.
        arms: the two sides that they compare.
        what: which part of the rollout is watched, in words.
    """

    def __init__(self, all_cases: Sequence[Case], arms: Arms, what: str) -> None:
        self._cases = tuple(all_cases)
        self._arms = arms
        self._what = what
        self._found: dict[str, Finding] = {one.check.name: _begun(one.check) for one in all_cases}
        # How many whole windows the last look at each saw: where Prometheus is slow, looks are left
        # out, and two at the same windows are no two in a row.
        self._seen: dict[str, int] = {one.check.name: 0 for one in all_cases}

    def look(self, case: Case, source: Source, now: float) -> Finding:
        """Look at one check, with everything that was counted up to now.

        Returns:
            what came of it: a fail only if so many looks in a row failed as are needed.
        """
        check = case.check
        asking = Asking(source, case.templates, check.interval.total_seconds(), self._arms, now)
        try:
            sample = asking.sample(check.kind)
            look = judge(check, sample, case.alpha)
        except NoAnswer as error:
            look = Look(Verdict.ERROR, str(error))
        except Exception as error:
            # Whatever it is, of a release that was not judged nobody may think that it passed.
            look = Look(Verdict.ERROR, f"it cannot be judged: {type(error).__name__}: {error}")
        before, seen = self._found[check.name], self._seen[check.name]
        is_new = asking.served > seen
        found = replace(
            before,
            verdict=look.verdict,
            why=look.why,
            canary=look.canary,
            baseline=look.baseline,
            numbers=look.numbers,
            asked=tuple(asking.asked),
            looks=before.looks + 1,
            failing=_failing(before.failing, look.verdict) if is_new else before.failing,
        )
        if look.verdict is Verdict.FAIL and found.failing <= check.failure_limit:
            why = f"{look.why}; failing look {found.failing} of {check.failure_limit + 1}"
            found = replace(found, verdict=Verdict.INCONCLUSIVE, why=why)
        self._found[check.name] = found
        # Last: whoever asks from another thread whether it passes sees this verdict then.
        self._seen[check.name] = max(asking.served, seen)
        return found

    @property
    def findings(self) -> Findings:
        """What came of all checks, at their last looks."""
        return Findings(self._what, self._arms.baseline.words, tuple(self._found.values()))

    def next(self) -> tuple[Case, float]:
        """Return which check is looked at next, and when."""
        return min(((case, self._due(case)) for case in self._cases), key=lambda pair: pair[1])

    def passes(self, length: timedelta) -> bool:
        """Return whether every check was looked at for so long, and all is well."""
        enough = all(
            self._seen[case.check.name] >= max(math.floor(length / case.check.interval + 1e-6), 1)
            for case in self._cases
        )
        return enough and self.findings.verdict is Verdict.PASS

    def _due(self, case: Case) -> float:
        windows = self._seen[case.check.name] + 1
        return self._arms.since + case.check.interval.total_seconds() * windows


def _begun(check: Analysis) -> Finding:
    return Finding(
        check.name,
        check.kind.value,
        Verdict.INCONCLUSIVE,
        "not looked at yet",
        critical=check.critical,
        dry_run=check.dry_run,
    )


def _failing(before: int, verdict: Verdict) -> int:
    """Return how many looks in a row failed; one that could not tell ends no row."""
    if verdict is Verdict.FAIL:
        return before + 1
    return 0 if verdict is Verdict.PASS else before
