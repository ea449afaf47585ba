"""Tell Prometheus' node_exporter what is live on this host, how it was deployed and trained.

Runs on the hosts, by their Python (3.8 or later, standard library only), with exposition.py in one
text, as ROOT/metrics.sh, which `fab setup` puts there:

    python3 -c PROGRAM ROOT APP ENVIRONMENT FILE

It reads what lies below ROOT: current/release.json, journal.jsonl, jobs/. What is missing or
damaged there counts as unknown: its metric is left out, and the others are written all the same.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from calendar import timegm
from datetime import datetime

from aideploy.scripts.exposition import Sample, put, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

HELPS = {
    "aideploy_release_info": "Always 1; its labels say which release is live on this host.",
    "aideploy_release_timestamp_seconds": "When this release went live on this host.",
    "aideploy_deploy_last_success_timestamp_seconds": "When a release was judged good here last.",
    "aideploy_deploy_last_status": "1: the last release that went live here was good; 0: it was "
    "bad, or the host went back from it.",
    "aideploy_last_revert_timestamp_seconds": "When this host went back to an earlier release.",
    "aideploy_training_last_success_timestamp_seconds": "When a training ended well here last.",
    "aideploy_training_last_failed": "1: the last training here did not end well; 0: it did.",
    "aideploy_training_duration_seconds": "How long the last training that ended well took.",
    "aideploy_model_trained_timestamp_seconds": "When the model of the live release was trained.",
    "aideploy_model_metric": "What the training of the live model said of it.",
}
MOST_BYTES = 16 * 1024 * 1024
MOST_METRICS = 500
# Somebody's own wish is no failure.
CANCELLED = "CANCELLED"


def main(words: list[str]) -> int:
    root, app, environment, path = words
    samples = [*of_release(root), *of_journal(root), *of_training(root)]
    try:
        put(path, text(HELPS, {"app": app, "env": environment}, samples))
    except OSError as error:
        print(f"the metrics of this host are not written: {error}", file=sys.stderr)
        return 1
    return 0


# -- what is live ---------------------------------------------------------------------------------


def of_release(root: str) -> Iterator[Sample]:
    """Yield what is known of the live release."""
    try:
        release = os.path.basename(os.readlink(f"{root}/current"))
    except OSError:
        return
    record = read_object(f"{root}/current/release.json")
    labels = {
        "release": release,
        "revision": word(record, "revision"),
        "model": word(record, "model"),
    }
    yield Sample("aideploy_release_info", labels, 1)
    yield from moment("aideploy_release_timestamp_seconds", went_live(root, release))
    training = record.get("training")
    if isinstance(training, dict):
        yield from moment("aideploy_model_trained_timestamp_seconds", training.get("ended"))
    yield from of_metrics(record.get("metrics"))


def went_live(root: str, release: str) -> object:
    """Return when the journal says that this release went live; where it does not, its own time."""
    for entry in reversed(journal(root)):
        if entry.get("verdict") == "live" and entry.get("release") == release:
            return entry.get("at")
    stamp = release.partition("Z-")[0]
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%S").isoformat() + "+00:00"
    except ValueError:
        return None


def of_metrics(metrics: object) -> Iterator[Sample]:
    """Yield the numbers that the training wrote: of all rows, then of each slice."""
    if not isinstance(metrics, dict):
        return
    slices = metrics.get("slices")
    groups = [("", metrics)]
    if isinstance(slices, dict):
        groups += [(str(name), inside) for name, inside in slices.items()]
    left = MOST_METRICS
    for name, values in groups:
        for metric, value in values.items() if isinstance(values, dict) else ():
            number = finite(value)
            if number is not None and left > 0:
                left -= 1
                yield Sample("aideploy_model_metric", {"metric": metric, "slice": name}, number)


# -- how it was deployed --------------------------------------------------------------------------


def of_journal(root: str) -> Iterator[Sample]:
    """Yield what became of the deploys, as the journal says."""
    good = bad = reverted = None
    for entry in journal(root):
        verdict, at = entry.get("verdict"), seconds_of(entry.get("at"))
        if at is None:
            continue
        if verdict == "good":
            good = at
            bad = None
        elif verdict in ("bad", "reverted"):
            bad = at
            reverted = at if verdict == "reverted" else reverted
    if good is not None:
        yield Sample("aideploy_deploy_last_success_timestamp_seconds", {}, good)
    if good is not None or bad is not None:
        yield Sample("aideploy_deploy_last_status", {}, 0 if bad is not None else 1)
    if reverted is not None:
        yield Sample("aideploy_last_revert_timestamp_seconds", {}, reverted)


def journal(root: str) -> list[dict[str, Any]]:
    """Return the entries, oldest first; a line that a power cut tore is passed over."""
    try:
        with open(f"{root}/journal.jsonl", "rb") as file:
            # Its end is what counts.
            file.seek(max(0, os.fstat(file.fileno()).st_size - MOST_BYTES))
            lines = file.read().split(b"\n")
    except OSError:
        return []
    found = (parsed(line) for line in lines)
    return [entry for entry in found if entry]


# -- how it was trained ---------------------------------------------------------------------------


def of_training(root: str) -> Iterator[Sample]:
    """Yield how the trainings on this host ended."""
    ended = sorted(endings(f"{root}/jobs"), key=lambda one: one[0])
    well = [(at, status) for at, status in ended if status.get("state") == "SUCCEEDED"]
    if ended:
        yield Sample("aideploy_training_last_failed", {}, 0 if ended[-1] in well else 1)
    if well:
        at, status = well[-1]
        yield Sample("aideploy_training_last_success_timestamp_seconds", {}, at)
        took = finite(status.get("seconds"))
        if took is not None:
            yield Sample("aideploy_training_duration_seconds", {}, took)


def endings(jobs: str) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield when the jobs ended that nobody cancelled, and what their status says."""
    for name in names(jobs):
        attempts = f"{jobs}/{name}/attempts"
        for folder in [f"{jobs}/{name}", *(f"{attempts}/{one}" for one in names(attempts))]:
            status = read_object(f"{folder}/status.json")
            at = seconds_of(status.get("ended"))
            if at is not None and status.get("state") != CANCELLED:
                yield at, status
            elif at is None and is_lost(folder):
                yield last_sign(folder), {"state": "LOST"}


def is_lost(folder: str) -> bool:
    """Whether a job is gone without a word, as when the host was restarted.

    Of an engine whose jobs run here that can be seen: its lock is free. Another engine is not
    asked, which may take minutes: those who do (a deploy, `fab train.attach`, `fab train.status`)
    leave a note of which attempt they found to be lost.
    """
    if any(os.path.exists(f"{folder}/{name}") for name in ("status.json", "cancel")):
        return False
    engine = first_line(f"{folder}/engine")
    if engine.split()[:1] not in (["local"], ["torchrun"]):
        handed_over = len(engine.split()) > 1
        return handed_over and first_line(f"{folder}/lost") == engine
    if not os.path.exists(f"{folder}/started"):
        return False
    try:
        with open(f"{folder}/alive", "rb") as alive:
            fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def first_line(path: str) -> str:
    """Return the first line of a file; nothing where there is none."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.readline().rstrip("\n")
    except OSError:
        return ""


def last_sign(folder: str) -> float:
    """Return when the job is known to have lived."""
    signs = [f"{folder}/{name}" for name in ("engine", "started", "log")]
    return max(os.stat(sign).st_mtime for sign in signs if os.path.exists(sign))


def names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


# -- what may be damaged --------------------------------------------------------------------------


def read_object(path: str) -> dict[str, Any]:
    """Return the JSON object in a file; an empty one where there is none."""
    try:
        with open(path, "rb") as file:
            return parsed(file.read(MOST_BYTES))
    except OSError:
        return {}


def parsed(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def word(values: dict[str, Any], key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""


def finite(value: object) -> float | None:
    """Return the number; None where it is none. Too large ones are none either."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def moment(name: str, value: object) -> Iterator[Sample]:
    at = seconds_of(value)
    if at is not None:
        yield Sample(name, {}, at)


def seconds_of(value: object) -> float | None:
    """Return the seconds since 1970 of a time as ISO 8601 writes it; without a zone it is UTC."""
    if not isinstance(value, str):
        return None
    try:
        # Before Python 3.11 it does not know the Z.
        at = datetime.fromisoformat(value[:-1] + "+00:00" if value.endswith("Z") else value)
        return float(timegm(at.utctimetuple()))
    except (ValueError, OverflowError):
        return None
