"""What the rows looked like in training: `model/reference.json`, which drift is measured against.

Written by `train.py`; the same data gives the same bytes. The names of the columns are those of the
rows that `feature_log.py` writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features import Column

FILE = "reference.json"
# What is logged, too. The position is not: in serving it is always the first one.
CATEGORIES = ("tenure", "interest", "category", "device")
HOUR = "hour"
PREDICTION = "prediction"

_BINS = 10
_QUANTILES = 100
_DIGITS = 8


def write(
    folder: Path, columns: Mapping[str, Column], predicted: npt.NDArray[np.floating[Any]]
) -> None:
    """Describe these rows and what is predicted for them.

    Args:
        folder: of the model.
        columns: as for a prediction, one value for each row.
        predicted: for each row.
    """
    described = {name: _categorical(columns[name]) for name in CATEGORIES}
    hours = np.array([int(name) for name in columns[HOUR].names])
    described[HOUR] = _numeric(hours[columns[HOUR].codes])
    described[PREDICTION] = _numeric(predicted)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps({"format": 1, "columns": described}, indent=1) + "\n")


def _categorical(column: Column) -> dict[str, Any]:
    rows = np.bincount(column.codes, minlength=len(column.names))
    counts = {name: int(count) for name, count in zip(column.names, rows, strict=True)}
    return {"kind": "categorical", "counts": counts}


def _numeric(values: npt.NDArray[Any]) -> dict[str, Any]:
    """Bins between deciles, and one more on either side for what training never saw."""
    values = np.round(values.astype(np.float64), _DIGITS)
    inner = np.quantile(values, np.arange(1, _BINS) / _BINS)
    highest = np.nextafter(values.max(), np.inf)
    edges = np.unique([values.min(), *np.round(inner, _DIGITS), highest])
    counts = np.histogram(values, [-np.inf, *edges, np.inf])[0]
    ranks = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    return {
        "kind": "numeric",
        "edges": edges.tolist(),
        "counts": counts.tolist(),
        "quantiles": np.round(np.quantile(values, ranks), _DIGITS).tolist(),
        "std": round(float(values.std()), _DIGITS),
    }
