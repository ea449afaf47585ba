"""What the live analysis found: a verdict for each check, with its numbers and its queries.

Pure data: made by `judging` and `jury`, shown by the reports, kept in the records.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What came of a check."""

    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    """There is too little to judge by, or it has to be seen once more."""

    ERROR = "error"
    """Prometheus did not say what was asked for."""


@dataclass(frozen=True)
class Asked:
    """One query as it was put to Prometheus, and for which side."""

    side: str
    query: str


@dataclass(frozen=True)
class Finding:
    """What came of one check.

    Args:
        name, kind: of the check.
        verdict: what came of it.
        why: the reason, with the numbers that decided, for people.
        canary, baseline: the number that is judged, on both sides; None where there is none.
        numbers: everything that the verdict was made of.
        asked: what Prometheus was asked.
        critical: whether a failure takes all back.
        dry_run: whether it is shown only.
        looks: how often was looked.
        failing: how many looks in a row failed.
    """

    name: str
    kind: str
    verdict: Verdict
    why: str
    canary: float | None = None
    baseline: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    asked: tuple[Asked, ...] = ()
    critical: bool = True
    dry_run: bool = False
    looks: int = 0
    failing: int = 0

    def record(self) -> dict[str, Any]:
        """Return it as the record and `--json` have it; a promise to other programs."""
        return {
            "name": self.name,
            "kind": self.kind,
            "verdict": self.verdict.value,
            "why": self.why,
            "canary": self.canary,
            "baseline": self.baseline,
            # What is no finite number JSON does not know.
            "numbers": {
                name: value if math.isfinite(value) else None
                for name, value in self.numbers.items()
            },
            "queries": [{"side": one.side, "query": one.query} for one in self.asked],
            "critical": self.critical,
            "dry_run": self.dry_run,
            "looks": self.looks,
            "failing_looks": self.failing,
        }


@dataclass(frozen=True)
class Findings:
    """What came of all checks in one watch.

    Args:
        what: which part of the rollout was watched, in words.
        against: what the release was compared with, in words.
        found: one for each check.
    """

    what: str
    against: str
    found: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """What all checks that count say together.

        One that is not critical fails nobody: a person decides.
        """
        counting = [one for one in self.found if not one.dry_run]
        said = {one.verdict for one in counting}
        if any(one.verdict is Verdict.FAIL and one.critical for one in counting):
            return Verdict.FAIL
        if Verdict.ERROR in said:
            return Verdict.ERROR
        if said & {Verdict.INCONCLUSIVE, Verdict.FAIL}:
            return Verdict.INCONCLUSIVE
        return Verdict.PASS

    @property
    def reasons(self) -> tuple[str, ...]:
        """What stands in the way of a pass, one for each check."""
        return tuple(
            f"{one.name}: {one.why}"
            for one in self.found
            if not one.dry_run and one.verdict is not Verdict.PASS
        )

    def record(self) -> dict[str, Any]:
        """Return it as the record and `--json` have it; a promise to other programs."""
        return {
            "watched": self.what,
            "against": self.against,
            "verdict": self.verdict.value,
            "checks": [one.record() for one in self.found],
        }
