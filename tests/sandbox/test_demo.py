"""The demo is strict and tidy: it fails when `fab` does, and leaves nothing however it ends.

`fab` itself is replaced by a stand-in here, for what counts is what the demo makes of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from aideploy.sandbox.environment import SANDBOX_MARK
from tests.waiting import eventually


def test_a_demo_in_which_a_command_fails_says_which_and_leaves_nothing(tmp_path: Path) -> None:
    demo = _start_demo(tmp_path, fab="import sys; sys.exit(9 * (sys.argv[1] == 'deploy'))")

    output, _ = demo.communicate(timeout=60)

    assert demo.returncode == 1
    assert "$ fab setup\n" in output
    assert "`fab deploy` ended with status 9 instead of 0" in output
    assert _remains(tmp_path) == []


def test_a_demo_does_not_take_the_word_of_a_command_that_says_it_deployed(tmp_path: Path) -> None:
    demo = _start_demo(tmp_path, fab="print('deployed')")

    output, _ = demo.communicate(timeout=60)

    assert demo.returncode == 1
    assert "the demo failed: host1 does not answer at http://127." in output
    assert _remains(tmp_path) == []


def test_a_demo_hands_the_commands_what_they_need(tmp_path: Path) -> None:
    demo = _start_demo(
        tmp_path,
        fab="""
        import pathlib, subprocess, sys, tomllib
        tables = tomllib.loads(pathlib.Path("hosts.toml").read_text())
        hosts = tables["environments"]["sandbox"]["hosts"]
        subprocess.run(["git", "ls-remote", tables["app"]["repository"], "main"], check=True)
        print("stand-in:", *hosts, pathlib.Path("fabfile.py").exists())
        sys.exit(9)
        """,
        arguments=("--hosts", "2"),
    )

    output, _ = demo.communicate(timeout=60)

    assert "refs/heads/main" in output
    assert "stand-in: host1 host2 True" in output


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_demo_that_is_interrupted_leaves_nothing(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    demo = _start_demo(
        tmp_path, fab="import pathlib, time; pathlib.Path('running').touch(); time.sleep(300)"
    )
    assert eventually(lambda: any(tmp_path.glob("aideploy-demo-*/running")), within=30)

    # As a terminal does: to the whole group in the foreground.
    os.killpg(demo.pid, number)
    demo.communicate(timeout=60)

    assert demo.returncode == status
    assert _remains(tmp_path) == []


def _start_demo(
    folder: Path, *, fab: str, arguments: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """The demo with this program as its `fab`, and with its temporary folder below the test's."""
    stand_in = folder / "stand-in" / "fabric"
    stand_in.mkdir(parents=True)
    (stand_in / "__init__.py").touch()
    lines = [line.removeprefix("        ") for line in fab.splitlines()]
    (stand_in / "__main__.py").write_text("\n".join(lines))
    return subprocess.Popen(
        [sys.executable, "-m", "aideploy.sandbox.demo", *arguments],
        env={**os.environ, "PYTHONPATH": str(stand_in.parent), "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _remains(folder: Path) -> list[str]:
    """Folders and processes of the demo that are still there."""
    folders = [str(path) for path in folder.glob("aideploy-demo-*")]
    running = [
        str(process)
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get(SANDBOX_MARK, "").startswith(str(folder))
    ]
    return folders + running
