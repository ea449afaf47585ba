"""Promises of [review]: what stands in it is understood or refused with what is expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from aideploy.errors import SettingsError
from aideploy.gates.reviewing import token_of
from aideploy.settings import Settings
from tests.hosts_toml import SERVED, loaded

SMALL = f"""\
{SERVED}
[environments.production.hosts.h1]
address = "h1"
[environments.staging.hosts.h2]
address = "h2"
[environments.production.serve]
secrets_file = ".env"
[environments.production.review]
"""


def settings(folder: Path, review: str, environment: str = "production") -> Settings:
    return loaded(folder, SMALL + review, environment)


def test_one_line_is_enough_and_another_environment_needs_none(tmp_path: Path) -> None:
    review = settings(tmp_path, 'repository = "acme/ranker"').review
    assert review
    assert (review.approvals, review.require_checks) == (1, True)
    assert (review.token, review.api) == ("GITHUB_TOKEN", "https://api.github.com")


def test_the_token_comes_from_where_secrets_come_from(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DEPLOY_TOKEN=from the file\n")
    known = settings(tmp_path, 'repository = "acme/ranker"\ntoken = "DEPLOY_TOKEN"')
    assert token_of(known, {}) == "from the file"
    assert token_of(known, {"DEPLOY_TOKEN": "from here"}) == "from here"


def test_a_token_without_a_value_is_missed_by_name(tmp_path: Path) -> None:
    known = settings(tmp_path, 'repository = "acme/ranker"')
    with pytest.raises(SettingsError) as caught:
        token_of(known, {"GITHUB_TOKEN": ""})
    assert caught.value.problems[0].startswith("GITHUB_TOKEN: not in the environment")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("", "review.repository: missing"),
        ('repository = "ranker"', 'expected a repository as "owner/name"'),
        ('repository = "acme/.."', 'expected a repository as "owner/name"'),
        ('repository = "acme/a/b"', 'expected a repository as "owner/name"'),
        ('repository = "a/b"\nprovider = "gitlab"', "provider"),
        ('repository = "a/b"\napprovals = -1', "a whole number of at least 0"),
        ('repository = "a/b"\nrequire_checks = "tests"', "true, false or a list of names"),
        ('repository = "a/b"\nrequire_checks = []', "true, false or a list of names"),
        ('repository = "a/b"\nrequire_checks = [""]', "true, false or a list of names"),
        ('repository = "a/b"\ntoken = "ghp x"', "letters, digits and underscores"),
        ('repository = "a/b"\napi = "http://github.example"', "a URL that starts with https://"),
        ('repository = "a/b"\napi = "https://u:p@github.example"', "starts with https://"),
        ('repository = "a/b"\napi = "https://github.example/api/"', 'no "/" last'),
        ('repository = "a/b"\naprovals = 2', "did you mean approvals?"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, lines: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, lines, "staging")
    assert says in "\n".join(caught.value.problems)
