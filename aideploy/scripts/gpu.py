"""The memory of this host's GPUs, as nvidia-smi tells it.

Runs on the hosts, by their Python (3.8 or later, standard library only):

    python3 -c PROGRAM look PID              who has how much, as JSON
    python3 -c PROGRAM wait BEFORE SECONDS   the service is stopped: wait until it has no more
    python3 -c PROGRAM room ROOT APP         what the slots have and what is free, GPU by GPU

PID is the service's main process, BEFORE what `look` printed. The last line that `wait` prints is
the result in words; exit status 0: it is free. `phases/gpu.py` reads what `room` prints. The
driver lists a process until it is gone, and gives its memory back a moment later, sometimes many
seconds: both have to be over, or the next service finds no room.

Formats: nvidia-smi --help-query-gpu and --help-query-compute-apps.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import time
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Memory = dict[str, int]

NVIDIA_SMI_SECONDS = 30
INTERVAL_SECONDS = 0.5
# How far the numbers may be off: what the driver keeps or gives to others in between.
SLACK_MIB = 64


class App(NamedTuple):
    """A process on a GPU; `mib` is None where nvidia-smi does not tell."""

    pid: str
    gpu: str
    mib: int | None


class Before(NamedTuple):
    """What `look` found; `used` is the MiB in use on each GPU, `mine` the service's processes."""

    used: Memory
    apps: list[App]
    mine: list[str]


def asked(what: str) -> list[list[str]]:
    """Return the rows that nvidia-smi prints; none where there is no nvidia-smi that works."""
    command = ["nvidia-smi", what, "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(
            command, stdout=subprocess.PIPE, timeout=NVIDIA_SMI_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    rows = csv.reader(said.stdout.decode("utf-8", "replace").splitlines(), skipinitialspace=True)
    return [[cell.strip() for cell in row] for row in rows]


def used() -> Memory:
    rows = asked("--query-gpu=uuid,memory.used")
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def free() -> Memory:
    rows = asked("--query-gpu=uuid,memory.free")
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def apps() -> list[App]:
    rows = asked("--query-compute-apps=pid,gpu_uuid,used_memory")
    return [
        App(row[0], row[1], int(row[2]) if row[2].isdigit() else None)
        for row in rows
        if len(row) == 3 and row[0].isdigit()
    ]


# -- whose processes ------------------------------------------------------------------------------


def content(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def parent(pid: str) -> str:
    found = re.search(r"^PPid:\s*(\d+)", content(f"/proc/{pid}/status"), re.MULTILINE)
    return found.group(1) if found else ""


def unit(pid: str) -> str:
    """Return the unit of systemd that a process belongs to; nothing where it belongs to none.

    The path of its control group ends with the unit or with groups below it (a container's).
    """
    for line in content(f"/proc/{pid}/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if controllers == "name=systemd" or (number == "0" and path != "/"):
            units = [part for part in path.split("/") if part.endswith(".service")]
            if units:
                return units[-1]
    return ""


def belongs(pid: str, service: str) -> bool:
    """Whether a process is the service's: below its main process, or in its unit."""
    mine = unit(service)
    if mine and "@" in mine and unit(pid) == mine:
        return True
    while pid not in ("", "0", "1"):
        if pid == service:
            return True
        pid = parent(pid)
    return False


# -- waiting --------------------------------------------------------------------------------------


def look(service: str) -> Before:
    """Return who has how much, and which of them are the service's."""
    found = apps()
    mine = [app.pid for app in found if service not in ("", "0") and belongs(app.pid, service)]
    return Before(used(), found, mine)


def wait(before: Before, seconds: float) -> tuple[bool, str]:
    """Return whether the memory of the service became free in time, and that in words."""
    earlier = [App(*app) for app in before.apps]
    # Those of a container may be nobody's children: whoever ended with the service was its.
    gone = {app.pid for app in earlier if not os.path.exists(f"/proc/{app.pid}")}
    mine = gone.union(before.mine)
    if not mine:
        return True, "nothing of the service was on a GPU"
    freed = sum(app.mib or 0 for app in earlier if app.pid in mine)
    began = time.monotonic()
    while True:
        held = list(holding(before.used, earlier, mine, used(), apps()))
        waited = time.monotonic() - began
        if not held:
            return True, f"the GPU's memory is free after {waited:.1f} s: {freed} MiB"
        if waited >= seconds:
            return False, f"after {waited:.0f} s the GPU's memory is not free: {'; '.join(held)}"
        time.sleep(min(INTERVAL_SECONDS, max(0.01, seconds - waited)))


def holding(
    used_before: Memory, earlier: list[App], mine: set[str], used_now: Memory, now: list[App]
) -> Iterator[str]:
    """Yield in words what is not free yet, GPU by GPU."""
    for gpu in sorted({app.gpu for app in earlier if app.pid in mine}):
        still = sorted({app.pid for app in now if app.gpu == gpu and app.pid in mine})
        if still:
            yield f"{gpu} is held by process {', '.join(still)}"
            continue
        had = [app.mib for app in earlier if app.gpu == gpu and app.pid in mine]
        if None in had or gpu not in used_now or gpu not in used_before:
            continue
        others = total(app for app in now if app.gpu == gpu)
        others -= total(app for app in earlier if app.gpu == gpu and app.pid not in mine)
        expected = used_before[gpu] - sum(mib or 0 for mib in had) + others
        if used_now[gpu] > expected + SLACK_MIB:
            yield f"{gpu} has {used_now[gpu]} MiB in use, {expected} MiB are expected"


def total(some: Iterable[App]) -> int:
    return sum(app.mib or 0 for app in some)


# -- room for two ---------------------------------------------------------------------------------


def room(root: str, app: str) -> Iterator[str]:
    """Yield `GPU FREE LIVE OTHER` for each GPU: MiB free, and in use by the live slot and another.

    What the live slot has is "?" where nvidia-smi does not tell.
    """
    slots = {f"{app}@{slot}.service": is_live(root, slot) for slot in folders(f"{root}/slots")}
    found = apps()
    owners = {one.pid: unit(one.pid) for one in found}
    for gpu, mib in free().items():
        live = [one.mib for one in found if one.gpu == gpu and slots.get(owners[one.pid]) is True]
        other = total(
            one for one in found if one.gpu == gpu and slots.get(owners[one.pid]) is False
        )
        yield f"{gpu} {mib} {'?' if None in live else sum(one or 0 for one in live)} {other}"


def folders(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def is_live(root: str, slot: str) -> bool:
    try:
        return os.path.samefile(f"{root}/slots/{slot}/release", f"{root}/current")
    except OSError:
        return False


def main(words: list[str]) -> int:
    """Do what the words say; see above."""
    if words[0] == "look":
        print(json.dumps(look(words[1])._asdict()))
        return 0
    if words[0] == "room":
        print("\n".join(room(words[1], words[2])))
        return 0
    is_free, text = wait(Before(**json.loads(words[1])), float(words[2]))
    print(text)
    return 0 if is_free else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
