"""The environment of a release, as the shell that starts it reads it."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from aideploy.errors import SettingsError
from aideploy.services.environment import environment_file

NASTY = "\\\"$`'!#%&*;~{}()<>|=\n\t\r\x01\x7f aZ09_äß€😀"


def read_by_a_shell(shell: str, file: Path, names: list[str]) -> dict[str, str]:
    """What programs see that this shell starts after it read the file as the serve script does."""
    script = f"set -a; . {file}; exec env -0"
    ran = subprocess.run([shell, "-c", script], capture_output=True, env={}, check=True)
    seen = dict(item.split("=", 1) for item in ran.stdout.decode().split("\0") if item)
    return {name: seen[name] for name in names}


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/sh"])
def test_whatever_a_value_holds_a_shell_reads_it_back(shell: str, tmp_path: Path) -> None:
    chance = random.Random(20260101)
    variables = {
        f"V{number}": "".join(chance.choices(NASTY, k=chance.randint(0, 30)))
        for number in range(500)
    }
    variables |= {"EMPTY": "", "LAST": "ends with \\", "LINES": "a\n\nb\n", "CONTINUED": "\\\n\\"}
    file = tmp_path / "env"
    file.write_text(environment_file(variables), newline="")
    assert read_by_a_shell(shell, file, list(variables)) == variables


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "Ä", "A\n", "$A", "UID", "RANDOM"])
def test_a_name_that_no_shell_could_set_is_refused(name: str) -> None:
    with pytest.raises(SettingsError):
        environment_file({name: "value"})


@pytest.mark.parametrize("value", ["hidden\0rest", "hidden\udc80rest"])
def test_a_value_that_is_no_text_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        environment_file({"TOKEN": value})
    assert "TOKEN" in caught.value.what
    assert "hidden" not in f"{caught.value.what}{caught.value.why}"
