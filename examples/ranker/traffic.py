"""Four weeks of ad impressions, made up with a seed: what a real ranker would read from its logs.

Called by `train.py`. The clicks follow rules that the model has to find out: some ads are better
than others, people like ads that match their interest, phones suit some categories, a lower
position is seen less, and ads wear out, so that the last days differ from the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from features import Column

DAYS = 28
POSITIONS = 5
TOPICS = (
    "books",
    "cars",
    "cooking",
    "fashion",
    "films",
    "finance",
    "games",
    "garden",
    "health",
    "music",
    "sports",
    "travel",
)
DEVICES = ("mobile", "desktop", "tablet")

_USERS = 20_000
_MEAN_DAYS_KNOWN = 60
_ADS = 400
_SITES = 150
_CLICKINESS = -2.95  # log-odds that give about 5 clicks in 100 impressions
_CURIOSITY = 0.3
_MATCH = 1.5
_WEAR_PER_DAY = 0.005
_POSITION_EFFECT = np.array([0.0, -0.35, -0.65, -0.9, -1.1])


@dataclass(frozen=True)
class Traffic:
    """Impressions in the order in which they happened, and which of them were clicked.

    Args:
        columns: one column for each of `features.FIELDS`.
        day: the day of each impression, counted from 0, ascending.
        clicked: 1.0 for a click, 0.0 for none.
    """

    columns: Mapping[str, Column]
    day: npt.NDArray[np.int64]
    clicked: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.clicked)

    def has(self, field: str, name: str) -> npt.NDArray[np.bool_]:
        """The rows whose field has this value."""
        column = self.columns[field]
        rows: npt.NDArray[np.bool_] = column.codes == column.names.index(name)
        return rows

    def sha256(self) -> str:
        """The fingerprint of the data: any other impression or click gives another one."""
        digest = sha256()
        for field, column in self.columns.items():
            digest.update("\0".join((field, *column.names)).encode())
            digest.update(column.codes.tobytes())
        digest.update(self.day.tobytes())
        digest.update(self.clicked.tobytes())
        return digest.hexdigest()


def generate(rows: int, seed: int) -> Traffic:
    """Make up `rows` impressions; the same arguments give the same ones."""
    random = np.random.default_rng(seed)

    first_day = np.sort(DAYS - random.exponential(_MEAN_DAYS_KNOWN, _USERS).astype(np.int64))
    user_taste = random.normal(0, 0.4, _USERS)
    user_interest = random.integers(0, len(TOPICS), _USERS)
    ad_quality = random.normal(0, 0.5, _ADS)
    ad_category = random.integers(0, len(TOPICS), _ADS)
    site_effect = random.normal(0, 0.3, _SITES)
    affinity = random.normal(0, 0.35, (len(TOPICS), len(TOPICS))) + _MATCH * np.eye(len(TOPICS))
    device_suits = random.normal(0, 0.35, (len(DEVICES), len(TOPICS)))

    day = np.sort(random.integers(0, DAYS, rows))
    users_so_far = np.searchsorted(first_day, np.arange(DAYS), side="right")
    user = (users_so_far[day] * random.random(rows)).astype(np.int64)
    days_known = day - first_day[user]
    ad = _popular_first(random, _ADS, rows)
    site = _popular_first(random, _SITES, rows)
    device = random.choice(len(DEVICES), rows, p=(0.6, 0.3, 0.1))
    hour = random.binomial(23, 0.62, rows)
    position = _shown_at(ad_quality[ad] + random.normal(0, 1, rows))

    log_odds = (
        _CLICKINESS
        + user_taste[user]
        + _CURIOSITY * (days_known < 7)
        + ad_quality[ad]
        + site_effect[site]
        + affinity[user_interest[user], ad_category[ad]]
        + device_suits[device, ad_category[ad]]
        + 0.25 * np.sin(hour * np.pi / 12)
        + _POSITION_EFFECT[position]
        - _WEAR_PER_DAY * day
    )
    clicked = (random.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(np.float64)

    columns = {
        "user": Column(_numbered("user", _USERS), user),
        "tenure": Column.tenure(days_known),
        "interest": Column(TOPICS, user_interest[user]),
        "ad": Column(_numbered("ad", _ADS), ad),
        "category": Column(TOPICS, ad_category[ad]),
        "device": Column(DEVICES, device),
        "site": Column(_numbered("site", _SITES), site),
        "hour": Column(tuple(str(each) for each in range(24)), hour),
        "position": Column(tuple(str(each + 1) for each in range(POSITIONS)), position),
    }
    return Traffic(columns, day, clicked)


def _popular_first(random: np.random.Generator, choices: int, rows: int) -> npt.NDArray[np.int64]:
    """Draws in which the first choices come up far more often than the last, as on any site."""
    return (choices * random.random(rows) ** 2).astype(np.int64)


def _shown_at(score: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The position that the previous ranker gave: better ads higher up, as far as it could tell.

    So clicks on a good ad are partly clicks on a good position, and a model that is not told the
    position mistakes one for the other.
    """
    limits = np.quantile(score, np.arange(1, POSITIONS) / POSITIONS)
    return POSITIONS - 1 - np.searchsorted(limits, score).astype(np.int64)


def _numbered(kind: str, count: int) -> tuple[str, ...]:
    return tuple(f"{kind}-{number}" for number in range(1, count + 1))
