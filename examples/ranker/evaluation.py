"""How good predictions are, in the numbers that a model gate looks at.

Called by `train.py` with the held-out days. Knows nothing about the model that predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


class NothingToJudge(ValueError):
    """The rows are all clicked or all not, so that the area under the curve does not exist."""


@dataclass(frozen=True)
class Quality:
    """The quality of the predictions on some rows.

    Args:
        auc: the chance that a clicked impression was predicted above one that was not; 0.5 is
            guessing.
        log_loss: the mean of -log(the probability given to what happened); lower is better.
        calibration: predicted clicks / clicks that happened; 1.0 is right.
        rows: how many impressions this was measured on.
    """

    auc: float
    log_loss: float
    calibration: float
    rows: int


def quality(predicted: npt.NDArray[np.float64], clicked: npt.NDArray[np.float64]) -> Quality:
    """Judge predictions by what happened.

    Raises:
        NothingToJudge: not a single click, or nothing else.
    """
    if clicked.size == 0 or clicked.min() == clicked.max():
        raise NothingToJudge(f"{clicked.size} impressions, {clicked.sum():.0f} clicks")
    return Quality(
        auc=round(_auc(predicted, clicked), 6),
        log_loss=round(log_loss(predicted, clicked), 6),
        calibration=round(float(predicted.sum() / clicked.sum()), 6),
        rows=len(clicked),
    )


def log_loss(predicted: npt.NDArray[np.float64], clicked: npt.NDArray[np.float64]) -> float:
    """The mean of -log(the probability given to what happened)."""
    given = np.where(clicked == 1, predicted, 1 - predicted)
    return float(-np.log(given).mean())


def _auc(predicted: npt.NDArray[np.float64], clicked: npt.NDArray[np.float64]) -> float:
    """The area under the ROC curve, from the ranks of the clicked rows; ties share a rank.

    The Mann-Whitney statistic: J. A. Hanley and B. J. McNeil, "The meaning and use of the area
    under a receiver operating characteristic (ROC) curve", Radiology 143 (1982).
    """
    _, place, equals = np.unique(predicted, return_inverse=True, return_counts=True)
    last_rank = np.cumsum(equals)
    ranks = (last_rank - (equals - 1) / 2)[place]
    clicks = clicked.sum()
    wins = ranks[clicked == 1].sum() - clicks * (clicks + 1) / 2
    return float(wins / (clicks * (len(clicked) - clicks)))
