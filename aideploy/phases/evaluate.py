"""The evaluate phase: what the new model is compared with.

Pure: which host knows the last good release, which script reads its record, and what that says.
The judging is in `aideploy.gates.model`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from aideploy.gates.model import Baseline
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Entry
from aideploy.remote.result import Result
from aideploy.remote.script import Script

# The last good release may have no metrics; so far back one that has them is looked for.
_MOST_RECORDS = 5


@dataclass(frozen=True)
class Earlier:
    """The good releases that a host holds.

    Args:
        host: its name.
        root: the absolute folder of the app there.
        releases: their ids, the one that was judged last first.
    """

    host: str
    root: PurePosixPath
    releases: tuple[str, ...]


def earlier(serving: Iterable[HostFacts]) -> Earlier | None:
    """Return the good releases of the host that knows the latest; None where there are none yet.

    Args:
        serving: the facts of the serve hosts. A host that only trains holds no records.
    """
    judged: list[tuple[Entry, Earlier]] = []
    for facts in serving:
        entries = [one for one in facts.journal.judged_good() if one.release in facts.releases]
        if entries:
            releases = tuple(one.release for one in entries[:_MOST_RECORDS])
            judged.append((entries[0], Earlier(facts.host, facts.root, releases)))
    return max(judged, key=lambda pair: pair[0].at)[1] if judged else None


def script(known: Earlier) -> Script:
    """Return the script that reads the records of these releases."""
    records = (known.root / "releases" / name / "release.json" for name in known.releases)
    return Script("read_files", tuple(map(str, records)), libraries=("files",))


def read(known: Earlier, result: Result) -> Baseline | None:
    """Return the latest of these releases that has metrics."""
    for index, release in enumerate(known.releases, 1):
        if metrics := _metrics(result.data(f"content.{index}")):
            return Baseline(release, metrics)
    return None


def _metrics(record: bytes) -> Mapping[str, Any] | None:
    try:
        metrics = json.loads(record).get("metrics")
    except (ValueError, AttributeError, RecursionError):
        return None
    return metrics if isinstance(metrics, Mapping) else None
