"""A host that is not as it was left is named, with what brings it back; `fab rollback` when hosts
are down, changed or new."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aideploy.errors import ExitStatus

from .small_project import APP, SmallProject

NOT_READY = ExitStatus.NOT_READY
HOSTS = ("host1", "host2", "host3")


@pytest.fixture
def twice(project: SmallProject) -> Iterator[SmallProject]:
    """The project, with a new release on every host and at least one good one before it."""
    _deploy(project)
    yield project
    project.settle()


def _deploy(project: SmallProject, *options: str) -> str:
    project.commit({"change.txt": str(time.time_ns())}, "Change something")
    ran = project.fab("deploy", *options)
    assert ran.status == ExitStatus.DONE, ran.text
    return str(project.on_host().current)


def _drift(project: SmallProject) -> dict[str, list[str]]:
    """What `fab status` finds, by host; its exit status has to fit."""
    done = subprocess.run(
        project.command("status", "--json"), cwd=project.folder, capture_output=True, timeout=90
    )
    hosts: list[dict[str, Any]] = json.loads(done.stdout)["hosts"]
    found = {one["host"]: [drift["kind"] for drift in one["drift"]] for one in hosts}
    assert done.returncode == (NOT_READY if any(found.values()) else ExitStatus.DONE)
    return {name: kinds for name, kinds in found.items() if kinds}


@contextmanager
def _down(project: SmallProject, name: str) -> Iterator[None]:
    """With nobody listening at the SSH port of a host."""
    environment = project.up.environment_toml(app=APP, port=project.port)
    port = project.host(name).port
    before, address, after = re.split(rf"(^port = {port}$)", environment, flags=re.MULTILINE)
    project.settle(hosts=f"{before}port = 1{after}")
    assert address
    try:
        yield
    finally:
        project.settle()


def test_every_kind_of_change_by_hand_is_named_and_a_deploy_brings_back_what_it_can(
    twice: SmallProject,
) -> None:
    assert _drift(twice) == {}
    root = twice.root("host1")
    (root / "current" / "service.py").open("a").write("# a hot fix\n")
    moved = twice.root("host2") / "current"
    newest = moved.readlink()
    older = sorted(twice.on_host("host2").releases)[-2]
    moved.unlink()
    moved.symlink_to(f"releases/{older}")
    unit = twice.home("host3") / ".config/systemd/user" / f"{APP}@.service"
    unit.parent.mkdir(parents=True)
    unit.touch()

    assert _drift(twice) == {"host1": ["changed"], "host2": ["moved"], "host3": ["left over"]}
    said = twice.fab("status").text
    assert f"host1: files of {newest.name} were changed: service.py (fab deploy)" in said
    assert "current was moved by hand, from" in said
    assert f"rm ~/.config/systemd/user/{APP}@.service" in said
    checked = twice.fab("check")
    assert checked.status == NOT_READY
    assert checked.text.count("the next deploy corrects it") == 2
    assert "left over: ~/.config/systemd/user" in checked.text
    planned = twice.fab("plan").text
    assert "all hosts get the new release, also those that are behind:" in planned

    unit.unlink()
    unit.parent.rmdir()
    _deploy(twice)
    assert _drift(twice) == {}
    assert twice.fab("check").status == ExitStatus.DONE


@pytest.mark.slow
def test_a_host_that_was_down_during_a_deploy_is_named_and_brought_along(
    twice: SmallProject,
) -> None:
    _deploy(twice, "--only=host1,host2")

    assert _drift(twice) == {"host3": ["missed"]}
    assert "when it was not there (fab deploy)" in twice.fab("status").text
    ran = twice.fab("deploy")
    assert ran.status == ExitStatus.DONE, ran.text
    assert _drift(twice) == {}


def test_a_rollback_says_what_is_lost_and_works_while_a_host_is_down(twice: SmallProject) -> None:
    newest, older = (
        twice.on_host().current,
        sorted(twice.on_host().releases)[-2],
    )
    with _down(twice, "host3"):
        ran = twice.fab("rollback")

    assert ran.status == ExitStatus.NEEDS_PERSON, ran.text
    assert f"goes back to {older}, " in ran.text
    assert f"leaves {newest}, live for " in ran.text
    assert "1 commit is not live any more:" in ran.text
    assert f"back on {older} on 2 hosts, but not on host3" in ran.text
    assert ran.shows_no_traceback
    assert [twice.on_host(name).current for name in HOSTS] == [older, older, newest]
    assert _drift(twice) == {"host3": ["release"]}

    again = re.search(r"fab (rollback --to \S+ --only host3)", ran.text)
    assert again, ran.text
    assert twice.fab(*again[1].split()).status == ExitStatus.DONE
    assert {twice.on_host(name).current for name in HOSTS} == {older}
    assert _drift(twice) == {}


@pytest.mark.slow
def test_a_rollback_looks_at_a_release_that_is_far_from_what_is_live(twice: SmallProject) -> None:
    common = twice.on_host("host3").current
    assert common
    for _ in range(3):
        _deploy(twice, "--only=host1,host2")
    changed = twice.root("host1") / "releases" / common / "service.py"
    before = changed.read_text()
    changed.write_text(f"{before}# a hot fix\n")

    refused = twice.fab("rollback")

    assert refused.status == NOT_READY
    assert f"{common} is not as it was when it was good: host1: " in refused.text
    changed.write_text(before)
    ran = twice.fab("rollback")
    assert ran.status == ExitStatus.DONE, ran.text
    assert "3 commits are not live any more:" in ran.text
    assert {twice.on_host(name).current for name in HOSTS} == {common}


def test_without_any_host_a_rollback_changes_nothing(twice: SmallProject) -> None:
    twice.settle(hosts=twice.one_host(port=1))

    ran = twice.refuses("rollback", status=NOT_READY, says="connection refused")

    assert "host1" in ran.text


def test_a_rollback_to_a_release_that_was_changed_is_refused_until_it_is_asked_for(
    twice: SmallProject,
) -> None:
    oldest = twice.on_host().current
    _deploy(twice)
    target = twice.on_host("host2").current
    newest = _deploy(twice)
    (twice.root("host2") / "releases" / str(target) / "change.txt").write_text("by hand")

    ran = twice.refuses("rollback", status=NOT_READY, says="not as it was when it was good")

    assert "host2: change.txt" in ran.text
    assert f"fab rollback --to {target}; as it was proven: fab rollback --to {oldest}" in ran.text
    assert twice.on_host().current == newest
    anyway = twice.fab("rollback", f"--to={target}")
    assert anyway.status == ExitStatus.DONE
    assert "warning" in anyway.text and "host2: change.txt" in anyway.text
    further = twice.fab("rollback")
    assert further.status == ExitStatus.DONE
    assert twice.on_host().current == oldest


def test_hosts_that_never_had_an_older_release_are_named_with_the_command_for_the_others(
    twice: SmallProject,
) -> None:
    target = twice.on_host().current
    newest = _deploy(twice)
    root = twice.root("host3")
    lines = (root / "journal.jsonl").read_text().splitlines(keepends=True)
    kept = "".join(line for line in lines if newest in line)
    (root / "journal.jsonl").write_text(kept)
    try:
        ran = twice.refuses("rollback", status=ExitStatus.USAGE, says="no good release before")
        assert f"the newest that most have is {target}: host1, host2, and not host3" in ran.text
        offered = re.search(r"fab (rollback --only \S+);", ran.text)
        assert offered, ran.text
        assert twice.fab(*offered[1].split()).status == ExitStatus.DONE
        assert [twice.on_host(name).current for name in HOSTS] == [target, target, newest]
    finally:
        (root / "journal.jsonl").write_text("".join(lines))


def test_a_rollback_behind_a_lock_says_who_holds_it_and_what_ends_a_deploy(
    twice: SmallProject, tmp_path: Path
) -> None:
    program = (
        "import fcntl, sys, time\n"
        "lock = open(sys.argv[1], 'w')\n"
        "fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "lock.write('bob@desk (deploy) since noon\\n'); lock.flush(); print(flush=True)\n"
        "time.sleep(600)\n"
    )
    words = [sys.executable, "-c", program, str(twice.root("host2") / "lock")]
    before = twice.on_hosts()
    with subprocess.Popen(words, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            ran = twice.fab("rollback")
            waiting = subprocess.Popen(
                twice.command("rollback", "--wait-lock"),
                cwd=twice.folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert waiting.stdout is not None
            line = next(line for line in waiting.stdout if "waiting: " in line)
        finally:
            holder.kill()
    assert ran.status == ExitStatus.LOCKED
    assert "host2 is locked by bob@desk (deploy) since noon" in ran.text
    assert "fab rollout.abort" in ran.text
    assert "bob@desk" in line
    rest, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == ExitStatus.DONE, rest
    assert all(
        now.current and now.current < str(then.current)
        for now, then in zip(twice.on_hosts(), before, strict=True)
    )


@pytest.mark.slow
def test_a_rollback_that_is_interrupted_leaves_every_host_whole(twice: SmallProject) -> None:
    target = str(twice.on_host().current)
    newest = _deploy(twice)
    slow = "import time; time.sleep(3)\n" + (twice.repository / "service.py").read_text()
    for name in HOSTS:
        (twice.root(name) / "releases" / target / "service.py").write_text(slow)
    words = twice.command("rollback", f"--to={target}")
    with subprocess.Popen(words, cwd=twice.folder, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert next(line for line in running.stdout if "switch" in line)
        time.sleep(0.5)
        running.send_signal(signal.SIGINT)
        rest = running.stdout.read()

    assert running.returncode == ExitStatus.INTERRUPTED, rest
    assert "every host that had switched is back on its previous release" in rest
    assert [twice.on_host(name).current for name in HOSTS] == [newest] * 3
    assert twice.frees_the_locks()
