"""What most tests begin with: a hosts.toml, and its settings."""

from __future__ import annotations

from pathlib import Path

from aideploy.settings import Settings, load

_APP = '[app]\nname = "ranker"\nrepository = "/unused"\n'
_TRAIN = '[train]\ncommand = "python train.py"\n'
_SERVE = '[serve]\ncommand = "serve"\n'
# More keys of [serve] may follow, then other tables, and hosts.
SERVED = _APP + _SERVE
TRAINED_AND_SERVED = _APP + _TRAIN + _SERVE


def loaded(folder: Path, text: str, environment: str | None = None) -> Settings:
    """Write hosts.toml and return its settings."""
    file = folder / "hosts.toml"
    file.write_text(text)
    return load(file, environment)
