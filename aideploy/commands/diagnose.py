"""`fab diagnose`: what a person would look at first, on all hosts, and the likeliest cause."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from aideploy.commands.asking import ask, of_serving
from aideploy.diagnosis import look
from aideploy.diagnosis.cause import Cause, ranked
from aideploy.diagnosis.fleet_rules import of_fleet, of_prometheus, unreachable
from aideploy.diagnosis.host_rules import of_host
from aideploy.diagnosis.look import HostLook
from aideploy.errors import AideployError, HostNotReady
from aideploy.report.facts import Table, Text
from aideploy.report.next_command import typed
from aideploy.running import Run
from aideploy.settings import Settings

_COLUMNS = ("HOST", "LIVE", "SERVICE", "RESTARTS", "HEALTH", "DISK FREE", "MEMORY FREE", "GPUS")
_MOST_EVIDENCE = 6


@dataclass(frozen=True)
class HostNow:
    """One host in a line: what it serves, how that is, and what room it has left, in bytes."""

    host: str
    release: str
    service: str
    restarts: int
    healthy: bool | None
    free: int
    memory: int
    gpus: int | None
    load: str
    last_entry: str
    last_lines: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong, the likeliest cause first; nothing at all when `causes` is empty.

    Args:
        app, environment: of which.
        causes: what is wrong, and what to do about it.
        hosts: those that answered.
        notes: what could not be asked, and who is at work.
    """

    app: str
    environment: str
    causes: tuple[Cause, ...]
    hosts: tuple[HostNow, ...]
    notes: tuple[str, ...]

    def shown(self) -> tuple[Table | Text, ...]:
        """Return the causes, then the hosts."""
        found = [Text("", tuple(self._lines()))] if self.causes else []
        well = () if self.causes else (f"{self.app} in {self.environment}: nothing is wrong",)
        return (
            *found,
            Text("", well),
            Table(_COLUMNS, tuple(map(_row, self.hosts))),
            Text("", self.notes),
        )

    def _lines(self) -> Iterator[str]:
        for number, cause in enumerate(self.causes, 1):
            yield f"{number}. {cause.host}: {cause.kind}: {cause.what}"
            for line in cause.evidence[:_MOST_EVIDENCE]:
                yield f"     {line}"
            if cause.next_step:
                yield f"   → {cause.next_step}"


def diagnose(run: Run) -> Diagnosis:
    """Look at every host, in one round trip, and return what is wrong, the likeliest first.

    The command ends with status 3 when something is. It takes no lock and changes nothing.
    """
    settings = run.settings
    results, absent = ask(run, lambda host: (look.script(settings, host),))
    looks = {name: look.read(name, result[0]) for name, result in results.items()}
    hosts = {host.name: host for host in settings.hosts}
    causes: list[Cause] = list(unreachable(absent))
    for name, one in looks.items():
        causes += of_host(settings, hosts[name], one)
    causes += of_fleet(of_serving(settings, looks))
    notes = [*_at_work(settings, looks)]
    causes += of_monitoring(settings, notes)
    likeliest = tuple(
        replace(cause, next_step=typed(cause.next_step, settings)) for cause in ranked(causes)
    )
    if likeliest:
        first = likeliest[0]
        more = f"; and {len(likeliest) - 1} more" if len(likeliest) > 1 else ""
        run.failure = HostNotReady(
            f"{first.host}: {first.kind}: {first.what}{more}", next_step=first.next_step
        )
    return Diagnosis(
        settings.app.name,
        settings.environment,
        likeliest,
        tuple(map(_now, looks.values())),
        tuple(notes),
    )


def _at_work(settings: Settings, looks: Mapping[str, HostLook]) -> Iterator[str]:
    unlock = typed("fab unlock", settings)
    for name, one in looks.items():
        if one.lock:
            yield f"{name}: {one.lock} is at work, which may be what is seen here"
        if one.held:
            yield f"{name}: locked on purpose by {one.held} ({unlock})"


def of_monitoring(settings: Settings, notes: list[str]) -> tuple[Cause, ...]:
    """Return what Prometheus knows; that it cannot be asked is a note."""
    if settings.monitoring.prometheus is None:
        return ()
    from aideploy.monitoring.prometheus_api import prometheus_of

    names = [host.name for host in settings.hosts]
    app = settings.app.name
    try:
        with prometheus_of(settings, os.environ) as server:
            said = server.targets(), server.alerts()
    except AideployError as error:
        why = f" ({error.why})" if error.why else ""
        notes.append(f"Prometheus was not asked: {error.what}{why}")
        return ()
    return tuple(of_prometheus(app, settings.environment, names, *said))


def _now(one: HostLook) -> HostNow:
    entries = one.journal.entries
    last = entries[-1] if entries else None
    return HostNow(
        host=one.host,
        release=one.release,
        service=one.service,
        restarts=max((unit.restarts for unit in one.units.values()), default=0),
        healthy=one.healthy,
        free=one.free(),
        memory=one.memory.get("MemAvailable", 0) * 1024,
        gpus=one.gpus.well if one.gpus else None,
        load=one.load,
        last_entry=f"{last.at:%Y-%m-%d %H:%M} {last.verdict} {last.release} {last.why}".rstrip()
        if last
        else "",
        last_lines=one.last_words,
    )


def _row(one: HostNow) -> tuple[str, ...]:
    return (
        one.host,
        one.release or "nothing",
        one.service,
        str(one.restarts) if one.service else "",
        {True: "healthy", False: "not healthy", None: ""}[one.healthy],
        f"{one.free / 1024**3:.1f} GB",
        f"{one.memory / 1024**3:.1f} GB",
        "" if one.gpus is None else str(one.gpus),
    )
