"""The JSON Schema of hosts.toml, for editors.

It is made from the models that `loading` reads the file with, so that the two cannot disagree.
What it leaves to `loading` is what no schema can say: how tables, hosts and overrides fit together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from aideploy.settings.hosts import HostTable
from aideploy.settings.loading import LISTS, TABLES
from aideploy.settings.table import Table
from aideploy.settings.values import Name

JsonSchema = dict[str, Any]


def json_schema() -> JsonSchema:
    """Describe the whole file, as JSON Schema 2020-12."""
    models: tuple[type[Table], ...] = (*TABLES.values(), *LISTS.values(), HostTable)
    references, shared = models_json_schema([(model, "validation") for model in models])
    definitions = {name: _without_null(schema) for name, schema in shared["$defs"].items()}
    tables = {name: references[model, "validation"] for name, model in TABLES.items()}
    for reference in tables.values():
        # Any key may stand in the shared table or in that of an environment: only both together
        # are complete.
        definitions[reference["$ref"].rpartition("/")[2]].pop("required", None)
    tables |= {
        name: {"type": "array", "items": references[model, "validation"]}
        for name, model in LISTS.items()
    }
    environment = {
        "description": "An environment: its hosts, and what differs from the tables above.",
        "type": "object",
        "properties": {"hosts": _named(references[HostTable, "validation"]), **tables},
        "required": ["hosts"],
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hosts.toml of aideploy",
        "type": "object",
        "properties": {**tables, "environments": _named(environment)},
        "required": ["environments"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _named(schema: Mapping[str, Any]) -> JsonSchema:
    """A table whose keys are names: of environments or of hosts."""
    return {
        "type": "object",
        "minProperties": 1,
        "propertyNames": TypeAdapter(Name).json_schema(),
        "additionalProperties": dict(schema),
    }


def _without_null(schema: Any) -> Any:
    """TOML has no null: a key that may be left out is simply not there."""
    if isinstance(schema, list):
        return [_without_null(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    cleaned = {
        key: _without_null(value)
        for key, value in schema.items()
        if not (key == "default" and value is None)
    }
    if "patternProperties" in cleaned:
        cleaned["additionalProperties"] = False
    match cleaned.get("anyOf"):
        case [only, {"type": "null"}]:
            del cleaned["anyOf"]
            return {**only, **cleaned}
    return cleaned
