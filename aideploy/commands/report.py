"""`fab report`: one HTML file of a run or a release: what this machine's log and the hosts know.

The stream of the run lies beside its log, on the machine that ran it; records and journals lie on
the hosts. Each is enough for a page by itself, and the page says which of them is missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from aideploy.commands.asking import Absent, named
from aideploy.commands.history import folded
from aideploy.commands.recorded import (
    CURRENT,
    PREVIOUS,
    Fleet,
    analyses_of,
    ask_fleet,
    ask_for_records,
    release_begins,
)
from aideploy.errors import AideployError, Interrupted, UsageError
from aideploy.events import Phase, ReleaseKnown
from aideploy.records.record import Record
from aideploy.remote.script import Script
from aideploy.remote.session import Session
from aideploy.report.event_reading import Stream, read_stream
from aideploy.report.facts import Table, Text
from aideploy.report.local_runs import Ran, newest, runs_of
from aideploy.report.log_file import log_folder
from aideploy.report.page.known import Happened, Known
from aideploy.report.page.looks import EVENT, Analysis, analyses, kept_analyses
from aideploy.report.page.page import TEMPLATE, html
from aideploy.report.page.told import told
from aideploy.running import Run
from aideploy.settings import Settings
from aideploy.writing import replace as write

_MADE_BY = f"managed by aideploy from templates/{TEMPLATE}".encode()


@dataclass(frozen=True)
class Written:
    """A report that was written.

    Args:
        file: where.
        release: what it is about; empty where no release was known.
        log: the stream it was made of, where there is one on this machine.
        remarks: what is missing in it, and why.
        absent: the hosts that did not answer.
    """

    file: Path
    release: str
    log: Path | None
    remarks: tuple[str, ...]
    absent: tuple[Absent, ...]

    def shown(self) -> tuple[Table | Text, ...]:
        """Return where it is."""
        about = f" is about {self.release}" if self.release else " is written"
        return (Text("", (f"{self.file}{about}", *self.remarks)),)


def report(run: Run, release: str | None, to: str | None, *, local: bool) -> Written:
    """Write the report.

    Args:
        run: the command.
        release: names it; see `Fleet.named`. Without it, what ran last on this machine is meant.
        to: the file, as typed.
        local: whether no host is asked.

    Raises:
        UsageError: there is no such release or run, or the file cannot be written.
        HostNotReady: nothing is known on this machine, and no host answers.
    """
    file = _file(to)
    runs = tuple(runs_of(run.settings))
    stream = newest(runs) if release is None else None
    if local:
        fleet = None
        remarks: list[str] = ["The hosts were not asked: there is only what this machine knows."]
    else:
        fleet, remarks = _fleet(run, required=release is None and stream is None)
    name = _release(release, stream, fleet, runs)
    if stream is None:
        stream = next((read_stream(one.path) for one in runs if one.release == name), None)
    if stream is None:
        if fleet is None or not name:
            raise UsageError(
                "there is nothing to report: this machine has no log of such a run",
                next_step="fab deploy; or fab report --release RELEASE, on a machine that reaches "
                "the hosts",
            )
        remarks.append("The run was on another machine, or its log is gone.")
    known = _known(run, name, stream, fleet, remarks)
    path = file or _own_place(run.settings, known)
    write(path, html(known, run.settings.path.parent))
    log = stream.path if stream else None
    return Written(path, name, log, known.remarks, fleet.absent if fleet else ())


# -- the release -----------------------------------------------------------------------------------


def _fleet(run: Run, *, required: bool) -> tuple[Fleet | None, list[str]]:
    """Ask the hosts; where they do not answer, what this machine knows may be enough."""
    try:
        return ask_fleet(run), []
    except AideployError as error:
        if required or isinstance(error, Interrupted):
            raise
        if not isinstance(error, UsageError):
            run.failure = run.failure or error
        return None, [f"There is nothing from the hosts: {error.what}."]


def _release(
    word: str | None, stream: Stream | None, fleet: Fleet | None, runs: tuple[Ran, ...]
) -> str:
    if word is None:
        if stream is not None:
            known = [one.release for one in stream.events if isinstance(one, ReleaseKnown)]
            return known[-1] if known else ""
        return fleet.named(CURRENT) if fleet else ""
    here = {one.release for one in runs if one.release and release_begins(one.release, word)}
    if fleet is not None:
        try:
            return fleet.named(word)
        except UsageError:
            # What was refused before it was whole is known where it was tried alone.
            if len(here) != 1:
                raise
    if word in (CURRENT, PREVIOUS):
        raise UsageError(
            f"which release is {word} only the hosts know", next_step="name the release"
        )
    if len(here) != 1:
        raise UsageError(
            f"this machine knows {len(here) or 'no'} releases {word!r}",
            why=", ".join(sorted(here)[-5:]),
            next_step="leave --local out, or write more of it",
        )
    return here.pop()


def _known(
    run: Run, release: str, stream: Stream | None, fleet: Fleet | None, remarks: list[str]
) -> Known:
    record = before = None
    history: tuple[Happened, ...] = ()
    if fleet is not None and release:
        record, before = _records(run, fleet, release)
        history = tuple(_history(fleet, release))
        if record is None:
            remarks.append("No host has a record of this release.")
        if fleet.absent:
            gone = named(tuple(one.host for one in fleet.absent), fleet.asked)
            remarks.append(f"There is no answer from {gone}.")
    if stream is not None and stream.unreadable:
        remarks.append(f"{stream.unreadable} lines of the stream could not be read.")
    looks = analyses(one.values for one in stream.unknown if one.kind == EVENT) if stream else ()
    if not looks and fleet is not None and record is not None:
        looks = _kept_analyses(run, fleet, release)
    return Known(
        app=run.settings.app.name,
        environment=run.settings.environment,
        release=release,
        told=told(stream.events) if stream else None,
        record=record,
        before=before,
        history=history,
        analyses=looks,
        remarks=tuple(remarks),
        log=stream.path.name.removesuffix(".events.jsonl") + ".log" if stream else "",
        made=datetime.now(UTC),
        tool=f"aideploy {metadata.version('aideploy')}",
    )


def _records(run: Run, fleet: Fleet, release: str) -> tuple[Record | None, Record | None]:
    """Return the record of the release and of the one that its model is compared with."""
    knowing = fleet.knowing(release)
    if not knowing:
        return None, None
    host = knowing[0]
    record = ask_for_records(run, fleet, {host: [release]}).get((host, release))
    if record is None:
        return None, None
    earlier = record.gate.baseline if record.gate else None
    earlier = earlier or record.replaces
    if not earlier or earlier not in fleet.releases:
        return record, None
    return record, ask_for_records(run, fleet, {host: [earlier]}).get((host, earlier))


def _kept_analyses(run: Run, fleet: Fleet, release: str) -> tuple[Analysis, ...]:
    """Return what the host that the record came from keeps of the analyses of the release."""
    host = fleet.knowing(release)[0]
    place = analyses_of(fleet.facts[host].root, release)
    script = Script("read_files", (str(place),), libraries=("files",))

    def work(session: Session) -> bytes:
        return session.run(Phase.LOOK, script)[0].data("content.1")

    found = run.fleet.attempt(Phase.LOOK, work, [host], stop_at_failure=False).results
    return kept_analyses(found.get(host, b""))


def _history(fleet: Fleet, release: str) -> Iterator[Happened]:
    for one in folded({name: known.journal for name, known in fleet.facts.items()}):
        if one.release == release:
            yield Happened(one.at, one.verdict, one.who, one.why, named(one.hosts, fleet.asked))


# -- the file --------------------------------------------------------------------------------------


def _file(to: str | None) -> Path | None:
    """Return the file that was asked for.

    Raises:
        UsageError: something is there that is no report; it stays.
    """
    if to is None:
        return None
    path = Path(to).expanduser()
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder", next_step="name a file with --to")
        if not path.parent.is_dir():
            raise UsageError(f"there is no folder {path.parent}", next_step="make it")
        is_another = path.exists() and not _is_report(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be written", why=str(error)) from None
    if is_another:
        raise UsageError(
            f"{path} is there already and is no report; it was not touched",
            next_step="name another file with --to",
        )
    return path


def _is_report(path: Path) -> bool:
    with path.open("rb") as file:
        return _MADE_BY in file.read(500)


def _own_place(settings: Settings, known: Known) -> Path:
    """Return the place beside the logs, in a folder that is for its owner alone."""
    folder = log_folder(settings.path.parent).with_name("reports")
    try:
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (folder / ".gitignore").write_text("*\n")
    except OSError as error:
        raise UsageError(
            f"the folder {folder} cannot be made",
            why=error.strerror or str(error),
            next_step="name a file with --to",
        ) from None
    what = known.release or (known.log.removesuffix(".log"))
    name = f"{settings.environment}-{what}.html".replace(os.sep, "_")
    return folder / name
