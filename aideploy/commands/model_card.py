"""`fab model.card`: the card of a release's model, on the screen or into a file."""

from __future__ import annotations

from pathlib import Path

from aideploy.commands.one_release import record_of
from aideploy.commands.recorded import ask_fleet
from aideploy.errors import UsageError
from aideploy.records.card import TEMPLATE, card
from aideploy.running import Run
from aideploy.writing import replace


def model_card(run: Run, word: str) -> str:
    """Return the card as Markdown.

    Args:
        run: the command.
        word: names the release; see `Fleet.named`.

    Raises:
        UsageError: there is no such release, or it has no model.
    """
    fleet = ask_fleet(run)
    release = fleet.named(word)
    record = record_of(run, fleet, release)
    if record.model is None:
        raise UsageError(f"{release} has no model", next_step="see which has one: fab releases")
    return card(record, run.settings.path.parent)


def write_card(path: Path, text: str) -> None:
    """Write the card to a file; one that is there is replaced if it is a card, too.

    Raises:
        UsageError: it is something else, or cannot be written.
    """
    try:
        is_another = path.exists() and TEMPLATE not in _first_line(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be written", why=str(error)) from None
    if is_another:
        raise UsageError(
            f"{path} is there already and is no model card; it was not touched",
            next_step="name another file with --out",
        )
    replace(path, text)


def _first_line(path: Path) -> str:
    return path.read_bytes().partition(b"\n")[0].decode("utf-8", "replace")
