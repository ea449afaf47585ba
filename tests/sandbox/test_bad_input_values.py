"""Hostile names and values are data: they arrive whole, and nothing runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import psutil
import pytest

from aideploy.errors import ExitStatus

from .small_project import SmallProject

ONLY = ("deploy", "--only=host1")
NASTY = (
    "a 'b' \"c\" $HOME $(touch pwned) `touch pwned` \\n \\ %s %n !x ;&|<>*?[]{}~# é 漢 \U0001f680"
)


@pytest.mark.parametrize(
    "name", ["$(touch${IFS}pwned)", "quote'and\"quote", "`id`;id", "ä/漢", "a&b|c"]
)
def test_a_branch_with_a_hostile_name_is_a_branch_like_any_other(
    project: SmallProject, name: str
) -> None:
    project.branch(name)
    commit = project.commit({}, "On the branch")

    ran = project.fab(*ONLY, f"--revision={name}")

    assert ran.status == ExitStatus.DONE, ran.text
    assert str(project.on_host().current).endswith(commit[:7])
    assert _nothing_ran(project)


def test_a_repository_with_a_hostile_path_is_read_from_there(
    project: SmallProject, tmp_path: Path
) -> None:
    path = tmp_path / 'it\'s "mine" $(touch pwned) é' / "app.git"
    path.parent.mkdir()
    project.git("clone", "--quiet", "--bare", ".", str(path))
    project.settle(app={"repository": str(path)})

    ran = project.fab(*ONLY)

    assert ran.status == ExitStatus.DONE, ran.text
    assert _nothing_ran(project)


def test_a_subject_cannot_speak_to_the_terminal_or_to_the_ci(project: SmallProject) -> None:
    project.branch("subject")
    project.commit({}, "\x1b[2J\x1b]0;owned\x07 ::error::owned \u202e\r fixed")
    project.settle(app={"branch": "subject"})

    ran = project.fab(*ONLY, env={"GITHUB_ACTIONS": "true"})

    assert ran.status == ExitStatus.DONE, ran.text
    assert not set("\x1b\x07\u202e") & set(ran.text)
    assert not [line for line in ran.text.splitlines() if line.startswith("::error")]


def test_files_with_hostile_names_are_unpacked_as_they_are(project: SmallProject) -> None:
    names = [b"-rf", b"new\nline", b"quote'\"", b"\xff\xfe", b"$(touch pwned)", b" ", b"a\tb"]
    project.branch("names")
    for name in names:
        (project.repository / os.fsdecode(name)).write_text("kept")
    project.commit({})
    project.settle(
        app={"branch": "names"}, train={"command": "mkdir ../odd; cp -- * ../odd/; mv ../odd model"}
    )

    ran = project.fab("deploy", "--no-gate")

    assert ran.status == ExitStatus.DONE, ran.text
    for host in project.hosts:
        current = project.root(host.name) / "current"
        for folder in (current, current / "model"):
            assert set(names) <= {os.fsencode(path.name) for path in folder.iterdir()}
    assert _nothing_ran(project)


def test_values_and_secrets_reach_the_service_whole_and_secrets_are_seen_nowhere_else(
    project: SmallProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = f"5ecret-value {NASTY}\nsecond 5ecret-line\t'"
    monkeypatch.setenv("TOKEN", secret)
    project.settle(
        serve={"environment": {"NASTY": NASTY}, "secrets": ["TOKEN"]},
        train={"command": "sleep 1; echo 1 > model", "environment": {"NASTY": NASTY}},
    )
    seen: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.05):
            for process in psutil.process_iter(["cmdline"]):
                if "5ecret" in "\0".join(process.info["cmdline"] or ()):
                    seen.append(str(process.info["cmdline"])[:300])

    looking = threading.Thread(target=look)
    looking.start()
    ran = project.fab(*ONLY, "--no-gate", "--json", timeout=90)
    done.set()
    looking.join()

    assert ran.status == ExitStatus.DONE, ran.text
    address = f"http://{project.host('host1').address}:{project.port}/environment"
    with urllib.request.urlopen(address, timeout=5) as answer:
        environment = json.load(answer)
    assert environment["NASTY"] == NASTY
    assert environment["TOKEN"] == secret
    assert seen == []
    assert "5ecret" not in ran.text
    files = [
        path
        for folder in (project.folder, project.up.layout.folder)
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and b"5ecret" in path.read_bytes()
    ]
    assert {path.name for path in files} == {"env"}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o640}
    assert _nothing_ran(project)


# A process of its own in between: the system counts what a parent took before the fork as its
# child's, and we may have taken much.
MEASURED = """
import pathlib, resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
pathlib.Path(sys.argv[1]).write_text(str(peak))
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("flood", "piece", "times"),
    [
        ("head -c 52428800 /dev/zero | tr '\\0' x", b"x" * 1024, 51200),
        pytest.param("yes | head -n 1000000", b"| y\n", 1_000_000, marks=pytest.mark.slow),
        ("for i in {1..3000}; do printf '%d%%\\r' $i; done", b"%\n", 3000),
        ("head -c 2000000 /dev/urandom", b"", 0),
    ],
    ids=["50 MB on one line", "a million lines", "progress bar", "noise"],
)
def test_a_flood_of_output_is_logged_whole_and_costs_little_memory(
    project: SmallProject, flood: str, piece: bytes, times: int
) -> None:
    # Of what was printed before anybody looked only the end is shown.
    project.settle(train={"command": f"sleep 2; {flood}; echo; echo the end; exit 1"})
    before = set(_logs(project))
    unjudged = project.command(*ONLY, "--no-gate")
    with (project.folder / "screen").open("w+b") as screen:
        run = subprocess.run(
            [sys.executable, "-c", MEASURED, project.folder / "peak", *unjudged],
            cwd=project.folder,
            stdout=screen,
            stderr=screen,
        )
        screen.seek(0)
        text = screen.read().decode()

    assert run.returncode == ExitStatus.ROLLED_BACK
    assert "│ the end" in text
    assert not {"\x1b", "\r"} & set(text)
    assert int((project.folder / "peak").read_text()) < 120_000  # kilobytes
    (log,) = set(_logs(project)) - before
    content = log.read_bytes()
    assert b"| the end\n" in content
    # A very long line comes in pieces of 8 KiB, so that these never straddle two.
    assert not piece or content.count(piece) >= times


def _logs(project: SmallProject) -> list[Path]:
    return list((project.folder / ".aideploy" / "logs").glob("*.log"))


def _nothing_ran(project: SmallProject) -> bool:
    folders = (project.folder, project.up.layout.folder)
    return not [path for folder in folders for path in folder.rglob("pwned*")]
