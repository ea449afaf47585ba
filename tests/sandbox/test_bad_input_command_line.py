"""Mistakes in hosts.toml and on the command line are told before a host hears of them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from aideploy.errors import ExitStatus

from .small_project import SmallProject


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "there is no file"),
        (b"", "is empty"),
        (b"[app\nname = 3", "is not valid TOML"),
        (b"\x7fELF\x00\x00", "is a binary file"),
        (b'[app]\nname = "\xff"\n', "is not UTF-8 text"),
    ],
    ids=["missing", "empty", "not TOML", "binary", "not UTF-8"],
)
def test_a_file_that_is_no_hosts_toml_is_refused(
    project: SmallProject, content: bytes | None, says: str
) -> None:
    file = project.folder / "other.toml"
    file.unlink(missing_ok=True)
    if content is not None:
        file.write_bytes(content)

    ran = project.refuses("deploy", "--config=other.toml", status=ExitStatus.USAGE, says=says)

    assert "Next: " in ran.text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--env=production"], "has no environment 'production'"),
        (["--only=host9"], "has no host 'host9'"),
        (["--only="], "no host was named"),
        (["--only=$(reboot)"], "has no host '$(reboot)'"),
    ],
    ids=["environment", "host", "no host", "hostile host"],
)
def test_a_name_that_nothing_has_is_refused(
    project: SmallProject, arguments: list[str], says: str
) -> None:
    project.refuses("deploy", *arguments, status=ExitStatus.USAGE, says=says)


@pytest.mark.parametrize(
    "revision", ["", "-rf", "--upload-pack=x", "a b", "a\nb", "..", "main~1", "@", "x\x1b[2J"]
)
def test_a_revision_that_git_would_not_take_never_reaches_a_host(
    project: SmallProject, revision: str
) -> None:
    ran = project.refuses(
        "deploy", f"--revision={revision}", status=ExitStatus.USAGE, says="is no revision"
    )

    assert "fetch" not in ran.text


@pytest.mark.parametrize("revision", ["nope", "$(reboot)", "`reboot`", "ä", "0000000", "a" * 300])
def test_a_revision_that_nobody_has_is_refused_with_those_that_there_are(
    project: SmallProject, revision: str
) -> None:
    ran = project.refuses(
        *("deploy", f"--revision={revision}", "--only=host1"),
        status=ExitStatus.USAGE,
        says=f"there is no branch, tag or commit {revision} in the repository",
    )

    assert "Next  known: " in ran.text


@pytest.mark.parametrize("release", ["", "../x", "$(reboot)", "a\nb", "20200101T000000Z-1234567"])
def test_a_release_that_nobody_has_is_refused_with_those_that_there_are(
    project: SmallProject, release: str
) -> None:
    ran = project.refuses(
        *("rollback", f"--to={release}"), status=ExitStatus.USAGE, says="there is no release"
    )

    assert f"on every host there is: {project.on_host().current}" in ran.text


def test_a_host_named_twice_takes_part_once(project: SmallProject) -> None:
    ran = project.fab("setup", "--only=host1,host1")

    assert ran.status == ExitStatus.DONE
    assert "setup small in sandbox (host1)" in ran.text


def test_hosts_of_which_none_serves_are_refused(project: SmallProject) -> None:
    host = project.host("host2")
    tables = project.one_host() + (
        f'[environments.sandbox.hosts.host2]\naddress = "{host.address}"\nport = {host.port}\n'
        f'key = "{project.up.layout.client_key}"\nknown_hosts = "{project.up.layout.known_hosts}"\n'
        'roles = ["monitor"]\n'
    )
    project.settle(hosts=tables)

    for command in ("deploy", "rollback"):
        project.refuses(command, "--only=host2", status=ExitStatus.USAGE, says="serve")


def test_training_without_the_host_that_trains_is_refused(project: SmallProject) -> None:
    hosts = project.up.environment_toml(app="small", port=project.port)
    roles = 'roles = ["serve"]'
    first, second, third = (f"[environments.sandbox.hosts.host{number}]" for number in (1, 2, 3))
    for table in (second, third):
        hosts = hosts.replace(table, f"{table}\n{roles}")
    project.settle(hosts=hosts, train={"command": "echo weights > model"})
    assert first in hosts

    project.refuses(
        *("deploy", "--only=host2", "--no-gate"), status=ExitStatus.USAGE, says="the role train"
    )


def test_a_log_that_cannot_be_written_is_told_before_anything_begins(
    project: SmallProject,
) -> None:
    logs, kept = project.folder / ".aideploy", project.folder / "kept"
    logs.rename(kept)
    logs.write_text("in the way")
    try:
        project.refuses("deploy", status=ExitStatus.USAGE, says="cannot be written")
    finally:
        logs.unlink()
        kept.rename(logs)


def test_a_deploy_does_not_end_because_nobody_reads_what_it_says(project: SmallProject) -> None:
    before = project.on_host().current
    reading, writing = os.pipe()
    running = subprocess.Popen(
        project.command("deploy", "--only=host1"),
        cwd=project.folder,
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)

    _, errors = running.communicate(timeout=60)

    assert running.returncode == ExitStatus.DONE
    assert errors == b""
    assert project.on_host().current != before


def test_a_deploy_needs_no_home(project: SmallProject, tmp_path: Path) -> None:
    ran = project.fab("setup", env={"HOME": None})
    assert ran.status == ExitStatus.DONE, ran.text

    ran = project.fab("setup", env={"HOME": str(tmp_path / "nowhere")})
    assert ran.status == ExitStatus.DONE, ran.text
