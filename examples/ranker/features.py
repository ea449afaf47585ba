"""How an impression becomes numbers: the one place for it, so that training and serving agree.

Called by `train.py` with millions of rows and by `service.py` with a handful; both hand over the
same columns. Knows nothing about clicks, weights or HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

import numpy as np
import numpy.typing as npt

FIELDS = (
    "user",
    "tenure",
    "interest",
    "ad",
    "category",
    "device",
    "site",
    "hour",
    "position",
)

_TENURE_NAMES = ("first week", "first month", "first half year", "longer")
_TENURE_DAYS = (7, 30, 180)


@dataclass(frozen=True)
class Column:
    """One categorical field of many impressions: its values, and which of them each row has."""

    names: tuple[str, ...]
    codes: npt.NDArray[np.int64]

    @classmethod
    def of(cls, values: Iterable[str]) -> Self:
        """A column with one value for each row."""
        names = tuple(values)
        return cls(names, np.arange(len(names), dtype=np.int64))

    @classmethod
    def constant(cls, value: str, rows: int) -> Self:
        """A column with the same value in every row."""
        return cls((value,), np.zeros(rows, dtype=np.int64))

    @classmethod
    def tenure(cls, days: Sequence[int] | npt.NDArray[np.int64]) -> Self:
        """How long each user has been known, in the coarse steps that the model learns from.

        Args:
            days: whole days since the user's first visit.
        """
        return cls(_TENURE_NAMES, np.searchsorted(_TENURE_DAYS, days, side="right"))


@dataclass(frozen=True)
class FeatureSpec:
    """Which features a model has. It travels with the model, so that any release can serve it.

    Args:
        bits: there are 2**bits weights; every feature is hashed to one of them.
        crosses: pairs of fields that are also looked at together.
    """

    bits: int
    crosses: tuple[tuple[str, str], ...]

    def weights_for(self, columns: Mapping[str, Column]) -> npt.NDArray[np.int64]:
        """Which weights each row touches: one for everybody, one per field, one per cross.

        The hashing trick: K. Weinberger et al., "Feature hashing for large scale multitask
        learning", ICML 2009. A value that was never seen in training gets a weight too, mostly
        an untouched one: zero.

        Args:
            columns: one column for each of FIELDS, all of the same length.

        Returns:
            an array of rows x features.
        """
        hashes = {field: _hashes(field, columns[field]) for field in FIELDS}
        everybody = np.full_like(hashes[FIELDS[0]], _hash("everybody"))
        crossed = [_crossed(hashes[left], hashes[right]) for left, right in self.crosses]
        features = np.stack([everybody, *hashes.values(), *crossed], axis=1)
        return (features >> np.uint64(64 - self.bits)).astype(np.int64)


SPEC = FeatureSpec(bits=18, crosses=(("device", "category"),))


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def _hashes(field: str, column: Column) -> npt.NDArray[np.uint64]:
    of_each_name = np.array([_hash(f"{field}={name}") for name in column.names], dtype=np.uint64)
    return of_each_name[column.codes]


def _crossed(left: npt.NDArray[np.uint64], right: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A hash of the pair; the odd factor (2**64 over the golden ratio) makes the order count."""
    return left * np.uint64(0x9E3779B97F4A7C15) + right
