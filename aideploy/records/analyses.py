"""What the hosts keep of the live analyses of a release (`analyses/<id>.json`), beside its record.

Written while the release is watched, so long after its release.json. Read with the same mercy: what
is missing or damaged counts as unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from aideploy.records.record import Part, Record


class Check(Part):
    """What came of one check in one watch; see `aideploy.analysis.findings.Finding`."""

    name: str = ""
    kind: str = ""
    verdict: str = ""
    why: str = ""
    canary: float | None = None
    baseline: float | None = None
    critical: bool = True
    dry_run: bool = False


class Watched(Part):
    """One watch: of which part of the rollout, against what, and what came of each check."""

    watched: str = ""
    against: str = ""
    verdict: str = ""
    since: str = ""
    until: str = ""
    checks: tuple[Check, ...] = ()


class _Document(Part):
    watches: tuple[Watched, ...] = ()


class KnownRecord(Record):
    """A record, and what came of the live analyses of its release."""

    analyses: tuple[Watched, ...] = ()


def read_analyses(data: bytes) -> tuple[Watched, ...]:
    """Return the watches that a file of analyses tells of; none where it tells of none."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return ()
    return _Document.model_validate(found).watches if isinstance(found, dict) else ()


def with_analyses(record: Record, watches: tuple[Watched, ...]) -> KnownRecord:
    """Return the record with these beside it."""
    return KnownRecord.model_validate(dict(record) | {"analyses": watches})


def lines(watches: tuple[Watched, ...]) -> Iterator[str]:
    """Yield a line for each watch, and one for each of its checks."""
    for watch in watches:
        against = f" against {watch.against}" if watch.against else ""
        yield f"{watch.watched or 'a watch'}{against}: {watch.verdict or 'unknown'}"
        for check in watch.checks:
            shown = " (only shown)" if check.dry_run else ""
            why = f": {check.why.splitlines()[0]}" if check.why.strip() else ""
            yield f"  {check.name}{shown}: {check.verdict or 'unknown'}{why}"


def last_verdicts(watches: tuple[Watched, ...]) -> dict[str, str]:
    """Return what came of each check in the last watch that had it."""
    return {
        check.name: f"{check.verdict} (only shown)" if check.dry_run else check.verdict
        for watch in watches
        for check in watch.checks
    }
