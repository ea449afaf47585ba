"""What `fab check` makes of the answers of a host."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest

from aideploy.phases import readiness
from aideploy.phases.facts import HostFacts
from aideploy.remote.result import Result
from aideploy.services.files import managed_files
from aideploy.settings import Settings
from tests.hosts_toml import loaded

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return loaded(
        tmp_path,
        '[app]\nname = "app"\nrepository = "git@example.org:app.git"\n'
        '[serve]\ncommand = "serve"\nstrategy = "recreate"\nlinked = [".env", "data/"]\n'
        '[environments.production.hosts.web1]\naddress = "web1.example.org"\n',
    )


def problems(settings: Settings, *found: tuple[str, str]) -> list[str]:
    [host] = settings.hosts
    files = (file.path for file in managed_files(settings, host, user="root"))
    facts = HostFacts(
        host="web1",
        root=PurePosixPath("/srv/app"),
        home=PurePosixPath("/root"),
        user="root",
        free=10**10,
        writable=True,
        git="git version 2",
        python="/usr/bin/python3",
        python_version=(3, 11),
        files=dict.fromkeys(map(str, files), "unreadable"),
    )
    clock = (
        () if any(key == "clock" for key, _ in found) else (("clock", f"{NOW.timestamp():.0f}"),)
    )
    answer = Result("check", (*found, *clock))
    return [one.what for one in readiness.problems(settings, host, facts, answer, NOW)]


def test_a_host_that_misses_nothing_has_no_problem(settings: Settings) -> None:
    assert problems(settings) == []


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("no-venv", "yes", "cannot make environments"),
        ("no-right", "systemctl start app@live", "may not run as root: systemctl start app@live"),
        ("no-manager", "systemctl", "there is no systemctl"),
        ("no-program", "app live", "does not know app live"),
        ("no-runner", "app-due", "app-due does not run"),
        ("no-linked-file", "/srv/app/shared/.env", "/srv/app/shared/.env is missing"),
        ("port-taken", "8000 nginx (process 7)", "nginx (process 7) listens on port 8000"),
        ("no-haproxy", "app-haproxy", "its HAProxy does not run"),
        ("no-repository", "\nPermission denied\nmore", "repository: Permission denied"),
        ("no-branch", "main", "has no branch main"),
    ],
)
def test_each_thing_that_is_missing_is_told_once(
    settings: Settings, key: str, value: str, said: str
) -> None:
    [told] = problems(settings, (key, value))
    assert said in told


@pytest.mark.parametrize(("seconds", "said"), [(60, "60 s ahead of"), (-3600, "3600 s behind")])
def test_a_clock_that_is_wrong_is_told(settings: Settings, seconds: int, said: str) -> None:
    [told] = problems(settings, ("clock", f"{NOW.timestamp() + seconds:.0f}"))
    assert said in told


def test_only_files_have_to_be_there_before_a_deploy(settings: Settings) -> None:
    [host] = settings.hosts
    facts = HostFacts(host="web1", root=PurePosixPath("/srv/app"), home=PurePosixPath("/root"))
    arguments = readiness.script(settings, host, facts).args
    assert ".env" in arguments
    assert "data" not in arguments
