"""Waiting for the memory of GPUs, and room for two models, by what nvidia-smi prints.

There is no GPU where these tests run: a small nvidia-smi prints outputs written by hand in the
format that `nvidia-smi --help-query-gpu` documents, and changes them as time goes by.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aideploy.phases import gpu
from aideploy.remote.result import Result

FIRST = "GPU-5d9c1f60-0b6e-4f7c-9b8e-3a1d2c4e5f60"
SECOND = "GPU-aa0712be-91c3-4d52-8f0e-6b7c8d9e0f11"
# Prints the file of the first query that it is asked for; a file NAME.later once its age is over.
NVIDIA_SMI = """#!/bin/sh
case $1 in
  --query-gpu=uuid,memory.used) name=used ;;
  --query-gpu=uuid,memory.free) name=free ;;
  --query-compute-apps=*) name=apps ;;
  *) exit 2 ;;
esac
later={folder}/$name.later
if [ -e "$later" ] && [ -n "$(find "$later" -newermt now -prune -o -print)" ]; then cat "$later"
else cat "{folder}/$name"; fi
"""


@pytest.fixture
def smi(tmp_path: Path) -> Path:
    """A folder with the outputs, for `gpu` and `outputs`."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(NVIDIA_SMI.format(folder=tmp_path))
    program.chmod(0o755)
    return tmp_path


@pytest.fixture
def server() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def outputs(folder: Path, *, used: int, apps: str, later: float = 0, free: int = 0) -> None:
    """From `later` seconds on, nvidia-smi says this."""
    end = ".later" if later else ""
    said = {"used": f"{FIRST}, {used}\n{SECOND}, 4\n", "apps": apps, "free": f"{FIRST}, {free}\n"}
    for name, text in said.items():
        file = folder / f"{name}{end}"
        file.write_text(text)
        if later:
            os.utime(file, (time.time() + later, time.time() + later))


def run(folder: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", "-c", gpu.program(), *words],
        env={**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout.strip()


def test_a_service_counts_as_stopped_when_the_driver_has_its_memory_back(
    smi: Path, server: subprocess.Popen[bytes]
) -> None:
    other = f"{os.getpid()}, {FIRST}, 700\n"
    outputs(smi, used=14972, apps=f"{server.pid}, {FIRST}, 14210\n{other}")
    before = run(smi, "look", str(server.pid))[1]
    server.kill()
    server.wait()
    # The process is gone at once, its memory two seconds later; somebody else took some meanwhile.
    outputs(smi, used=14972, apps=other)
    outputs(smi, used=1062, apps=f"{os.getpid()}, {FIRST}, 1000\n", later=2)
    began = time.monotonic()
    status, said = run(smi, "wait", before, "20")
    assert status == 0
    assert 1.5 < time.monotonic() - began < 6
    assert said.endswith("14210 MiB")


def test_memory_that_is_never_given_back_is_told_with_numbers_and_in_time(
    smi: Path, server: subprocess.Popen[bytes]
) -> None:
    outputs(smi, used=14272, apps=f"{server.pid}, {FIRST}, 14210\n")
    before = run(smi, "look", str(server.pid))[1]
    server.kill()
    server.wait()
    assert "is held by process" in run(smi, "wait", before, "1")[1]
    outputs(smi, used=14272, apps="")
    status, said = run(smi, "wait", before, "1")
    assert status == 1
    assert said == (
        f"after 1 s the GPU's memory is not free: {FIRST} has 14272 MiB in use, 62 MiB are expected"
    )


@pytest.mark.parametrize("apps", ["", "no running processes found\n", "[N/A], x\n"])
def test_a_service_that_was_on_no_gpu_is_not_waited_for(smi: Path, apps: str) -> None:
    outputs(smi, used=62, apps=apps)
    before = run(smi, "look", "0")[1]
    assert run(smi, "wait", before, "20") == (0, "nothing of the service was on a GPU")


def test_memory_that_the_driver_does_not_tell_is_waited_for_by_its_process_alone(
    smi: Path, server: subprocess.Popen[bytes]
) -> None:
    outputs(smi, used=14272, apps=f"{server.pid}, {FIRST}, [N/A]\n")
    before = run(smi, "look", str(server.pid))[1]
    assert json.loads(before)["apps"] == [[str(server.pid), FIRST, None]]
    assert run(smi, "wait", before, "1")[0] == 1
    outputs(smi, used=14272, apps="")
    assert run(smi, "wait", before, "1")[0] == 0


def test_without_nvidia_smi_nothing_is_waited_for(tmp_path: Path) -> None:
    before = run(tmp_path, "look", "1")[1]
    assert run(tmp_path, "wait", before, "20")[0] == 0
    assert run(tmp_path, "room", str(tmp_path), "app") == (0, "")


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        (f"{FIRST} 2048 14210 0", True),
        (f"{FIRST} 14210 14210 0", False),
        # What stands by is stopped first.
        (f"{FIRST} 2048 14210 14210", False),
        (f"{FIRST} 16000 0 0", False),
        (f"{FIRST} 2048 ? 0", False),
        ("what nobody expects", False),
    ],
)
def test_two_copies_are_refused_where_they_cannot_fit(line: str, refused: bool) -> None:
    found = list(gpu.obstacles(Result("gpu_room", (("gpu", line),))))
    assert bool(found) is refused
    if refused:
        assert "uses 14210 MiB, 2048 MiB are free" in found[0][0]
