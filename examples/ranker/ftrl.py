"""The learner: logistic regression over hashed features, trained online by FTRL-Proximal.

Called by `train.py`; `service.py` shares how weights become a probability. Knows nothing about
fields, files or clicks: numbers of weights and 0/1 labels in, weights out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Rates:
    """How fast to learn and how much to hold back, with the names of the paper.

    Args:
        alpha, beta: the learning rate of a weight is alpha / (beta + sqrt(the sum of its squared
            gradients)).
        l1: a weight stays exactly zero until the evidence for it is larger than this.
        l2: pulls the weights towards zero.
    """

    alpha: float
    beta: float
    l1: float
    l2: float


class FtrlProximal:
    """Learns one mini-batch after the other; each weight has a learning rate of its own.

    Algorithm 1 of H. B. McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013,
    with the summed gradient of a mini-batch where the paper has that of one impression.
    """

    def __init__(self, weights: int, rates: Rates) -> None:
        self.weights = np.zeros(weights)
        self._rates = rates
        self._z = np.zeros(weights)
        self._n = np.zeros(weights)

    def learn(
        self, touched: npt.NDArray[np.int64], labels: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Predict the rows of a mini-batch, then learn from what really happened.

        Args:
            touched: rows x features, the numbers of the weights that each row touches.
            labels: 1.0 or 0.0 for each row.

        Returns:
            what was predicted before learning: on these the loss is an honest one (section 5.1
            of the paper, progressive validation).
        """
        predicted = probabilities(self.weights, touched)
        errors = np.repeat(predicted - labels, touched.shape[1])
        gradient = np.bincount(touched.ravel(), weights=errors, minlength=len(self.weights))

        n = self._n + gradient**2
        sigma = (np.sqrt(n) - np.sqrt(self._n)) / self._rates.alpha
        self._z += gradient - sigma * self.weights
        self._n = n
        self.weights = self._closed_form()
        return predicted

    def _closed_form(self) -> npt.NDArray[np.float64]:
        rates = self._rates
        beyond_l1 = np.sign(self._z) * np.maximum(np.abs(self._z) - rates.l1, 0)
        return -beyond_l1 / ((rates.beta + np.sqrt(self._n)) / rates.alpha + rates.l2)


def probabilities(
    weights: npt.NDArray[np.floating], touched: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """The probability of a click for each row of rows x features."""
    log_odds = weights[touched].sum(axis=1, dtype=np.float64)
    odds: npt.NDArray[np.float64] = np.exp(np.clip(log_odds, -35, 35))
    return odds / (1 + odds)
