"""Connections as people have them configured, and strangers that are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aideploy.errors import ExitStatus
from tests.fleet.project import Project
from tests.lab.hosts import Lab

pytestmark = pytest.mark.fleet


@pytest.fixture
def aliased(project: Project, tmp_path: Path) -> Project:
    """The small app with hosts.toml naming only aliases: all else is in an ssh_config."""
    text = (project.folder / "hosts.toml").read_text()
    for host in project.hosts:
        text = text.replace(host.address, host.name)
    for line in text.splitlines():
        if line.startswith(("user =", "key =", "known_hosts =")):
            text = text.replace(line + "\n", "")
    (tmp_path / "hosts.toml").write_text(text)
    shutil.copy(project.folder / "fabfile.py", tmp_path)
    return project


def fab(project: Project, lab: Lab, folder: Path, config: Path) -> tuple[int, str]:
    finished = project.start(
        "--ssh-config", str(config), "deploy", "--config", str(folder / "hosts.toml")
    ).finish()
    assert "Traceback" not in finished.output
    return finished.status, finished.last_words


def test_aliases_users_keys_and_jump_hosts_come_from_the_ssh_config(
    aliased: Project, lab: Lab, tmp_path: Path
) -> None:
    config = tmp_path / "ssh_config"
    jumped = "Host h2 h3\n    ProxyJump h1\n"
    config.write_text(jumped + lab.ssh_config.read_text())
    through = "journalctl -u ssh -o cat | grep 'Accepted publickey for deploy' | tail -n 1"
    revision = aliased.commit()

    status, words = fab(aliased, lab, tmp_path, config)

    assert status == ExitStatus.DONE, words
    assert aliased.all_serve() == {revision}
    jump, target, _ = lab.hosts
    assert f"from {jump.address} port" in target.exec(through).stdout


@pytest.mark.parametrize("stranger", ["h1", pytest.param("h2", marks=pytest.mark.slow)])
def test_a_host_or_a_jump_host_that_is_not_known_or_shows_another_key_is_refused(
    aliased: Project, lab: Lab, tmp_path: Path, stranger: str
) -> None:
    before = aliased.all_serve()
    known = lab.known_hosts.read_text().splitlines(keepends=True)
    others = [line for line in known if not line.startswith(f"{stranger},")]
    strange = next(line for line in known if line.startswith(f"{stranger},"))
    wrong_key = " ".join([strange.split()[0], *others[-1].split()[1:]]) + "\n"
    aliased.commit()
    for lines, words_of_refusal in (
        (others, "is in no known_hosts file"),
        ([*others, wrong_key], "CHANGED"),
    ):
        own = tmp_path / f"known_hosts.{len(lines)}"
        own.write_text("".join(lines))
        config = tmp_path / "ssh_config"
        text = lab.ssh_config.read_text().replace(str(lab.known_hosts), str(own))
        config.write_text("Host h2 h3\n    ProxyJump h1\n" + text)

        status, words = fab(aliased, lab, tmp_path, config)

        assert status == ExitStatus.NOT_READY
        assert words_of_refusal in words
        address = next(host.address for host in lab.hosts if host.name == stranger)
        assert f"{'the jump host ' if stranger == 'h1' else ''}{address}:22" in words
        assert aliased.all_serve() == before
