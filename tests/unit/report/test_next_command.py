"""What a person is told to type means the environment that the command was about."""

from __future__ import annotations

from pathlib import Path

import pytest

from aideploy.report.next_command import typed
from aideploy.settings import load

TWO = """
[app]
name = "ranker"
repository = "git@github.com:acme/ranker.git"
{default}
[serve]
command = "x"
[environments.production.hosts.gpu1]
address = "gpu1"
[environments.staging.hosts.stage1]
address = "stage1"
"""


def told(folder: Path, text: str, environment: str, default: str = "") -> str:
    path = folder / "hosts.toml"
    path.write_text(TWO.format(default=default))
    return typed(text, load(path, environment))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fab setup", "fab setup --env staging"),
        (
            "fab rollback --to R --only a; a keeps it, until the next fab deploy",
            "fab rollback --env staging --to R --only a; a keeps it, "
            "until the next fab deploy --env staging",
        ),
        (
            "fab rollout.promote or fab rollout.abort",
            "fab rollout.promote --env staging or fab rollout.abort --env staging",
        ),
        ("fab step.stage.", "fab step.stage --env staging."),
        ("fab init, or fab sandbox.up", "fab init, or fab sandbox.up"),
        ("correct the file", "correct the file"),
    ],
)
def test_a_command_names_the_environment_where_a_bare_one_would_mean_another(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert told(tmp_path, text, "staging", 'default_environment = "production"') == expected
    assert told(tmp_path, text, "staging") == expected


def test_the_environment_is_put_in_once(tmp_path: Path) -> None:
    once = told(tmp_path, "fab check again, when that is done", "staging")
    assert once == "fab check --env staging again, when that is done"
    assert told(tmp_path, once, "staging") == once


def test_what_a_bare_command_means_stays_as_it_is(tmp_path: Path) -> None:
    default = 'default_environment = "staging"'
    assert told(tmp_path, "fab deploy", "staging", default) == "fab deploy"
