"""Templates: values that cannot break out of their format, and mistakes that are found by name."""

from __future__ import annotations

import json
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from aideploy.errors import SettingsError
from aideploy.rendering import render, sudoers_user, supervisor, unit, unit_word
from tests.needed import need


def template(folder: Path, name: str, text: str) -> None:
    file = folder / "templates" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_a_value_in_a_unit_is_no_specifier() -> None:
    assert unit("/srv/100%i") == "/srv/100%%i"
    assert unit_word('/srv/a "b" \\ 5%') == '"/srv/a \\"b\\" \\\\ 5%%"'


@pytest.mark.parametrize("escape", [unit, unit_word, sudoers_user, supervisor])
@pytest.mark.parametrize("value", ["a\nExecStart=/bin/sh", "a\x00b", "a\rb", "a\x1bb", "a\u2028b"])
def test_no_value_begins_a_line_of_its_own(escape: object, value: str) -> None:
    assert callable(escape)
    with pytest.raises(SettingsError):
        escape(value)


@pytest.mark.parametrize("user", ["deploy", "ALL", "ADMINS", "a.b-c", "user@example", "corp\\ann"])
def test_sudoers_takes_the_name_of_a_user_for_nothing_else(user: str, tmp_path: Path) -> None:
    cvtsudoers = need("cvtsudoers")
    file = tmp_path / "sudoers"
    file.write_text(f"{sudoers_user(user)} ALL=(root) NOPASSWD: /bin/true\n")
    ran = subprocess.run(
        [cvtsudoers, "-f", "json", str(file)], capture_output=True, text=True, check=True
    )
    assert f'"username": {json.dumps(user)}' in ran.stdout


@pytest.mark.parametrize("user", ["", "%wheel", "+netgroup", "#0", "!root", 'a"b', "a\\"])
def test_what_sudoers_would_take_for_a_group_is_refused(user: str) -> None:
    with pytest.raises(SettingsError):
        sudoers_user(user)


@pytest.mark.parametrize("path", ["/srv/ranker", "/srv/100%", "/home/a@b/%(ENV_HOME)s"])
def test_a_path_in_supervisors_configuration_is_no_expansion(path: str) -> None:
    if "(" in path:
        with pytest.raises(SettingsError):
            supervisor(path)
        return
    parser = ConfigParser()
    parser.read_string(f"[program:x]\ncommand={supervisor(path)}\n")
    assert parser["program:x"]["command"] == path


@pytest.mark.parametrize("path", ["/srv/a b", "/srv/a ;b", "/srv/'a", "/srv/$a", "/srv/a\\b"])
def test_a_path_that_supervisor_would_take_apart_is_refused(path: str) -> None:
    with pytest.raises(SettingsError):
        supervisor(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one\n{{ misspelt }}\n", "templates/own.j2:2: 'misspelt' is undefined"),
        ("one\ntwo\n{% if %}\n", "templates/own.j2:3: Expected an expression"),
        ("one\n{{ 1 / 0 }}\n", "templates/own.j2:2: division by zero"),
        ("{{ 'x' | no_such_filter }}", "templates/own.j2:1: No filter named 'no_such_filter'"),
        ("{% include 'gone.j2' %}", "gone.j2"),
    ],
)
def test_a_mistake_in_a_template_is_named_with_its_line(
    tmp_path: Path, text: str, said: str
) -> None:
    template(tmp_path, "own.j2", text)
    with pytest.raises(SettingsError) as caught:
        render("own.j2", {}, folder=tmp_path)
    assert said in caught.value.why


def test_a_mistake_in_a_folder_of_templates_is_named_with_the_folder(tmp_path: Path) -> None:
    template(tmp_path, "systemd/service.j2", "{{ misspelt }}")
    with pytest.raises(SettingsError, match="cannot be rendered") as caught:
        render("systemd/service.j2", {}, folder=tmp_path)
    assert "templates/systemd/service.j2:1: 'misspelt' is undefined" in caught.value.why


def test_a_template_of_the_user_may_build_on_ours(tmp_path: Path) -> None:
    template(tmp_path, "own.j2", "{% include 'slot/env.j2' %}EXTRA=1\n")
    text = render("own.j2", {"variables": {"PORT": "1"}}, folder=tmp_path)
    assert text.splitlines()[1:] == ['PORT="1"', "EXTRA=1"]
