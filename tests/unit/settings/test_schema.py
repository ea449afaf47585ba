"""Promises of the JSON Schema: an editor accepts and refuses what `load` accepts and refuses."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from aideploy.errors import SettingsError
from aideploy.settings.schema import json_schema
from tests.hosts_toml import SERVED, loaded

EXAMPLE = Path(__file__).parents[3] / "hosts.example.toml"
SMALL = f"""\
{SERVED}
[environments.production.hosts.h1]
address = "h1"
"""


def validator() -> jsonschema.Draft202012Validator:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_accepts_the_example() -> None:
    validator().validate(tomllib.loads(EXAMPLE.read_text()))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[environments.production.serve]\nport = 9000",
        "[environments.production.train]\ntimeout = '1h'\ncommand = 't'",
        "[health]\njson = { ok = true, revision = '$REVISION', n = 1 }",
        "[serve.environment]\nA = 'ä'",
        "[rollout]\nbake = '0s'",
        "[train]\ncommand = 't'\n[[gate]]\nmetric = 'auc'\nmin = 0",
        "[train]\ncommand = 't'\n[[environments.production.gate]]\nmetric = 'a'\nmax_drop = 0.1",
    ],
)
def test_what_load_accepts_the_schema_accepts(tmp_path: Path, line: str) -> None:
    loaded(tmp_path, SMALL + line)
    validator().validate(tomllib.loads(SMALL + line))


@pytest.mark.parametrize(
    "line",
    [
        "brnch = 'main'",
        "[serv]",
        "[ssh]\nzzz = 1",
        "[ssh]\nport = 0",
        "[ssh]\nport = '22'",
        "[ssh]\nconnect_timeout = 10",
        "[ssh]\nconnect_timeout = '0s'",
        "[install]\ntool = 'conda'",
        "[install]\nrequirements = 'requirements.txt'",
        "[serve.environment]\n'A B' = 'x'",
        "[serve.environment]\nA = 1",
        "[environments.production]\nserv = {}",
        "[gate]\nmetric = 'auc'\nmin = 1",
        "[[gate]]\nmin = 1",
        "[[gate]]\nmetric = 'auc'\nmax_drop_rel = 5",
        "[environments.production.serve]\nstrategy = 'green_blue'",
        "[environments.production.hosts.h2]\nadress = 'h2'",
        "[environments.production.hosts.H2]\naddress = 'h2'",
        "[environments.Staging.hosts.h2]\naddress = 'h2'",
    ],
)
def test_what_the_schema_refuses_load_refuses(tmp_path: Path, line: str) -> None:
    with pytest.raises(SettingsError):
        loaded(tmp_path, SMALL + line)
    assert not validator().is_valid(tomllib.loads(SMALL + line))


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(inner, dict | list):
            yield from nodes(inner)


def test_every_key_has_a_description_for_the_editor() -> None:
    definitions = json_schema()["$defs"]
    keys = [
        (table, key, schema)
        for table, definition in definitions.items()
        for key, schema in definition.get("properties", {}).items()
        if table not in ("Linked", "HostCount")
    ]
    assert len(keys) > 40
    assert [(table, key) for table, key, schema in keys if not schema.get("description")] == []


def test_the_schema_is_plain_json_that_is_the_same_each_time() -> None:
    assert json.dumps(json_schema()) == json.dumps(json_schema())
    assert not any(node.get("type") == "null" for node in nodes(json_schema()))
