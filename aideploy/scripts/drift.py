"""Say how far what the live release sees is from what its model was trained on.

Runs on the hosts, by their Python (3.8 or later, standard library only), with exposition.py and
drift_scores.py in one text, from ROOT/drift.sh, which a timer starts:

    python3 -c PROGRAM REQUEST

REQUEST is JSON, from `services/telling_metrics.py`. The rows come from the file that the service
appends to, or from the project's own command; docs/drift.md describes them. What it finds goes to
Prometheus' node_exporter. Exit status 0: it was found out, or there were too few rows to tell.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from datetime import datetime, timezone

from aideploy.scripts.drift_scores import BadReference, Column, columns, counted, number_of, score
from aideploy.scripts.exposition import Sample, put, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

HELPS = {
    "aideploy_drift_score": "How far a feature, or the prediction, is from the training's; 0: not.",
    "aideploy_drift_window_rows": "So many rows were compared with the training's.",
    "aideploy_drift_last_failed": "1: how far the data has drifted could not be found out.",
    "aideploy_drift_timestamp_seconds": "When that was found out, or tried.",
}
MOST_BYTES = 64 * 1024 * 1024
MOST_ROWS = 200_000
# A clock that runs ahead is no reason to pass its rows over.
AHEAD = 60.0


class CannotTell(Exception):
    """There is no telling how far the data has drifted; the text says why."""


def main(words: list[str]) -> int:
    request = json.loads(words[0])
    now = time.time()
    samples = [Sample("aideploy_drift_timestamp_seconds", {}, now // 1)]
    status = 0
    try:
        samples += found(request, now)
    except (CannotTell, BadReference) as error:
        print(f"drift: {error}", file=sys.stderr)
        status = 1
    samples.append(Sample("aideploy_drift_last_failed", {}, status))
    labels = {"app": request["app"], "env": request["environment"]}
    try:
        put(request["file"], text(HELPS, labels, samples))
    except OSError as error:
        print(f"drift: it is not written: {error}", file=sys.stderr)
        return 1
    return status


def found(request: dict[str, Any], now: float) -> list[Sample]:
    """Return what there is to tell.

    Raises:
        CannotTell, BadReference: there is nothing to tell.
    """
    reference = read_reference(f"{request['root']}/current/{request['reference']}")
    rows = collected(read_rows(request, now), [column.name for column in reference])
    samples = [Sample("aideploy_drift_window_rows", {}, len(rows))]
    if len(rows) < request["min_rows"]:
        print(f"drift: {len(rows)} rows are too few to tell; {request['min_rows']} are enough")
        return samples
    worst = (0.0, "", "")
    for place, column in enumerate(reference):
        for method, value in scores(column, [row[place] for row in rows], request["methods"]):
            worst = max(worst, (value, column.name, method))
            labels = {"feature": column.name, "method": method}
            samples.append(Sample("aideploy_drift_score", labels, value))
    print(f"drift: {len(rows)} rows; furthest is {worst[1]}: {worst[2]} {worst[0]:.3f}")
    return samples


def scores(
    column: Column, values: list[object], methods: Iterable[str]
) -> Iterator[tuple[str, float]]:
    counts, numbers = counted(column, values)
    for method in methods:
        value = score(method, column, counts, numbers)
        if value is not None:
            yield method, round(value, 6)


def read_reference(path: str) -> list[Column]:
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise CannotTell(
            f"the live release has no reference: {path}: {error.strerror}; its training writes it"
        ) from error
    try:
        return columns(json.loads(data.decode("utf-8")))
    except (ValueError, RecursionError) as error:
        raise BadReference(f"{path} is no JSON: {error}") from error
    except BadReference as error:
        raise BadReference(f"{path}: {error}") from error


# -- the rows -------------------------------------------------------------------------------------


def collected(rows: Iterable[dict[str, Any]], names: list[str]) -> list[tuple[Any, ...]]:
    """Return of each row what the reference has, the newest rows where they are too many."""
    return list(deque((tuple(row.get(name) for name in names) for row in rows), MOST_ROWS))


def read_rows(request: dict[str, Any], now: float) -> Iterator[dict[str, Any]]:
    """Yield the rows of the window."""
    if request["command"]:
        return from_output(printed(request))
    # What was rotated away a moment ago belongs to the window too.
    path = f"{request['root']}/current/{request['log']}"
    lines = (line for name in (f"{path}.1", path) for line in last_lines(name))
    first = now - request["window"]
    return (row for row in from_lines(lines) if first <= time_of(row) <= now + AHEAD)


def last_lines(path: str) -> Iterator[bytes]:
    """Yield the lines of a file, as far as they are whole; of a huge one the last of them."""
    try:
        file = open(path, "rb")  # noqa: SIM115  # that it is gone is no error, what follows may be
    except FileNotFoundError:
        return
    except OSError as error:
        raise CannotTell(f"cannot read {path}: {error.strerror}") from error
    with file:
        size = os.fstat(file.fileno()).st_size
        if size > MOST_BYTES:
            file.seek(size - MOST_BYTES)
            file.readline()
        for line in file:
            if line.endswith(b"\n"):
                yield line


def printed(request: dict[str, Any]) -> list[bytes]:
    """Return the lines that the project's own command prints.

    Raises:
        CannotTell: it failed, took too long or printed too much.
    """
    seconds = request["timeout"]
    environment = {**os.environ, "WINDOW_SECONDS": str(int(request["window"]))}
    try:
        running = subprocess.Popen(
            ["/bin/bash", "-c", request["command"]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise CannotTell(f"the command cannot be started: {error.strerror}") from error

    def give_up(*_: object) -> None:
        raise CannotTell(f"the command took longer than {seconds:g} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(max(1, int(seconds)))
    try:
        assert running.stdout is not None
        data = running.stdout.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise CannotTell(f"the command printed more than {MOST_BYTES} bytes")
        status = running.wait()
    finally:
        signal.alarm(0)
        with contextlib.suppress(OSError):
            os.killpg(running.pid, signal.SIGKILL)
    if status != 0:
        raise CannotTell(f"the command failed (exit status {status})")
    return data.splitlines(keepends=True)


def from_output(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the rows that a command printed: CSV below a line of names, or objects of JSON."""
    first = lines[0].lstrip() if lines else b""
    return from_lines(lines) if first[:1] in (b"", b"{") else from_table(lines)


def from_table(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the rows of CSV below a line of names."""
    names, *rows = (cells(line.decode("utf-8", "replace").strip("\r\n")) for line in lines)
    bad = 0
    for values in rows:
        if len(values) == len(names):
            yield dict(zip(names, values))  # noqa: B905  # Python 3.8 has no strict
        else:
            bad += bool(values)
    tell_of(bad)


def from_lines(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the rows: objects of JSON, one a line."""
    bad = 0
    for raw in lines:
        line = raw.decode("utf-8", "replace").strip("\r\n")
        row = parsed(line)
        if row is None:
            bad += bool(line)
        else:
            yield row
    tell_of(bad)


def tell_of(bad: int) -> None:
    if bad:
        print(f"drift: {bad} lines are no rows and were passed over", file=sys.stderr)


def cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def parsed(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def time_of(row: dict[str, Any]) -> float:
    """Return when a row was written: its "at", in seconds since 1970 or as ISO 8601 has it; long
    ago where it does not say."""
    at = row.get("at")
    if isinstance(at, str):
        try:
            when = datetime.fromisoformat(at[:-1] + "+00:00" if at.endswith("Z") else at)
            when = when if when.tzinfo else when.replace(tzinfo=timezone.utc)  # noqa: UP017
            return when.timestamp()
        except (ValueError, OverflowError):
            pass
    number = number_of(at)
    return number if number is not None else 0.0
