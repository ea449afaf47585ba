"""A first [[gate]] for a project that has none, from the metrics that it has, if any.

`fab init` writes it, and who deploys without a gate is shown it. It guesses, and says so: how
good a model has to be only people know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aideploy.gates.metrics import NoMetrics, NoNumber, number, parse
from aideploy.rendering import render

_LESS_IS_BETTER = re.compile(
    r"loss|err|rmse|mae|mse|mape|perplexity|latency|seconds", re.IGNORECASE
)
_NO_QUALITY = re.compile(
    r"^(n|rows|count|num|size|support|epochs?|steps?|seed|time)$|_(rows|count|size)$|^(n|num)_",
    re.IGNORECASE,
)
_MARGIN = 0.05
_LONGEST_NAME = 100
_LARGEST_FILE = 2**20


@dataclass(frozen=True)
class Suggestion:
    """One metric to begin with.

    Args:
        metric: its name.
        seen: what it is now.
        bound: what it should at least be, or at most, 5 % worse than now.
        greater_is_better: which of the two.
    """

    metric: str
    seen: float
    bound: float
    greater_is_better: bool


def known_metrics(file: Path) -> Mapping[str, Any]:
    """Return the metrics that a training left on this machine; none, if it left none."""
    try:
        if file.stat().st_size > _LARGEST_FILE:
            return {}
        return parse(file.read_bytes())
    except (OSError, NoMetrics):
        return {}


def suggested(metrics: Mapping[str, Any]) -> Suggestion | None:
    """Return the first metric that says how good the model is; None when there is none."""
    for name in metrics:
        try:
            seen = number(metrics, name, None)
        except NoNumber:
            continue
        plain = name.isprintable() and name == name.strip() and 0 < len(name) <= _LONGEST_NAME
        if not plain or not seen or _NO_QUALITY.search(name):
            continue
        greater = not _LESS_IS_BETTER.search(name)
        worse = seen - abs(seen) * _MARGIN if greater else seen + abs(seen) * _MARGIN
        return Suggestion(name, seen, float(f"{worse:.3g}"), greater)
    return None


def suggested_gate(metrics: Mapping[str, Any]) -> str:
    """Return a [[gate]] as it could stand in hosts.toml."""
    found = suggested(metrics)
    return render("gate.toml.j2", {"gate": asdict(found) if found else None})
