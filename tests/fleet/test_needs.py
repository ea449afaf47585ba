"""A machine that cannot have real hosts says exactly why, and what to do about it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.lab import needs
from tests.lab.base import mirror


def test_a_missing_program_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = shutil.which

    def which(program: str, path: str | None = None) -> str | None:
        return None if program == "systemd-nspawn" else found(program, path=path)

    monkeypatch.setattr(shutil, "which", which)
    said = [entry for entry in needs.missing() if entry.startswith("systemd-nspawn")]
    assert len(said) == 1
    assert "apt-get install --no-install-recommends" in said[0]
    assert "systemd-container" in said[0]


ONE_LINE = "deb [arch=amd64] http://deb.example/debian bookworm main contrib\n"
DEB822 = "Types: deb\nURIs: http://deb.example/debian/\nSuites: bookworm\nComponents: main\n"
MIRROR_LIST = "deb mirror+file:{folder}/debian.list bookworm main\n"
OTHERS_FIRST = "deb http://tools.example bookworm main\n" + ONE_LINE


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="no apt-get: not a Debian machine")
@pytest.mark.parametrize(
    ("name", "sources"),
    [
        ("a.list", ONE_LINE),
        ("a.sources", DEB822),
        ("a.list", MIRROR_LIST),
        ("a.list", OTHERS_FIRST),
    ],
)
def test_the_mirror_is_the_one_that_apt_uses(
    name: str, sources: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / name).write_text(sources.format(folder=tmp_path))
    (tmp_path / "debian.list").write_text("# nearest first\nhttp://deb.example/debian\n")
    apt = tmp_path / "apt.conf"
    apt.write_text(
        f'Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "{tmp_path}/parts";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(apt))

    assert mirror() == "http://deb.example/debian"
