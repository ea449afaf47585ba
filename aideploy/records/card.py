"""The model card: what a model is, what it was made from and how it was judged, for people.

Pure. It goes into the release, beside what is served, and is made again from the record whenever
somebody asks for it. The headings follow "Model Cards for Model Reporting" (Mitchell et al., 2019)
as far as a deploy knows of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aideploy.records.metrics import measured
from aideploy.records.record import Record
from aideploy.remote.script import Script
from aideploy.rendering import render
from aideploy.report.wording import bytes_count, duration

if TYPE_CHECKING:
    from aideploy.phases.facts import HostFacts

TEMPLATE = "model_card.md.j2"


def card(record: Record, folder: Path) -> str:
    """Return the card of the release's model as Markdown.

    Args:
        record: of the release; it has a model.
        folder: of hosts.toml, whose `templates/` wins over ours.

    Raises:
        SettingsError: the user's own template cannot be rendered.
    """
    seconds = record.training.seconds if record.training else None
    values = {
        "record": record,
        "metrics": measured(record.metrics or {}),
        "size": "" if record.model_size is None else bytes_count(record.model_size),
        "took": "" if seconds is None else duration(seconds),
    }
    return render(TEMPLATE, values, folder=folder)


def scripts(facts: HostFacts, record: Record, folder: Path) -> tuple[Script, ...]:
    """Return what puts the card of a release that has a model beside what is served; see `card`.

    It runs before the release is whole.
    """
    return (script(facts, record.id, card(record, folder)),) if record.model else ()


def script(facts: HostFacts, release: str, text: str) -> Script:
    """Return the script that puts this card into a release that is not whole yet."""
    return Script("write_card", (str(facts.root), release, text))
