"""Promises of [model]: where a model comes from is clear before anybody connects."""

from __future__ import annotations

from pathlib import Path

import pytest

from aideploy.errors import SettingsError
from aideploy.registry import look_up
from aideploy.settings import Settings
from tests.hosts_toml import SERVED, loaded

FILE = f"""\
{SERVED}
{{tables}}
[environments.production.hosts.web1]
address = "web1"
roles = ["serve"]
"""
SHA256 = "a" * 64
URL = f'source = "https://models.acme.example/ranker.tar.gz"\nsha256 = "{SHA256}"'


def settings(tmp_path: Path, tables: str) -> Settings:
    return loaded(tmp_path, FILE.format(tables=tables))


@pytest.mark.parametrize(
    "keys",
    [
        URL,
        f'{URL}\nmetrics = "metrics.json"\ntoken = "HF_TOKEN"',
        f'source = "s3://acme/ranker/"\nsha256 = "{SHA256}"\nsecrets = ["AWS_ACCESS_KEY_ID"]',
        f'source = "file:///mnt/models/ranker.bin"\nsha256 = "{SHA256}"\npath = "data/model.bin"',
        'source = "models:/ranker@champion"\ntracking_uri = "https://mlflow.acme.example"',
        'source = "models:/ranker/7"\ntracking_uri = "https://mlflow.acme.example"',
    ],
)
def test_a_model_may_come_from_elsewhere_without_any_host_that_trains(
    tmp_path: Path, keys: str
) -> None:
    found = settings(tmp_path, f"[model]\n{keys}")
    assert found.model.source
    assert found.model_path == found.model.path


@pytest.mark.parametrize("token", ["two\nlines", "töken", "a b"])
def test_a_token_that_no_header_can_hold_is_named_and_never_shown(
    tmp_path: Path, token: str
) -> None:
    keys = 'source = "models:/ranker/7"\ntracking_uri = "http://127.0.0.1:1"\ntoken = "A_TOKEN"'
    with pytest.raises(SettingsError, match="the value of A_TOKEN is no token") as caught:
        look_up(settings(tmp_path, f"[model]\n{keys}").model, {"A_TOKEN": token})
    assert token not in str(caught.value) + caught.value.why


def test_without_a_source_a_release_has_the_model_that_it_trained_or_none(tmp_path: Path) -> None:
    assert settings(tmp_path, "").model_path is None


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        (f"[model]\n{URL}\n[train]\ncommand = 't'", "model.source: there is a [train] too"),
        ('[model]\nsource = "https://a.example/m"', "model.sha256: missing"),
        ('[model]\nsource = "models:/ranker@champion"', "model.tracking_uri: missing"),
        (f'[model]\n{URL}\ntracking_uri = "https://x.example"', "begins with models:/"),
        ('[model]\nstore = "s3://acme/models"', "model.store: there is no [train]"),
        (f'[model]\n{URL}\nstore = "s3://acme/models"', "model.store: found a source too"),
        ('[model]\nmetrics = "metrics.json"', "model.metrics: found no source"),
        ('[model]\nsource = "ranker.tar.gz"', "model.source: found a text, expected a URL"),
        ('[model]\nsource = "models:/ranker"', "model.source: found a text, expected a URL"),
        ('[model]\nsource = "https://me:hunter2@a.example/m"', "a URL without a password"),
        ('[model]\nsource = "s3://bucket/$(reboot) x"', "model.source: found a text"),
        ('[model]\nstore = "https://a.example"', "a place that can be written to"),
        ('[model]\nsha256 = "abc"', "model.sha256: found 'abc' (a text), expected a sha256"),
        ('[model]\nmetrics = "../../etc/passwd"', "a file inside the model"),
        ('[model]\nsorce = "x"', "model.sorce: unknown key"),
    ],
)
def test_what_does_not_fit_is_said_and_no_password_is_repeated(
    tmp_path: Path, tables: str, says: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        settings(tmp_path, tables)
    problems = "\n".join(refused.value.problems)
    assert says in problems
    assert "hunter2" not in problems
