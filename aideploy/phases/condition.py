"""The condition of a host right now: what it serves, since when, how it is, and who holds its lock.

Pure: which script to run and what its answer means. Used by `fab status`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aideploy.phases import data_drift, facts, health
from aideploy.phases.data_drift import DataDrift
from aideploy.remote.result import Result
from aideploy.remote.script import Script
from aideploy.services.manager import bind, libraries
from aideploy.settings.hosts import Role

if TYPE_CHECKING:
    from aideploy.settings import Host, Settings


@dataclass(frozen=True)
class Job:
    """What a host does by itself when its time has come (scripts/due.sh).

    Args:
        name: of the job; what it says goes to NAME.log in the app's folder.
        at: when, by the host's clock.
        words: what it does.
    """

    name: str
    at: datetime
    words: str


@dataclass(frozen=True)
class Change:
    """A file or a link that is not as it was when its release was made whole.

    Args:
        of: release, or the venv or model that it uses and perhaps shares with others.
        path: below that.
    """

    of: str
    path: str

    def __str__(self) -> str:
        return self.path if self.of == "release" else f"{self.path} ({self.of})"


def changes(result: Result, key: str) -> tuple[Change, ...]:
    """Return what `emit_changes` of manifest.sh told under this key."""
    return tuple(Change(*(said.split(" ", 1))) for said in result.all(key) if " " in said)


@dataclass(frozen=True)
class Condition:
    """What one host said of itself just now.

    Args:
        revision, subject, model, environment: of the live release, as its release.json says.
        changed: what of it is not as it was when it was made whole; at most 20.
        added: files that change what our units do, and are none of ours.
        slot: the one that is live; empty where nothing is served.
        service: active, activating, failed, inactive or missing; empty where nothing is served.
        healthy: None where nobody could be asked.
        health: in words.
        lock: who holds the lock since when, when it is held.
        held: who locked it on purpose since when and why, when somebody did.
        in_held_rollout: whether it is part of a rollout that waits for a person.
        due: what it is about to do by itself.
        given_up: what it tried to do by itself, in vain.
        data_drift: how far its data has moved, where something looks for that.
    """

    revision: str = ""
    subject: str = ""
    model: str = ""
    environment: str = ""
    changed: tuple[Change, ...] = ()
    added: tuple[str, ...] = ()
    slot: str = ""
    service: str = ""
    healthy: bool | None = field(default=None)
    health: str = ""
    lock: str = ""
    held: str = ""
    in_held_rollout: bool = False
    due: tuple[Job, ...] = ()
    given_up: tuple[Job, ...] = ()
    data_drift: DataDrift | None = None


def script(settings: Settings, host: Host) -> Script:
    """Return the script that asks, in the one round trip that opens the session."""
    serve = settings.serve if Role.SERVE in host.roles else None
    request = health.asked_once(settings.health, bind(serve, host), serve.port) if serve else ""
    return Script(
        "status",
        (
            str(settings.app.deploy_to),
            settings.app.name,
            "yes" if serve else "no",
            settings.install.python,
            health.program(),
            request,
            data_drift.file_of(settings, host),
        ),
        libraries=("manifest", "standing", *(("release", *libraries(serve)) if serve else ())),
        limit=facts.LIMIT,
    )


def read(result: Result) -> Condition:
    """Make a typed answer of what the script emitted."""
    try:
        record = json.loads(result.data("record") or b"{}")
    except ValueError:
        record = {}
    if not isinstance(record, dict):
        record = {}
    answer = result.text("healthy")
    return Condition(
        revision=str(record.get("revision") or ""),
        subject=str(record.get("subject") or ""),
        model=str(record.get("model") or ""),
        environment=str(record.get("environment") or ""),
        changed=changes(result, "changed"),
        added=result.all("added"),
        slot=result.text("slot"),
        service=result.text("service"),
        healthy=answer == "yes" if answer else None,
        health=result.text("health").removeprefix("not healthy after 0 s: "),
        lock=result.text("lock"),
        held=result.text("held"),
        in_held_rollout=result.text("rollout") == "held",
        due=tuple(map(_job, result.all("due"))),
        given_up=tuple(map(_job, result.all("given-up"))),
        data_drift=data_drift.read(result.data("data-drift")),
    )


def _job(said: str) -> Job:
    name, at, words = said.split(" ", 2)
    return Job(name, datetime.fromtimestamp(int(at), UTC), words)
