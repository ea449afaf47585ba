"""How far the data of a host has moved, as its timer wrote it last for node_exporter. Pure.

Read by `status`, with the limits of the alert DriftHigh (`monitoring/rules.py`). Whatever is no
such line is passed over: the file belongs to the user of the service.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aideploy.services.telling_metrics import looks_for_drift, metric_files
from aideploy.settings import Host, Settings

# Which method counts where several were measured: as in the alert.
_METHODS = ("psi", "js", "wasserstein")
_SAMPLE = re.compile(r"aideploy_drift_(\w+)\{(.*)\} (-?[0-9.e+-]+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_OLD = timedelta(days=1)
_NAMED = 3


@dataclass(frozen=True)
class Score:
    """How far a feature, or the prediction, has moved."""

    feature: str
    method: str
    value: float


@dataclass(frozen=True)
class DataDrift:
    """What the timer of a host found last.

    Args:
        at: when.
        failed: whether it could not be found out.
        scores: of all features, by all methods.
    """

    at: datetime
    failed: bool
    scores: tuple[Score, ...] = ()

    def beyond(self, limits: Mapping[str, float]) -> tuple[Score, ...]:
        """Return the features beyond the limit of their method, the farthest first."""
        counting: dict[str, Score] = {}
        for method in reversed(_METHODS):
            counting |= {one.feature: one for one in self.scores if one.method == method}
        over = [one for one in counting.values() if one.value > limits[one.method]]
        return tuple(sorted(over, key=lambda one: -one.value / limits[one.method]))

    def remark(self, limits: Mapping[str, float], now: datetime) -> str:
        """Return in a short line what a person should know; empty where all is well."""
        when = f"{self.at:%Y-%m-%d %H:%M} UTC"
        if self.failed:
            return (
                f"how far the data has drifted could not be told at {when} "
                "(on that host: journalctl -u '*-drift.service')"
            )
        if now - self.at > _OLD:
            return f"nobody has looked for drift of the data since {when} (is its timer running?)"
        over = self.beyond(limits)
        if not over:
            return ""
        named = [f"{one.feature} {one.method} {one.value:.2g}" for one in over[:_NAMED]]
        more = f" and {len(over) - _NAMED} more" if len(over) > _NAMED else ""
        return f"the data has drifted beyond the limit: {', '.join(named)}{more} ({when})"


def file_of(settings: Settings, host: Host) -> str:
    """Return the file that the timer writes, below the app's folder; empty where there is none."""
    return metric_files(settings, host)[-1] if looks_for_drift(settings, host) else ""


def read(data: bytes) -> DataDrift | None:
    """Return what such a file says; None where it says nothing."""
    values: dict[str, float] = {}
    scores = []
    for kind, labels, value in _samples(data.decode("utf-8", "replace")):
        if kind == "score":
            scores.append(Score(labels.get("feature", ""), labels.get("method", ""), value))
        else:
            values[kind] = value
    try:
        at = datetime.fromtimestamp(values["timestamp_seconds"], UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        return None
    return DataDrift(at, values.get("last_failed") == 1, tuple(scores))


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in text.splitlines():
        if found := _SAMPLE.fullmatch(line):
            try:
                value = float(found[3])
            except ValueError:
                continue
            labels = _LABEL.findall(found[2])
            yield found[1], {name: re.sub(r"\\(.)", r"\1", said) for name, said in labels}, value
