"""Promises about programs that hang: a driver, a disk. Whoever asks them gets an answer in time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from aideploy.phases import facts
from aideploy.settings import load
from tests.scripts.running import Calls, run, run_bare

# Its child keeps the pipe, as a process that the kernel does not let go of.
HANGING = "#!/bin/sh\ntrap '' TERM\nsetsid sleep 60 &\nsleep 60\n"
GPU = "#!/bin/sh\necho 'A100, 550.1, 81920 MiB, 81000 MiB'\n"
SETTINGS = """
[app]
name = "ranker"
repository = "/unused"
deploy_to = "{root}"
[train]
command = "x"
[environments.production.hosts.gpu1]
address = "gpu1"
roles = ["train"]
gpus = 1
"""


def asked(seconds: int, *words: str) -> tuple[int, str, float]:
    """Return how `answer_of` ended, what it printed, and after how long."""
    quoted = " ".join(f"'{word}'" for word in words)
    body = (
        f"status=0; said=$(answer_of {seconds} {quoted} 2>/dev/null) || status=$?\n"
        'emit status "$status"; emit said "$said"'
    )
    began = time.monotonic()
    ran = run_bare(Calls("calls", libraries=("patience",), body=body), os.environ)
    took = time.monotonic() - began
    assert ran.status == 0, ran.output
    return ran.result.number("status"), ran.result.text("said"), took


@pytest.mark.parametrize(
    ("program", "status", "said"),
    [
        ("printf 'one\ntwo\n'", 0, "one\ntwo"),
        ("printf 137; exit 3", 3, "137"),
        ("exit 0", 0, ""),
        ("echo bad >&2; exit 9", 9, ""),
    ],
)
def test_what_answers_is_heard_as_it_is(program: str, status: int, said: str) -> None:
    found = asked(5, "sh", "-c", program.replace("'", "'\\''"))
    assert found[:2] == (status, said)


def test_nobody_waits_for_what_keeps_the_pipe_after_its_end(tmp_path: Path) -> None:
    (tmp_path / "hang").write_text(HANGING)
    (tmp_path / "hang").chmod(0o755)
    status, said, took = asked(1, str(tmp_path / "hang"))
    assert (status, said) == (124, "")
    assert took < 10


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "nvidia-smi"


def looked(path: Path, program: str) -> tuple[facts.HostFacts, str]:
    path.write_text(program)
    path.chmod(0o755)
    (path.parent / "hosts.toml").write_text(SETTINGS.format(root=path.parent))
    settings = load(path.parent / "hosts.toml", None)
    ran = run(facts.script(settings))
    assert ran.status == 0, ran.lines
    known = facts.read("gpu1", ran.result)
    reasons = [error.what for error in facts.refusals(known, settings.hosts[0])]
    return known, "; ".join(reasons) + "; ".join(ran.lines)


def test_a_driver_that_hangs_ends_the_wait_and_is_named(path: Path) -> None:
    began = time.monotonic()
    known, said = looked(path, HANGING)
    assert time.monotonic() - began < 40
    assert known.silent_gpus and known.gpus == ()
    assert "gpu1: nvidia-smi gives no answer within 20 s" in said
    assert "-- nvidia-smi gives no answer" in said


def test_a_driver_that_answers_is_heard(path: Path) -> None:
    known, said = looked(path, GPU)
    assert known.gpus == ("A100, 550.1, 81920 MiB, 81000 MiB",)
    assert not known.silent_gpus and "nvidia-smi" not in said


def test_the_words_of_a_driver_that_fails_are_no_gpus(path: Path) -> None:
    known, _ = looked(path, "#!/bin/sh\necho 'No devices were found'\nexit 6\n")
    assert known.gpus == ()
