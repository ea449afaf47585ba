"""What all tables of hosts.toml have in common.

Every model of this room inherits from `Table`. The sentence below a field is its documentation:
it is shown when the key is missing, and published in the JSON Schema. Defaults are written as a
user would write them in the file and are checked like a user's value.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Table(BaseModel):
    """One table of hosts.toml: frozen, without room for keys that nobody reads."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,
    )


def default(written: object) -> Any:
    """A default that is read like a user's value, so that it can be written as in the file."""
    return Field(default=written)
