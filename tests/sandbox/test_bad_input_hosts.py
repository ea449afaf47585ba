"""A host that lacks something, or on which a person left something, is refused before a switch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aideploy.errors import ExitStatus
from tests.typed import begun, typed
from tests.waiting import eventually

from .small_project import APP, SmallProject

_HANGS_AT_ENSUREPIP = 'case "$*" in *ensurepip*) exec sleep 600 ;; esac; exec "$0.kept" "$@"'
ONLY = ("deploy", "--only=host1")
NOT_READY = ExitStatus.NOT_READY


@pytest.mark.parametrize(
    ("program", "text", "says"),
    [
        ("git", "exit 127", "git is not installed"),
        ("python3", "exit 1", "Python 3.8 or later is needed, and there is none that works"),
        ("python3", "echo 2.7.18", "is too old"),
        ("python3", "echo nonsense", "there is none that works"),
        ("bash", "echo 'no bash here' >&2; exit 127", "no bash here"),
        ("bash", "echo This account is not available.", "This account is not available."),
        ("flock", "exit 127", "cannot be locked"),
        ("supervisorctl", None, "there is no supervisorctl on the path"),
        ("supervisorctl", "echo 'unix:///x refused connection'; exit 1", "does not answer"),
    ],
)
def test_a_host_without_a_program_that_works_is_told_what_it_lacks(
    project: SmallProject, program: str, text: str | None, says: str
) -> None:
    with _replaced(project.home() / "bin" / program, text):
        ran = project.refuses(*ONLY, status=NOT_READY, says=says)

    assert "on host1: " in ran.text
    assert "  Next  " in ran.text


@pytest.mark.parametrize(
    ("command", "program", "text"),
    [
        ("status", "supervisorctl", "exec sleep 600"),
        ("check", "supervisorctl", "exec sleep 600"),
        ("check", "python3", _HANGS_AT_ENSUREPIP),
    ],
)
def test_a_host_that_hangs_is_named_and_hides_nothing(
    project: SmallProject, command: str, program: str, text: str
) -> None:
    with _impatient(project), _replaced(project.home("host2") / "bin" / program, text):
        ran = project.fab(command)

    assert ran.status == NOT_READY, ran.text
    assert "host2" in ran.text and "took longer than its time limit" in ran.text
    assert {"host1", "host3"} <= set(ran.text.split()), ran.text


@pytest.mark.parametrize("python", ["python3.99", "git", "/bin/true", "/etc/passwd"])
def test_an_interpreter_that_is_none_is_refused(project: SmallProject, python: str) -> None:
    project.settle(install={"requirements": [], "python": python})

    project.refuses(*ONLY, status=NOT_READY, says="there is none that works")


@pytest.mark.parametrize("what", ["a folder", "a file", "a link to a folder elsewhere"])
@pytest.mark.parametrize("command", ["deploy", "rollback"])
def test_what_a_person_put_in_the_place_of_current_is_never_replaced(
    project: SmallProject, command: str, what: str
) -> None:
    current = project.root() / "current"
    with _aside(current):
        match what:
            case "a folder":
                current.mkdir()
            case "a file":
                current.write_text("mine")
            case _:
                current.symlink_to(project.home())
        project.refuses(
            *(command, "--only=host1"), status=NOT_READY, says="current is not a link to a whole"
        )


def test_a_link_to_a_release_that_is_gone_is_replaced(project: SmallProject) -> None:
    current = project.root() / "current"
    current.unlink()
    current.symlink_to("releases/20200101T000000Z-0000000")

    ran = project.fab(*ONLY)

    assert ran.status == ExitStatus.DONE, ran.text
    assert current.resolve().is_dir()


def test_a_journal_that_cannot_be_written_is_told_before_anything_begins(
    project: SmallProject,
) -> None:
    journal = project.root() / "journal.jsonl"
    with _aside(journal):
        journal.mkdir()
        before = project.root() / "current"
        ran = project.fab(*ONLY)
        assert ran.status == NOT_READY
        assert "journal.jsonl is not a file that" in ran.text
        assert before.resolve().is_dir()


def test_a_lock_that_cannot_be_written_is_told(project: SmallProject) -> None:
    lock = project.root() / "lock"
    with _aside(lock):
        lock.mkdir()
        ran = project.fab(*ONLY)
    assert ran.status == NOT_READY
    assert "lock cannot be written" in ran.text
    assert ran.shows_no_traceback


def test_a_damaged_journal_and_a_damaged_mirror_do_not_keep_a_deploy_from_succeeding(
    project: SmallProject,
) -> None:
    root = project.root()
    damage = (
        b'\xff\x00\n{"verdict": 3}\n[1]\nnull\n{"verdict": "good", "release": 5, "at": "x"}\n{"at'
    )
    with (root / "journal.jsonl").open("ab") as journal:
        journal.write(damage)
    (root / "repo.git" / "HEAD").write_text("garbage")

    ran = project.fab(*ONLY)

    assert ran.status == ExitStatus.DONE, ran.text
    assert damage in (root / "journal.jsonl").read_bytes()
    last = (root / "journal.jsonl").read_bytes().splitlines()[-1]
    assert str(project.on_host().current).encode() in last
    assert project.fab("rollback", "--only=host1").status == ExitStatus.DONE


def test_what_strangers_keep_beside_our_releases_stays_and_is_no_release(
    project: SmallProject,
) -> None:
    releases = project.root() / "releases"
    names = ["stranger", "-rf", "new\nline", "99999999T999999Z-0000000", "zzz"]
    for name in names:
        (releases / name).mkdir()
        (releases / name / "release.json").write_text("{}")
    (releases / "file").touch()
    (releases / "empty").mkdir()

    ran = project.fab(*ONLY)

    assert ran.status == ExitStatus.DONE, ran.text
    assert {*names, "file", "empty"} <= {path.name for path in releases.iterdir()}


def test_a_clock_behind_the_newest_release_still_gives_a_newer_one(project: SmallProject) -> None:
    future = project.root() / "releases" / "21000101T000000Z-0000000"
    future.mkdir()
    (future / "release.json").write_text("{}")
    try:
        ran = project.fab(*ONLY)
        assert ran.status == ExitStatus.DONE, ran.text
        assert str(project.on_host().current).startswith("21000101T000001Z-")
    finally:
        shutil.rmtree(future, ignore_errors=True)


def test_a_host_that_was_never_set_up_is_told_to_be(project: SmallProject) -> None:
    with _aside(project.root()):
        ran = project.fab(*ONLY)
        assert ran.status == NOT_READY
        assert "host1 is not set up: there is no folder" in ran.text
        assert "Next  fab setup" in ran.text
        assert not project.root().exists()


def test_the_second_of_two_first_setups_is_told_who_is_at_it(project: SmallProject) -> None:
    slow = 'case $1 in update) sleep 4 ;; esac; exec "$0.kept" "$@"'
    command = ("-m", "fabric", "setup", "--only=host1")
    root = project.home() / "another"
    project.settle(
        hosts=project.up.environment_toml(app="another", port=project.up.free_port()),
        app={"name": "another"},
    )
    try:
        with _replaced(project.home() / "bin" / "supervisorctl", slow):
            first = begun(project.folder, *command)
            assert eventually(root.exists)
            second = typed(project.folder, *command)
            said, _ = first.communicate(timeout=60)
    finally:
        project.settle()

    assert first.returncode == ExitStatus.DONE, said
    assert second.status == ExitStatus.LOCKED, second.text
    assert "host1 is locked by " in second.text and " (setup) since " in second.text
    assert not list(project.home().glob(".aideploy-setup*"))


def test_a_port_that_was_changed_without_a_setup_is_told_before_the_switch(
    project: SmallProject,
) -> None:
    live = [project.on_host(host.name).current for host in project.hosts]
    with _another_port(project):
        ran = project.fab("deploy")

    assert ran.status == NOT_READY, ran.text
    assert f":{project.port}, and hosts.toml says " in ran.text
    assert "Next  fab setup" in ran.text
    assert [project.on_host(host.name).current for host in project.hosts] == live


def test_neither_a_rollback_nor_a_later_switch_begins_after_that(project: SmallProject) -> None:
    project.commit({"README": "a release to go back from"})
    project.succeeds("deploy", "--yes")
    project.commit({"README": "a release that is staged alone"})
    project.succeeds("step.stage")
    live = [project.on_host(host.name).current for host in project.hosts]
    for command in ("rollback", "step.switch"):
        with _another_port(project):
            ran = project.fab(command)

        assert ran.status == NOT_READY, ran.text
        assert f":{project.port}, and hosts.toml says " in ran.text
        assert "nothing was switched" in ran.text and "Next  fab setup" in ran.text
        assert [project.on_host(host.name).current for host in project.hosts] == live
    project.succeeds("rollback")


@contextmanager
def _another_port(project: SmallProject) -> Iterator[None]:
    """With another port in hosts.toml than the one that the hosts were set up for."""
    tables = project.up.environment_toml(app=APP, port=project.port)
    project.settle(hosts=tables.replace(f"port = {project.port}\n", f"port = {project.port + 1}\n"))
    try:
        yield
    finally:
        project.settle()


@contextmanager
def _aside(path: Path) -> Iterator[None]:
    """Without what lies there, which comes back in the end."""
    kept = path.with_name(f"{path.name}.kept")
    path.rename(kept)
    try:
        yield
    finally:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        kept.rename(path)


@contextmanager
def _impatient(project: SmallProject) -> Iterator[None]:
    """With seconds for what looks at a host, where it has minutes."""
    fabfile = project.folder / "fabfile.py"
    kept = fabfile.read_text()
    fabfile.write_text(
        "from datetime import timedelta\nfrom aideploy.phases import facts\n"
        f"facts.LIMIT = timedelta(seconds=8)\n{kept}"
    )
    try:
        yield
    finally:
        fabfile.write_text(kept)


@contextmanager
def _replaced(program: Path, text: str | None) -> Iterator[None]:
    """With a script of this text in place of a program, or without it."""
    kept = program.with_name(f"{program.name}.kept")
    existed = program.exists()
    if existed:
        program.rename(kept)
    try:
        if text is not None:
            program.write_text(f"#!/bin/sh\n{text}\n")
            program.chmod(0o755)
        yield
    finally:
        program.unlink(missing_ok=True)
        if existed:
            kept.rename(program)
