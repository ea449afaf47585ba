"""When the answer of a model is right: the rules by which golden.py compares two answers.

Runs on the hosts as a part of golden.py (Python 3.8 or later, standard library only), and on the
controller. Knows JSON values and nothing of requests.
"""

from __future__ import annotations

import json
import math
import re
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

LONGEST_SHOWN = 160
# So many different expected numbers, all answered with one and the same, are no coincidence.
FEWEST_CONSTANT = 3


class Rules(NamedTuple):
    """How much a number may differ, absolute or relative, and names of fields that do not count."""

    tolerance: float
    tolerance_rel: float
    ignore: frozenset[str]

    def replaced(self, written: dict[str, Any]) -> Rules:
        """Return the rules for a request of its own tolerances, which then stand alone."""
        if not {"tolerance", "tolerance_rel"} & set(written):
            return self
        absolute, relative = written.get("tolerance", 0), written.get("tolerance_rel", 0)
        return Rules(float(absolute), float(relative), self.ignore)


class Number(NamedTuple):
    """Two numbers that were compared, and where they stand."""

    where: str
    expected: float
    found: float

    def off(self) -> float:
        return abs(self.found - self.expected)


class Comparison:
    """What came of comparing an answer with the expected one.

    wrong: the differences that no rule allows, in words. numbers: all pairs of numbers.
    """

    def __init__(self, rules: Rules) -> None:
        self.wrong: list[str] = []
        self.numbers: list[Number] = []
        self._rules = rules

    def compare(self, expected: Any, found: Any, where: str = "") -> None:
        """Walk through what is expected; what the answer holds beyond that is not looked at.

        All numbers are finite: `not_finite` has nothing to say of either.
        """
        if isinstance(expected, dict) and isinstance(found, dict):
            for name, value in expected.items():
                place = below(where, name)
                if name in self._rules.ignore:
                    continue
                if name in found:
                    self.compare(value, found[name], place)
                else:
                    self._differ(place, shown(value), "nothing")
        elif isinstance(expected, list) and isinstance(found, list):
            if len(expected) != len(found):
                self._differ(where, f"a list of {len(expected)}", f"a list of {len(found)}")
            for index, (one, other) in enumerate(zip(expected, found)):  # noqa: B905  # 3.8
                self.compare(one, other, f"{where}[{index}]")
        elif is_number(expected) and is_number(found):
            number = Number(where, expected, found)
            self.numbers.append(number)
            within = max(self._rules.tolerance, self._rules.tolerance_rel * abs(expected))
            if not number.off() <= within:
                self._differ(where, f"{shown(expected)} (within {within:.4g})", shown(found))
        elif type(expected) is not type(found) or expected != found:
            self._differ(where, shown(expected), shown(found))

    def _differ(self, where: str, expected: str, found: str) -> None:
        self.wrong.append(f"{where or 'the answer'}: expected {expected}, found {found}")


def not_finite(value: Any, where: str = "") -> Iterator[str]:
    """Yield where NaN, infinity, or a number beyond all floats, stands in an answer."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from not_finite(inner, below(where, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from not_finite(inner, f"{where}[{index}]")
    elif is_number(value) and not is_finite(value):
        yield where or "the answer"


def constants(numbers: Sequence[Sequence[Number]]) -> Iterator[str]:
    """Yield the fields that are the same in all answers although they are expected to differ.

    numbers: of each request. The places of a list count as one field.
    """
    fields: dict[str, list[Number]] = {}
    for one in numbers:
        for number in one:
            fields.setdefault(re.sub(r"\[\d+\]", "[]", number.where), []).append(number)
    for where, found in fields.items():
        expected = {number.expected for number in found}
        if len(expected) >= FEWEST_CONSTANT and len({number.found for number in found}) == 1:
            yield (
                f"{where or 'the answer'} is {shown(found[0].found)} in all {len(found)} places, "
                f"where {len(expected)} different numbers are expected"
            )


def below(where: str, name: str) -> str:
    """The place of a field; a name that is no plain word is quoted."""
    word = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
    return f"{where}.{word}" if where else word


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return names.get(type(value), "a number" if is_number(value) else "null")


def shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."
