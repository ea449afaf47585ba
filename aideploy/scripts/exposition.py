"""The file that Prometheus' node_exporter reads for its textfile collector: made, and put in place.

Runs on the hosts as a part of metrics.py and drift.py (Python 3.8 or later, standard library only).
Format: https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md
"""

from __future__ import annotations

import math
import os
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_LABEL = 200


class Sample(NamedTuple):
    """One value of a metric, with its labels."""

    name: str
    labels: dict[str, str]
    value: float


def text(helps: dict[str, str], common: dict[str, str], samples: Iterable[Sample]) -> str:
    """Return the file. All values are gauges.

    Args:
        helps: what each metric is, in the order of the file.
        common: the labels that every sample has.
        samples: the values; of those with the same labels the first counts, and what is no finite
            number is left out.
    """
    lines: dict[str, dict[str, float]] = {name: {} for name in helps}
    for sample in samples:
        if math.isfinite(sample.value):
            labels = {**common, **sample.labels}
            lines[sample.name].setdefault(_labels(labels), sample.value)
    written = []
    for name, values in lines.items():
        if values:
            written += [f"# HELP {name} {helps[name]}", f"# TYPE {name} gauge"]
            written += [f"{name}{labels} {_number(value)}" for labels, value in values.items()]
    return "".join(line + "\n" for line in written)


def put(path: str, content: str) -> None:
    """Put the file in place by one rename. Where `fab setup` made a link, it is what that names.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    place = os.path.realpath(path)
    # node_exporter reads what ends in .prom, and nothing else.
    temporary = f"{place}.{os.getpid()}"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
        os.replace(temporary, place)
    except OSError:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    # What stands in a file of a host may hold half a character, which no UTF-8 can.
    whole = value[:LONGEST_LABEL].encode("utf-8", "replace").decode("utf-8")
    return whole.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", " ")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
