"""The configuration files of a host, case by case: settings in, files out, and the programs that
read them accept them. A case is a folder in `rendered/`: a hosts.toml whose first line says what
the host said of itself, and the files, with `!` for `/` in their paths."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from aideploy.remote.result import Result
from aideploy.remote.script import source
from aideploy.services.files import (
    RenderedFile,
    Validator,
    differing,
    installed_files,
    managed_files,
    rendered_files,
)
from aideploy.settings import load
from tests.needed import need

CASES = Path(__file__).parent / "rendered"
STEER = Path(__file__).parents[3] / "templates" / "haproxy" / "steer.py"
SAID = re.compile(r"host: (\S+), root: (\S+), user: (\S+)")

cases = pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))


def render(case: str) -> tuple[RenderedFile, ...]:
    file = CASES / case / "hosts.toml"
    said = SAID.search(file.read_text())
    assert said is not None
    settings = load(file, None)
    (host,) = (host for host in settings.hosts if host.name == said[1])
    return rendered_files(settings, host, root=PurePosixPath(said[2]), user=said[3])


def without_first_line(text: str) -> str:
    """Leave out who manages the file: another test has that."""
    return text.partition("\n")[2]


@cases
def test_a_host_gets_these_files(case: str) -> None:
    expected = {
        file.name.replace("!", "/"): file.read_text()
        for file in (CASES / case).iterdir()
        if file.name != "hosts.toml"
    }
    rendered = {str(file.path): file.content for file in render(case)}
    # The same program everywhere, put together from two of our scripts.
    [program] = (name for name in rendered if name.endswith("/ranker/due.sh"))
    assert rendered.pop(program).endswith(source("due_runner"))
    # These hold a program in Python, which tests/scripts run.
    for name in ("metrics.sh", "drift.sh"):
        for program in [one for one in rendered if one.endswith(f"/ranker/{name}")]:
            assert "exec python3 -I -c " in rendered.pop(program)
    # Nor has this one, beside its first line, anything of a template.
    for configuration in [one for one in expected if one.endswith("/haproxy/haproxy.cfg")]:
        program = configuration.replace("haproxy.cfg", "steer.py")
        assert without_first_line(rendered.pop(program)) == without_first_line(STEER.read_text())
    assert rendered == expected


@cases
def test_every_file_says_who_manages_it_and_from_what(case: str) -> None:
    for file in render(case):
        assert f"managed by aideploy from templates/{file.template};" in file.content[:120]


@cases
def test_visudo_accepts_the_sudoers_file(case: str, tmp_path: Path) -> None:
    visudo = need("visudo")
    for file in render(case):
        if file.validator is Validator.SUDOERS:
            place = tmp_path / "sudoers"
            place.write_text(file.content)
            subprocess.run([visudo, "-cf", str(place)], check=True)


@cases
def test_systemd_understands_every_line_of_the_units(case: str, tmp_path: Path) -> None:
    analyze = need("systemd-analyze")
    units = []
    for file in render(case):
        if file.validator is Validator.UNIT:
            units.append(tmp_path / file.path.name)
            units[-1].write_text(file.content)
    if units:
        ran = subprocess.run(
            [analyze, "--man=no", "verify", *map(str, units)],
            capture_output=True,
            text=True,
            check=False,
        )
        said = [line for line in ran.stderr.splitlines() if "ranker" in line]
        assert [line for line in said if "is not executable: No such file" not in line] == []


def test_where_the_files_lie_is_known_before_the_host_is() -> None:
    settings = load(CASES / "systemd-user" / "hosts.toml", None)
    paths = {str(file.path) for file in managed_files(settings, settings.hosts[0], user="deploy")}
    assert paths == {
        "~/ranker/slots/live/env",
        "~/ranker/slots/staged/env",
        "~/ranker/due.sh",
        "~/.config/systemd/user/ranker-due.path",
        "~/.config/systemd/user/ranker-due.service",
        "~/.config/systemd/user/ranker@.service",
        "~/.config/systemd/user/ranker.socket",
    }


def test_a_file_differs_when_its_text_does_or_it_is_missing_but_not_when_it_cannot_be_read() -> (
    None
):
    files = render("systemd")
    same, other, missing, secret, *rest = files
    checksums = {
        str(same.path): subprocess.run(
            ["sha256sum"], input=same.content, capture_output=True, text=True, check=True
        ).stdout.split()[0],
        str(other.path): "0" * 64,
        str(missing.path): "missing",
        **dict.fromkeys((str(file.path) for file in (secret, *rest)), "unreadable"),
    }
    assert differing(files, checksums) == (other, missing)


def test_a_template_of_the_user_replaces_ours(tmp_path: Path) -> None:
    shutil.copy(CASES / "systemd" / "hosts.toml", tmp_path)
    own = tmp_path / "templates" / "systemd" / "service.j2"
    own.parent.mkdir(parents=True)
    own.write_text("# {{ managed }}\n[Service]\nExecStart={{ root | unit_word }}\n")
    settings = load(tmp_path / "hosts.toml", None)
    files = rendered_files(
        settings, settings.hosts[0], root=PurePosixPath("/srv/100%"), user="deploy"
    )
    (unit,) = (file for file in files if file.template == "systemd/service.j2")
    assert unit.content.splitlines()[1:] == ["[Service]", 'ExecStart="/srv/100%%"']


def test_what_is_on_the_host_is_told_apart_from_what_may_not_be_read() -> None:
    same, unreadable, missing, *_ = render("systemd")
    result = Result(
        "read_files",
        (
            ("state.1", "there"),
            ("content.1", "w6QK"),
            ("state.2", "unreadable"),
            ("state.3", "missing"),
        ),
    )
    found = {
        file.path: file.content for file in installed_files((same, unreadable, missing), result)
    }
    assert found == {same.path: "ä\n", unreadable.path: None}
