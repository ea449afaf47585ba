"""Promises of secrets: where their values come from, and that errors name them and no more."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from aideploy.errors import SettingsError
from aideploy.settings import secrets
from aideploy.settings.secrets import resolve
from aideploy.settings.serve import Serve

PATH = {"PATH": os.environ["PATH"]}


def serve(**keys: Any) -> Serve:
    return Serve.model_validate({"command": "run", **keys})


def failure(table: Serve, environ: Mapping[str, str], folder: Path) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        resolve(table, environ, folder)
    return caught.value


def test_without_secrets_nothing_is_read_or_run(tmp_path: Path) -> None:
    assert resolve(serve(secrets_command="touch ran; exit 1"), {}, tmp_path) == {}
    assert not (tmp_path / "ran").exists()


def test_the_environment_comes_before_the_file_and_the_file_before_the_command(
    tmp_path: Path,
) -> None:
    (tmp_path / "my.env").write_text("A=file\nB=file\n")
    table = serve(
        secrets=["A", "B", "C"],
        secrets_file="my.env",
        secrets_command="echo A=command; echo B=command; echo C=command",
    )
    found = resolve(table, {**PATH, "A": "environment", "Z": "not asked for"}, tmp_path)
    assert found == {"A": "environment", "B": "file", "C": "command"}


def test_the_command_is_not_run_when_nothing_is_missing(tmp_path: Path) -> None:
    table = serve(secrets=["A"], secrets_file="missing.env", secrets_command="touch ran")
    assert resolve(table, {**PATH, "A": "x"}, tmp_path) == {"A": "x"}
    assert not (tmp_path / "ran").exists()


def test_a_dotenv_file_is_read_as_people_are_used_to(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# comment\nexport A='single $HOME'\nB=\"two\\nlines\"\nC=pa$$word # comment\n\nD=ä=b\n"
    )
    table = serve(secrets=["A", "B", "C", "D"], secrets_file=".env")
    assert resolve(table, {"HOME": "/root"}, tmp_path) == {
        "A": "single $HOME",
        "B": "two\nlines",
        "C": "pa$$word",
        "D": "ä=b",
    }


def test_every_missing_secret_is_named_with_the_places_that_were_searched(tmp_path: Path) -> None:
    table = serve(secrets=["A", "B", "C"], secrets_file=".env", secrets_command="echo A=1; echo B=")
    error = failure(table, {**PATH, "C": ""}, tmp_path)
    assert error.what == "2 secrets have no value"
    assert [problem.split(":")[0] for problem in error.problems] == ["B", "C"]
    assert "the file .env" in error.problems[0]
    assert "secrets_command" in error.problems[0]


def test_a_command_that_fails_is_an_error_that_does_not_show_its_output(tmp_path: Path) -> None:
    table = serve(secrets=["A"], secrets_command="echo A=hunter2; exit 3")
    error = failure(table, PATH, tmp_path)
    assert "status 3" in error.what
    assert "hunter2" not in error.what + error.why + error.next_step


def test_a_command_that_hangs_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "_COMMAND_TIMEOUT", timedelta(seconds=0.3))
    table = serve(secrets=["A"], secrets_command="(sleep 1; touch survived) & sleep 60")
    started = time.monotonic()
    error = failure(table, PATH, tmp_path)
    assert time.monotonic() - started < 5
    assert "did not end" in error.what
    time.sleep(1)
    assert not (tmp_path / "survived").exists()


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "my.env"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    error = failure(serve(secrets=["A"], secrets_file="my.env"), {}, tmp_path)
    assert str(path) in error.what


def test_output_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    error = failure(serve(secrets=["A"], secrets_command="printf '\\377'"), PATH, tmp_path)
    assert "UTF-8" in error.what
