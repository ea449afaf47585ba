"""How far what a service sees now is from what its model was trained on, in numbers.

Runs on the hosts as a part of drift.py (Python 3.8 or later, standard library only). Knows a
reference and rows, and nothing of files. All scores are effect sizes, 0 where nothing has changed:
they do not grow with the number of rows, as the certainty of a statistical test does.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# A part of no rows counts as this much: the logarithm of nothing would be endless.
LEAST_SHARE = 0.0001
FORMAT = 1


class BadReference(Exception):
    """The reference is not as docs/drift.md describes it; the text says where."""


class Column(NamedTuple):
    """What one column of the rows looked like in training.

    Args:
        name: of the column.
        edges: between the bins of numbers, ascending; None for categories.
        categories: the bins of categories; None for numbers.
        counts: so many rows in each bin; then, of categories, in others; at last without a value.
        quantiles: numbers at evenly spread ranks, ascending; may be empty.
        spread: the standard deviation of the numbers.
    """

    name: str
    edges: list[float] | None
    categories: list[str] | None
    counts: list[float]
    quantiles: list[float]
    spread: float


# -- the reference --------------------------------------------------------------------------------


def columns(reference: Any) -> list[Column]:
    """Return what a reference says of each column.

    Raises:
        BadReference: it is not as it should be.
    """
    if not isinstance(reference, dict) or not isinstance(reference.get("columns"), dict):
        raise BadReference('it is no object with "columns"')
    if reference.get("format") != FORMAT:
        raise BadReference(f'its "format" is {reference.get("format")!r}, expected {FORMAT}')
    if not reference["columns"]:
        raise BadReference("it has no columns")
    return [_column(str(name), value) for name, value in reference["columns"].items()]


def _column(name: str, value: Any) -> Column:
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind == "numeric":
        return _numeric(name, value)
    if kind == "categorical":
        return _categorical(name, value)
    raise BadReference(f'column {name}: expected "kind": "numeric" or "categorical"')


def _numeric(name: str, value: dict[str, Any]) -> Column:
    edges, counts = _numbers(name, value, "edges"), _numbers(name, value, "counts")
    if sorted(set(edges)) != edges:
        raise BadReference(f'column {name}: "edges" do not ascend')
    if len(counts) != len(edges) + 1:
        raise BadReference(
            f'column {name}: expected {len(edges) + 1} "counts", found {len(counts)}'
        )
    quantiles = _numbers(name, value, "quantiles") if "quantiles" in value else []
    if sorted(quantiles) != quantiles:
        raise BadReference(f'column {name}: "quantiles" do not ascend')
    spread = value.get("std", 0.0)
    if not _is_number(spread) or spread < 0:
        raise BadReference(f'column {name}: "std" is no number from 0 on')
    return Column(
        name, edges, None, _counted(name, [*counts, _missing(name, value)]), quantiles, spread
    )


def _categorical(name: str, value: dict[str, Any]) -> Column:
    counts = value.get("counts")
    if not isinstance(counts, dict):
        raise BadReference(f'column {name}: "counts" is no object')
    numbers = [*counts.values(), value.get("other", 0), _missing(name, value)]
    return Column(name, None, list(counts), _counted(name, numbers), [], 0.0)


def _missing(name: str, value: dict[str, Any]) -> Any:
    return value.get("missing", 0)


def _counted(name: str, counts: list[Any]) -> list[float]:
    if not all(_is_number(count) and count >= 0 for count in counts) or sum(counts) <= 0:
        raise BadReference(f"column {name}: its counts are no numbers of rows")
    return counts


def _numbers(name: str, value: dict[str, Any], key: str) -> list[float]:
    numbers = value.get(key)
    if not isinstance(numbers, list) or not all(map(_is_number, numbers)):
        raise BadReference(f'column {name}: "{key}" is no list of numbers')
    return numbers


def _is_number(value: object) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


# -- the rows -------------------------------------------------------------------------------------


def counted(column: Column, values: Sequence[object]) -> tuple[list[float], list[float]]:
    """Return how many of the values fall in each bin, in the order of `Column.counts`, and the
    numbers among them, ascending.

    A new category is one of the others. What is no value of its column (NaN, a word among numbers)
    counts as missing.
    """
    counts: list[float] = [0] * len(column.counts)
    numbers: list[float] = []
    if column.edges is not None:
        for value in values:
            number = number_of(value)
            if number is None:
                counts[-1] += 1
            else:
                numbers.append(number)
                counts[bisect_right(column.edges, number)] += 1
        return counts, sorted(numbers)
    places = {category: place for place, category in enumerate(column.categories or ())}
    for value in values:
        category = category_of(value)
        counts[-1 if category is None else places.get(category, -2)] += 1
    return counts, numbers


def number_of(value: object) -> float | None:
    """Return the number; None where there is none. A truth value is 1 or 0."""
    if not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def category_of(value: object) -> str | None:
    """Return the name of the category; None where there is none. 3 and 3.0 are the same one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value == int(value) else repr(value)
    if isinstance(value, (int, str)):
        return str(value) or None
    return None


# -- the scores -----------------------------------------------------------------------------------


def score(
    method: str, column: Column, counts: Sequence[float], numbers: Sequence[float]
) -> float | None:
    """Return how far the rows are from the reference; None where the method has no answer.

    Args:
        method: psi, js or wasserstein.
        column: the reference.
        counts, numbers: of the rows, as `counted` returns them.
    """
    if method == "wasserstein":
        if not column.quantiles or not numbers:
            return None
        return normalised(wasserstein(column.quantiles, numbers), column)
    function = {"psi": psi, "js": jensen_shannon}[method]
    return function(shares(column.counts), shares(counts))


def shares(counts: Sequence[float]) -> list[float]:
    whole = sum(counts)
    return [count / whole for count in counts]


def psi(expected: Sequence[float], found: Sequence[float]) -> float:
    """Return the population stability index: the sum of (q - p) ln(q / p) over all bins.

    Jeffreys' divergence. Below 0.1 nothing to speak of, above 0.25 a shift, by the rule of thumb of
    N. Siddiqi, "Credit Risk Scorecards" (2006). A bin that is empty in one of both counts as
    LEAST_SHARE.
    """
    total = 0.0
    for p, q in zip(expected, found):  # noqa: B905  # Python 3.8 has no strict
        if p or q:
            p, q = max(p, LEAST_SHARE), max(q, LEAST_SHARE)
            total += (q - p) * math.log(q / p)
    return total


def jensen_shannon(expected: Sequence[float], found: Sequence[float]) -> float:
    """Return the distance of Jensen and Shannon, to the base 2: from 0 to 1.

    D. M. Endres and J. E. Schindelin, "A new metric for probability distributions", IEEE
    Transactions on Information Theory 49 (2003).
    """
    total = 0.0
    for p, q in zip(expected, found):  # noqa: B905  # Python 3.8 has no strict
        middle = (p + q) / 2
        total += sum(part * math.log2(part / middle) / 2 for part in (p, q) if part > 0)
    return math.sqrt(max(0.0, total))


def wasserstein(expected: Sequence[float], found: Sequence[float]) -> float:
    """Return the mean way that a value has to go from one distribution to the other.

    Args:
        expected, found: numbers, ascending; each of a list weighs the same.
    """
    total, low = 0.0, 0.0
    one, other = 0, 0
    while one < len(expected) and other < len(found):
        ends = (one + 1) / len(expected), (other + 1) / len(found)
        high = min(ends)
        total += abs(expected[one] - found[other]) * (high - low)
        low = high
        # In whole numbers: two ends that meet have to meet.
        left = (one + 1) * len(found) - (other + 1) * len(expected)
        one += left <= 0
        other += left >= 0
    return total


def normalised(distance: float, column: Column) -> float:
    """Return the distance in standard deviations of the reference.

    Where every value was the same there is no deviation: then the value itself is the measure, or 1
    where it is 0.
    """
    if column.spread > 0:
        return distance / column.spread
    return distance / (abs(column.quantiles[0]) or 1.0)
