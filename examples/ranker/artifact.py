"""The model as files: `model/weights.npz`, and `model/model.json` which vouches for it.

Written by `train.py`, read by `app.py`. The same model gives the same bytes, so that a checksum
can stand for it; therefore no file holds the moment of its making.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features import FeatureSpec

_FORMAT = 1
_DESCRIPTION = "model.json"
_WEIGHTS = "weights.npz"


class ModelUnusable(Exception):
    """The model is missing or is not what was written; the text says which file and why."""


@dataclass(frozen=True)
class Training:
    """Where a model comes from."""

    rows: int
    seed: int
    data_sha256: str


@dataclass(frozen=True)
class Model:
    """A model that was read and found whole.

    Args:
        spec: its features.
        weights: all 2**spec.bits of them.
        sha256: stands for its files; what `sha256sum model.json weights.npz | sha256sum` prints.
        trained_at: when it was written: the modification time of its description, so a copy has
            to keep that.
    """

    spec: FeatureSpec
    weights: npt.NDArray[np.float32]
    sha256: str
    trained_at: datetime


def write(
    folder: Path, spec: FeatureSpec, weights: npt.NDArray[np.float64], training: Training
) -> None:
    """Write the model; its description comes last, so that half a model is never read as one."""
    folder.mkdir(parents=True, exist_ok=True)
    used = np.flatnonzero(weights)
    # savez stamps its members with 1980, whatever the clock says (a test holds it to that).
    np.savez(
        folder / _WEIGHTS, numbers=used.astype(np.uint32), values=weights[used].astype(np.float32)
    )
    packed = (folder / _WEIGHTS).read_bytes()
    description = {
        "format": _FORMAT,
        "features": asdict(spec),
        "training": asdict(training),
        "weights": {"size": len(packed), "sha256": sha256(packed).hexdigest()},
    }
    (folder / _DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")


def read(folder: Path) -> Model:
    """Read a model and check that it is the one that was written.

    Raises:
        ModelUnusable: a file is missing, damaged or of another format.
    """
    described = _bytes(folder / _DESCRIPTION)
    packed = _bytes(folder / _WEIGHTS)
    try:
        description = json.loads(described)
        if description["format"] != _FORMAT:
            raise ModelUnusable(
                f"{folder / _DESCRIPTION} has format {description['format']}; "
                f"this release reads format {_FORMAT}"
            )
        spec = _spec(description["features"])
        size, checksum = description["weights"]["size"], description["weights"]["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelUnusable(f"{folder / _DESCRIPTION} is damaged: {error!r}") from error

    if len(packed) != size:
        raise ModelUnusable(
            f"{folder / _WEIGHTS} is damaged: it has {len(packed)} bytes, "
            f"{_DESCRIPTION} says {size}"
        )
    found = sha256(packed).hexdigest()
    if found != checksum:
        raise ModelUnusable(
            f"{folder / _WEIGHTS} is damaged: its sha256 is {found}, {_DESCRIPTION} says {checksum}"
        )
    return Model(
        spec=spec,
        weights=_unpacked(folder / _WEIGHTS, spec),
        sha256=_checksum_of({_DESCRIPTION: described, _WEIGHTS: packed}),
        trained_at=datetime.fromtimestamp((folder / _DESCRIPTION).stat().st_mtime, UTC),
    )


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ModelUnusable(f"cannot read {file}: {error.strerror}; has train.py run?") from error


def _spec(described: dict[str, Any]) -> FeatureSpec:
    crosses = tuple((left, right) for left, right in described["crosses"])
    return FeatureSpec(bits=int(described["bits"]), crosses=crosses)


def _unpacked(file: Path, spec: FeatureSpec) -> npt.NDArray[np.float32]:
    weights = np.zeros(2**spec.bits, dtype=np.float32)
    with np.load(file) as packed:
        weights[packed["numbers"]] = packed["values"]
    return weights


def _checksum_of(files: dict[str, bytes]) -> str:
    lines = (f"{sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items()))
    return sha256("".join(lines).encode()).hexdigest()
