"""What the design promises and this version does not do yet.

`problems` and `loading` ask here, so that whoever writes such a key reads "not in this version
yet" and does not look for a spelling mistake. A row leaves this module when its feature arrives.
"""

from __future__ import annotations

from aideploy.settings.positions import Path

_TABLES: frozenset[str] = frozenset()
_KEYS: dict[str, frozenset[str]] = {}
_VALUES: dict[Path, frozenset[str]] = {("train", "engine"): frozenset({"ray", "torchrun"})}


def later_table(name: str) -> str:
    """Say so if this table comes with a later version; otherwise say nothing."""
    return "this table is not in this version yet" if name in _TABLES else ""


def later_key(table: Path, key: str) -> str:
    """Say so if this key comes with a later version; otherwise say nothing."""
    later = key in _KEYS.get(str(table[0]), ())
    return "this key is not in this version yet" if later else ""


def later_value(path: Path, value: object) -> str:
    """Say so if this value comes with a later version; otherwise say nothing."""
    later = isinstance(value, str) and value in _VALUES.get(path, ())
    return f"{value!r} is not in this version yet" if later else ""
