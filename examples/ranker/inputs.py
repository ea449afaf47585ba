"""What a caller of `/predict` sends, checked: a `Question`, or `BadInput` that says what is wrong.

Called by `service.py`. Whatever comes over the wire, nothing but these two leaves this module.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from features import Column

MOST_ADS = 200
_LONGEST_NAME = 64
_LONGEST_STAY = 36_500


class BadInput(ValueError):
    """The request makes no sense; the text says which field, what was found, what is expected."""


class Device(StrEnum):
    """The devices that the model was trained on."""

    MOBILE = "mobile"
    DESKTOP = "desktop"
    TABLET = "tablet"


@dataclass(frozen=True)
class User:
    """Who is looking. `days` is how long we have known them, in whole days."""

    id: str
    interest: str
    days: int


@dataclass(frozen=True)
class Ad:
    """An ad that could be shown."""

    id: str
    category: str


@dataclass(frozen=True)
class Context:
    """Where and when. `hour` is the local hour, 0 to 23."""

    device: Device
    site: str
    hour: int


@dataclass(frozen=True)
class Question:
    """Which of these ads is this user most likely to click here and now?"""

    user: User
    ads: tuple[Ad, ...]
    context: Context

    def columns(self) -> dict[str, Column]:
        """One row for each ad.

        Every ad is judged as if it stood in the first position: the position was a feature in
        training only so that the other weights do not have to explain its effect. See H. Guo et
        al., "PAL: a position-bias aware learning framework for CTR prediction in live
        recommender systems", RecSys 2019, section 3.
        """
        rows = len(self.ads)
        return {
            "user": Column.constant(self.user.id, rows),
            "tenure": Column.tenure([self.user.days] * rows),
            "interest": Column.constant(self.user.interest, rows),
            "ad": Column.of(ad.id for ad in self.ads),
            "category": Column.of(ad.category for ad in self.ads),
            "device": Column.constant(self.context.device, rows),
            "site": Column.constant(self.context.site, rows),
            "hour": Column.constant(str(self.context.hour), rows),
            "position": Column.constant("1", rows),
        }


def parse(body: bytes) -> Question:
    """Read the JSON body of a request.

    Raises:
        BadInput: it is not JSON, or a field is missing, unknown or out of range.
    """
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the body is not JSON: {error}") from error

    parts = _fields(sent, "the body", "user", "ads", "context")
    user = _fields(parts["user"], "user", "id", "interest", "days")
    context = _fields(parts["context"], "context", "device", "site", "hour")
    return Question(
        user=User(
            id=_name(user["id"], "user.id"),
            interest=_name(user["interest"], "user.interest"),
            days=_number(user["days"], "user.days", _LONGEST_STAY),
        ),
        ads=_ads(parts["ads"]),
        context=Context(
            device=_device(context["device"]),
            site=_name(context["site"], "context.site"),
            hour=_number(context["hour"], "context.hour", 23),
        ),
    )


def _ads(sent: object) -> tuple[Ad, ...]:
    if not isinstance(sent, list) or not 1 <= len(sent) <= MOST_ADS:
        raise BadInput(f"ads: expected a list of 1 to {MOST_ADS} ads, found {_shown(sent)}")
    ads = []
    for number, each in enumerate(sent):
        ad = _fields(each, f"ads[{number}]", "id", "category")
        name, category = f"ads[{number}].id", f"ads[{number}].category"
        ads.append(Ad(_name(ad["id"], name), _name(ad["category"], category)))
    return tuple(ads)


def _fields(sent: object, where: str, *expected: str) -> Mapping[str, Any]:
    if not isinstance(sent, dict):
        raise BadInput(f"{where}: expected an object, found {_shown(sent)}")
    for missing in [field for field in expected if field not in sent]:
        raise BadInput(f"{where}: {missing} is missing; expected {', '.join(expected)}")
    for unknown in [field for field in sent if field not in expected]:
        raise BadInput(f"{where}: {_shown(unknown)} is unknown; expected {', '.join(expected)}")
    return sent


def _name(sent: object, where: str) -> str:
    if not isinstance(sent, str) or not 1 <= len(sent) <= _LONGEST_NAME or not sent.isprintable():
        raise BadInput(
            f"{where}: expected a text of 1 to {_LONGEST_NAME} printable characters, "
            f"found {_shown(sent)}"
        )
    return sent


def _number(sent: object, where: str, most: int) -> int:
    if not isinstance(sent, int) or isinstance(sent, bool) or not 0 <= sent <= most:
        raise BadInput(f"{where}: expected a whole number from 0 to {most}, found {_shown(sent)}")
    return sent


def _device(sent: object) -> Device:
    try:
        return Device(sent)  # type: ignore[arg-type]
    except ValueError:
        known = ", ".join(Device)
        raise BadInput(f"context.device: expected one of {known}, found {_shown(sent)}") from None


def _shown(sent: object) -> str:
    """What was found, short enough for a message."""
    text = json.dumps(sent)
    return text if len(text) <= 60 else f"{text[:57]}..."
