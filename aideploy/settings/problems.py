"""One mistake in hosts.toml, put into words.

`loading` turns what pydantic refused, and what the checks between tables found, into problems: the
key, what was found and what is expected. Values that may be secret are described, never repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import ValidationError

from aideploy.settings.later import later_key, later_value
from aideploy.settings.positions import Path
from aideploy.settings.table import Table

_LONGEST_ECHO = 60
# Under these keys may stand passwords: in variables, in commands, in URLs.
_PRIVATE = frozenset(
    {
        "command",
        "environment",
        "find_links",
        "index_url",
        "password",
        "repository",
        "secrets",
        "secrets_command",
        "slack",
        "webhook",
        "token",
    }
)
# Keys of [model] that are URLs; [app] source is none.
_PRIVATE_OF_MODEL = frozenset({"metrics", "source", "store", "tracking_uri"})
_EXPECTED = {
    "string_type": "a text in quotes",
    "path_type": "a text in quotes",
    "int_type": "a whole number",
    "dict_type": "a table",
    "mapping_type": "a table",
    "model_type": "a table",
    "tuple_type": 'a list, as ["one", "two"]',
    "frozen_set_type": 'a list, as ["one", "two"]',
}


@dataclass(frozen=True)
class Problem:
    """A mistake at a key."""

    path: Path
    text: str


def problems_of(model: type[Table], table: Path, error: ValidationError) -> Iterator[Problem]:
    """Put what pydantic refused into words.

    Args:
        model: the model that refused.
        table: the path of the table; the problems are below it.
        error: what pydantic says.
    """
    for detail in error.errors(include_url=False):
        kind, location = detail["type"], detail["loc"]
        if kind == "default_factory_not_called":
            continue
        if location and location[-1] == "[key]":
            location = location[:-1]
        path = (*table, *location)
        if kind == "missing":
            yield Problem(path, f"missing; expected: {_described(model, str(location[-1]))}")
        elif kind == "extra_forbidden":
            yield _unknown(model, table, path, detail["input"])
        elif note := later_value(path, detail["input"]):
            yield Problem(path, note)
        else:
            found, expected = found_at(path, detail["input"]), _expected(detail)
            yield Problem(path, f"found {found}, expected {expected}")


def _unknown(model: type[Table], table: Path, path: Path, value: object) -> Problem:
    key = str(path[-1])
    for name in path[len(table) : -1]:
        # A table within the table.
        annotation = model.model_fields[str(name)].annotation
        for inner in (annotation, *get_args(annotation)):
            if isinstance(inner, type) and issubclass(inner, Table):
                model = inner
    return Problem(path, later_key(table, key) or f"unknown key; {hint(key, keys_of(model))}")


def keys_of(model: type[Table]) -> tuple[str, ...]:
    """The keys of a table as they are written in the file."""
    return tuple(field.alias or name for name, field in model.model_fields.items())


def hint(found: str, known: Iterable[str]) -> str:
    """Name the nearest known word, or all of them when none is near."""
    words = sorted(known)
    if nearest := get_close_matches(found.lower(), words, n=1):
        return f"did you mean {nearest[0]}?"
    return f"known: {', '.join(words)}"


def found_at(path: Path, value: object) -> str:
    """Say what stands in the file; repeat it only where it cannot be a secret."""
    kind = _kind(value)
    if isinstance(value, Mapping | list) or _is_private(path):
        return kind
    shown = repr(value) if isinstance(value, str) else str(value).lower()
    if len(shown) > _LONGEST_ECHO:
        shown = f"{shown[:_LONGEST_ECHO]}…"
    return f"{shown} ({kind})"


def _is_private(path: Path) -> bool:
    # All keys of [hooks] are commands.
    if "hooks" in (*path[:1], *path[2:3]):
        return True
    in_model = "model" in path and bool(_PRIVATE_OF_MODEL.intersection(path))
    return in_model or bool(_PRIVATE.intersection(path))


def written(path: Path) -> str:
    """Write a path as TOML does, as far as that is safe to show."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = re.fullmatch(r"[A-Za-z0-9_-]+", part)
            text += ("." if text else "") + (part if bare else repr(_before_value(part)))
    return text


def _before_value(key: str) -> str:
    # Somebody may have written `"TOKEN=secret"` where a name belongs.
    name, equals, _ = key.partition("=")
    return f"{name[:_LONGEST_ECHO]}=…" if equals else name[:_LONGEST_ECHO]


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "a text" if value else "an empty text"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, Mapping):
        return "a table" if value else "an empty table"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return "a date or time"


def _described(model: type[Table], key: str) -> str:
    description = model.model_fields[key].description or ""
    return description[:1].lower() + description[1:].rstrip(".")


def _expected(detail: Mapping[str, Any]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "enum":
        return str(context["expected"]).replace("'", '"')
    if kind == "greater_than_equal":
        return f"a whole number of at least {context['ge']}"
    if kind == "less_than_equal":
        return f"a whole number of at most {context['le']}"
    if kind == "too_short":
        return f"a list of at least {context['min_length']}"
    return _EXPECTED.get(kind, str(detail["msg"]))
