"""Promises of the verdict of the model gate: every reader shows it, and none is fooled by it."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from aideploy.errors import UsageError
from aideploy.report.choose import readers
from aideploy.report.log_file import LogFile
from aideploy.report.verdict import markdown
from aideploy.report.verdict_file import VerdictFile, beside
from tests.unit.report.pretend_run import deploy, verdict


def test_every_log_has_the_table_and_a_ci_log_is_given_no_commands_by_it(tmp_path: Path) -> None:
    for environ in ({}, {"GITHUB_ACTIONS": "true"}):
        out = io.StringIO()
        log = tmp_path / f"{len(environ)}.log"
        for reader in readers(out, io.StringIO(), environ, json=False, log=log):
            reader(verdict())
        shown, logged = out.getvalue(), log.read_text()
        for text in (shown, logged):
            assert text.count("worse by at most 0.01") == 2
            assert "\x1b" not in text
        if environ:
            assert "##[" not in shown


def test_the_json_document_has_the_verdict_with_its_numbers() -> None:
    out = io.StringIO()
    chosen = readers(out, io.StringIO(), {}, json=True, log=None)
    for event in deploy(("gpu1",), fail=False, log=None):
        for reader in chosen:
            reader(event)
    gate = json.loads(out.getvalue())["gate"]
    assert (gate["judgement"], gate["blessed"]) == ("refused", False)
    assert [row["verdict"] for row in gate["rows"]] == ["pass", "pass", "fail", "missing"]
    assert gate["rows"][2]["value"] == 0.61


def test_markdown_for_a_pull_request_mentions_nobody_and_keeps_its_table() -> None:
    text = markdown(verdict())
    assert text.startswith("### Model gate: ❌ refused\n")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == 4
    assert "| **fail** |" in rows[2]

    event = verdict()
    hostile = replace(event.evaluation.rows[0], slice="a|b`c @admin <img> \x1b[2J")
    shown = markdown(replace(event, evaluation=replace(event.evaluation, rows=(hostile,))))
    assert "| `a\\|b'c @admin <img> ` |" in shown


def test_the_markdown_stands_beside_the_log_and_goes_with_it(tmp_path: Path) -> None:
    log = tmp_path / "20240502T091210.345Z-deploy-production.log"
    for reader in readers(io.StringIO(), io.StringIO(), {}, json=False, log=log):
        reader(verdict())
    assert beside(log).read_text() == markdown(verdict())
    for hour in range(24):
        for day in ("03", "04", "05"):
            (tmp_path / f"202405{day}T{hour:02}0000.000Z-deploy-x.log").touch()
    LogFile(tmp_path / "20240506T000000.000Z-deploy-x.log")
    assert not log.exists()
    assert not beside(log).exists()


@pytest.mark.parametrize("name", ["", "missing/verdict.md"])
def test_a_verdict_that_cannot_be_written_is_told_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        VerdictFile(tmp_path / name)


def test_a_disk_that_is_full_leaves_the_old_verdict_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "verdict.md"
    file.write_text("the old one")

    def full(*_: object, **__: object) -> int:
        raise OSError(28, os.strerror(28))

    # A full disk cannot be had here without root.
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        VerdictFile(file)(verdict())
    assert file.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [file]
