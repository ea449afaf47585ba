"""The runs that this machine remembers: their streams lie beside their logs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aideploy.events import ReleaseKnown, RunStarted
from aideploy.report.event_reading import Stream, read_beginning, read_stream
from aideploy.report.log_file import log_folder
from aideploy.settings import Settings


@dataclass(frozen=True)
class Ran:
    """A run that this machine remembers: its stream, its command, and what it was about."""

    path: Path
    command: str
    release: str


def runs_of(settings: Settings) -> Iterator[Ran]:
    """Yield the runs on this environment that this machine remembers, newest first."""
    folder = log_folder(settings.path.parent)
    for path in sorted(folder.glob("*.events.jsonl"), reverse=True):
        begun, release = None, ""
        for event in read_beginning(path, (RunStarted, ReleaseKnown)):
            if isinstance(event, RunStarted):
                begun = event
                if (event.app, event.environment) != (settings.app.name, settings.environment):
                    break
            elif isinstance(event, ReleaseKnown):
                release = event.release
        else:
            if begun:
                yield Ran(path, begun.command, release)


def newest(runs: tuple[Ran, ...]) -> Stream | None:
    """Return the newest run, of those first that were about a release."""
    about = [one for one in runs if one.release] or [
        one for one in runs if one.command.partition(".")[0] in ("deploy", "rollback", "step")
    ]
    return read_stream(about[0].path) if about else None
