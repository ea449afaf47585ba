"""`[review]`: who has to have looked at a commit before it is deployed."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, PlainValidator, WithJsonSchema

from aideploy.settings.table import Table, default
from aideploy.settings.values import Matches, VariableName, Whole

_Repository = Annotated[
    str,
    Matches(
        r"[A-Za-z0-9][A-Za-z0-9-]{0,99}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}",
        'a repository as "owner/name"',
    ),
]
# A token never travels unencrypted, but to this machine itself.
_Api = Annotated[
    str,
    Matches(
        r"(?:https://[A-Za-z0-9.-]+|http://(?:localhost|127\.0\.0\.1))(?::\d{1,5})?"
        r"(?:/[A-Za-z0-9._-]+)*",
        'a URL that starts with https://, as "https://github.acme.example/api/v3", no "/" last',
    ),
]


def _checks(value: object) -> bool | tuple[str, ...]:
    if isinstance(value, bool):
        return value
    if isinstance(value, list | tuple) and value:
        names = tuple(name for name in value if isinstance(name, str) and name.strip())
        if len(names) == len(value):
            return names
    raise ValueError('true, false or a list of names, as ["tests", "lint"]')


_Checks = Annotated[
    bool | tuple[str, ...],
    PlainValidator(_checks),
    WithJsonSchema(
        {
            "oneOf": [
                {"type": "boolean"},
                {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": r"\S"}},
            ]
        }
    ),
]


class Provider(StrEnum):
    """Where pull requests are reviewed."""

    GITHUB = "github"


class Review(Table):
    """Who has to have looked at a commit before it is deployed."""

    provider: Provider = default("github")
    """The forge where the pull requests are."""

    repository: _Repository
    """The repository there, as "owner/name"."""

    approvals: Annotated[Whole, Field(ge=0)] = 1
    """How many people besides those who wrote the pull request have to approve it."""

    require_checks: _Checks = True
    """The checks that have to be green: true for those that the branch requires there, or names."""

    token: VariableName = default("GITHUB_TOKEN")
    """The name of the secret that holds the token; its value comes from where secrets come from."""

    api: _Api = "https://api.github.com"
    """The address of the API; of GitHub Enterprise Server it is https://HOST/api/v3."""
