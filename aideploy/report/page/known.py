"""What there is to tell in a report. Made by `aideploy.commands.report`, drawn by `page`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from aideploy.phases.journal import Verdict
from aideploy.records.record import Record
from aideploy.report.page.looks import Analysis
from aideploy.report.page.told import Told


@dataclass(frozen=True)
class Happened:
    """An entry of the journals, and the hosts that have it, in words."""

    at: datetime
    verdict: Verdict
    who: str
    why: str
    hosts: str


@dataclass(frozen=True)
class Known:
    """What there is to tell; any of it may be missing.

    Args:
        app, environment: as in hosts.toml.
        release: what it is about; empty where no release was known yet.
        told: the run, where its stream is on this machine.
        record, before: of the release and of the one that it is compared with.
        history: what happened to the release, oldest first.
        analyses: of canary against baseline.
        remarks: what is missing from the page, and why.
        log: the name of the whole log's file.
        made: when, in UTC.
        tool: what made it.
    """

    app: str
    environment: str
    release: str
    told: Told | None = None
    record: Record | None = None
    before: Record | None = None
    history: tuple[Happened, ...] = ()
    analyses: tuple[Analysis, ...] = ()
    remarks: tuple[str, ...] = ()
    log: str = ""
    made: datetime | None = None
    tool: str = ""
