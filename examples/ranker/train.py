"""Train the ranker: traffic in, `model/` and `metrics.json` out.

Run by a person or by a deploy, in the folder where the results belong. It learns from the first
24 days of traffic and is judged on the last 4, which it has not seen, as in production.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import artifact
import reference
import traffic
from evaluation import NothingToJudge, Quality, log_loss, quality
from features import SPEC, Column, FeatureSpec
from ftrl import FtrlProximal, Rates, probabilities

FIRST_HELD_OUT_DAY = traffic.DAYS - 4
FEWEST_ROWS = 1_000

_RATES = Rates(alpha=0.1, beta=1.0, l1=1.0, l2=1.0)
_BATCH = 512
_PROGRESS_LINES = 8


@dataclass(frozen=True)
class Metrics:
    """The quality on the held-out days: of all rows, and of the slices that can be judged."""

    overall: Quality
    slices: dict[str, Quality]


def main(arguments: Sequence[str] | None = None) -> None:
    """Generate, train, judge, write."""
    options = _options(arguments)
    print(
        f"making {options.rows:,} impressions of {traffic.DAYS} days (seed {options.seed})",
        flush=True,
    )
    data = traffic.generate(options.rows, options.seed)
    touched = SPEC.weights_for(data.columns)
    held_out = data.day >= FIRST_HELD_OUT_DAY

    weights = train(SPEC, touched[~held_out], data.clicked[~held_out])
    try:
        metrics = judge(probabilities(weights, touched[held_out]), data, held_out)
    except NothingToJudge as error:
        raise SystemExit(f"train.py: too few rows to judge the model: {error}") from None

    _refer(weights, data, held_out)
    training = artifact.Training(options.rows, options.seed, data.sha256())
    artifact.write(Path("model"), SPEC, weights, training)
    _write(Path("metrics.json"), metrics)
    _report(metrics)


def train(
    spec: FeatureSpec, touched: npt.NDArray[np.int64], clicked: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Learn from the impressions in their order, once, and say how it goes.

    Args:
        spec: the features.
        touched: rows x features, the numbers of the weights that each impression touches.
        clicked: 1.0 or 0.0 for each impression.

    Returns:
        all 2**spec.bits weights.
    """
    learner = FtrlProximal(2**spec.bits, _RATES)
    rows = len(clicked)
    for part in np.array_split(np.arange(rows), _PROGRESS_LINES):
        predicted = [
            learner.learn(touched[start:end], clicked[start:end])
            for start, end in _batches(int(part[0]), int(part[-1]) + 1)
        ]
        loss = log_loss(np.concatenate(predicted), clicked[part])
        print(
            f"trained on {part[-1] + 1:>9,} of {rows:,} impressions, log loss {loss:.4f}",
            flush=True,
        )
    return learner.weights


def judge(
    predicted: npt.NDArray[np.float64], data: traffic.Traffic, held_out: npt.NDArray[np.bool_]
) -> Metrics:
    """Judge the predictions for the held-out rows.

    Raises:
        NothingToJudge: there is no click among them.
    """
    clicked = data.clicked[held_out]
    members = {
        "new_users": data.has("tenure", "first week")[held_out],
        "mobile": data.has("device", "mobile")[held_out],
        "desktop": data.has("device", "desktop")[held_out],
    }
    slices = {}
    for name, rows in members.items():
        with suppress(NothingToJudge):
            slices[name] = quality(predicted[rows], clicked[rows])
    return Metrics(quality(predicted, clicked), slices)


def _refer(
    weights: npt.NDArray[np.float64], data: traffic.Traffic, held_out: npt.NDArray[np.bool_]
) -> None:
    """Describe the held-out days as the service would see them: see `inputs.Question.columns`."""
    rows = {name: Column(each.names, each.codes[held_out]) for name, each in data.columns.items()}
    rows["position"] = Column.constant("1", int(held_out.sum()))
    reference.write(Path("model"), rows, probabilities(weights, SPEC.weights_for(rows)))


def _batches(start: int, end: int) -> list[tuple[int, int]]:
    return [(first, min(first + _BATCH, end)) for first in range(start, end, _BATCH)]


def _write(file: Path, metrics: Metrics) -> None:
    slices = {name: asdict(each) for name, each in metrics.slices.items()}
    file.write_text(json.dumps({**asdict(metrics.overall), "slices": slices}, indent=2) + "\n")


def _report(metrics: Metrics) -> None:
    for name, found in {"all": metrics.overall, **metrics.slices}.items():
        print(
            f"{name:<10} auc {found.auc:.4f}  log loss {found.log_loss:.4f}  "
            f"calibration {found.calibration:.3f}  rows {found.rows:,}"
        )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the ranker.")
    parser.add_argument(
        "--rows",
        type=row_count,
        default=os.environ.get("RANKER_ROWS", "600000"),
        help="how many impressions to make; default: $RANKER_ROWS, else %(default)s",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the impressions (%(default)s)")
    return parser.parse_args(arguments)


def row_count(text: str) -> int:
    rows = int(text)
    if rows < FEWEST_ROWS:
        raise argparse.ArgumentTypeError(f"{rows} is too few; the least is {FEWEST_ROWS}")
    return rows


if __name__ == "__main__":
    main()
