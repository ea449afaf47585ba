"""A sample of what was asked and answered, a line of JSON each, for who measures drift.

Called by `service.py` with every question. A log that cannot be written is no reason not to answer.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features import Column
from reference import CATEGORIES, HOUR, PREDICTION

_LARGEST_FILE = 16 * 1024 * 1024


class FeatureLog:
    """One file, and one more beside it with what came before.

    Args:
        file: where to; its folder is there.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def append(self, columns: Mapping[str, Column], predicted: npt.NDArray[np.floating]) -> None:
        """Write down one of the rows, by chance: those of one question are much alike."""
        chosen = random.randrange(len(predicted))
        row: dict[str, object] = {"at": round(time.time(), 3)}
        for name in CATEGORIES:
            row[name] = _value(columns[name], chosen)
        row[HOUR] = int(_value(columns[HOUR], chosen))
        row[PREDICTION] = round(float(predicted[chosen]), 8)
        with suppress(OSError):
            # One write of one short line: those of two slots do not mix.
            with self._file.open("ab", buffering=0) as log:
                log.write(json.dumps(row).encode() + b"\n")
                is_full = log.tell() > _LARGEST_FILE
            if is_full:
                self._file.replace(self._file.with_name(f"{self._file.name}.1"))


def _value(column: Column, row: int) -> str:
    return column.names[int(column.codes[row])]
