"""`fab status`: what each host serves, since when and by whom, how it is, and what differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from aideploy.commands.asking import Absent, ask_how_they_are, named, of_serving
from aideploy.errors import HostNotReady
from aideploy.monitoring.rules import drift_limits
from aideploy.phases import drift
from aideploy.phases.condition import Condition
from aideploy.phases.drift import Drift, Kind
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Verdict
from aideploy.report.facts import Table, Text
from aideploy.report.next_command import typed
from aideploy.running import Run
from aideploy.services.manager import Slot
from aideploy.settings import Host, Settings

_COLUMNS = ("HOST", "LIVE", "SINCE (UTC)", "BY", "SERVICE", "HEALTH", "MODEL", "FREE")


@dataclass(frozen=True)
class HostStatus:
    """One host that answered.

    Args:
        host: its name.
        set_up: whether the app's folder is there and ours.
        release: what is live, if anything is.
        since, by: when and by whom it was put live, as far as the journal knows.
        condition: what the host said of itself just now.
        free: bytes free where the app lives.
        stale_files: configuration files that are not as the settings want them.
        drift: in what it differs from what was left there, and from the other hosts.
        data_drift: how far its data has drifted, in words, where that is worth a word.
    """

    host: str
    set_up: bool
    release: str | None
    since: datetime | None
    by: str
    condition: Condition
    free: int
    stale_files: tuple[str, ...]
    drift: tuple[Drift, ...]
    data_drift: str = ""

    @property
    def is_as_it_should_be(self) -> bool:
        """Whether nothing has to be done about this host."""
        return self.set_up and not self.drift and self.condition.healthy is not False


@dataclass(frozen=True)
class Status:
    """The fleet as it is now.

    Args:
        app, environment: whose.
        last_good: the release that was judged good last; the one that every host should serve.
        hosts: those that answered.
        absent: those that did not.
        differing: the hosts that serve something else than `last_good`.
        remarks: what a person should know besides, of which hosts, and in brackets what to type.
    """

    app: str
    environment: str
    last_good: str | None
    hosts: tuple[HostStatus, ...]
    absent: tuple[Absent, ...]
    differing: tuple[str, ...]
    remarks: tuple[str, ...]

    def shown(self) -> tuple[Table | Text, ...]:
        """Return the table, and what a person should know besides."""
        rows = [*map(_row, self.hosts), *((one.host, "does not answer") for one in self.absent)]
        padded = tuple((*row, *[""] * (len(_COLUMNS) - len(row))) for row in rows)
        return Table(_COLUMNS, padded), Text("", self.remarks)


def status(run: Run) -> Status:
    """Ask every host, in one round trip, and return what those that answer say.

    The command ends with status 3 when a host does not, or is not as it should be. While another
    command is at work, which may be why, only the first counts.
    """
    settings = run.settings
    facts, conditions, absent = ask_how_they_are(run)
    hosts = {host.name: host for host in settings.hosts}
    serving = of_serving(settings, facts)
    good = drift.last_good(serving)
    found = tuple(
        _host_status(
            settings,
            hosts[name],
            facts[name],
            conditions[name],
            good if name in serving else None,
        )
        for name in facts
    )
    odd = tuple(one.host for one in found if not one.is_as_it_should_be)
    if odd and run.failure is None and not any(one.condition.lock for one in found):
        run.failure = HostNotReady(
            f"not as it should be: {named(odd, len(settings.hosts))}",
            next_step="what is in brackets behind each line",
        )
    return Status(
        app=settings.app.name,
        environment=settings.environment,
        last_good=good,
        hosts=found,
        absent=absent,
        differing=tuple(
            name for name, known in serving.items() if good is not None and known.current != good
        ),
        remarks=_folded(settings, found),
    )


def _folded(settings: Settings, hosts: Iterable[HostStatus]) -> tuple[str, ...]:
    """Return what there is to say, and of which hosts."""
    of: dict[str, list[str]] = {}
    for one in hosts:
        for text in _remarks(settings, one):
            of.setdefault(text, []).append(one.host)
    return tuple(f"{named(tuple(who), len(settings.hosts))}: {text}" for text, who in of.items())


def _remarks(settings: Settings, one: HostStatus) -> Iterator[str]:
    def hint(command: str) -> str:
        return f"({typed(command, settings)})"

    now = one.condition
    if now.lock:
        yield f"locked by {now.lock}"
    told = any(found.kind is Kind.UNCONFIRMED for found in one.drift)
    for job in now.due:
        if not (told and job.name == "revert"):
            yield f"{job.words}, at {job.at:%H:%M:%S} (UTC)"
    if now.held:
        yield f"locked on purpose by {now.held} {hint('fab unlock')}"
    if now.in_held_rollout:
        yield f"part of a rollout that is held {hint('fab rollout.status')}"
    if not one.set_up:
        yield f"not set up {hint('fab setup')}"
    if now.healthy is False:
        yield now.health
    for found in one.drift:
        yield f"{found.what} ({found.next_step})"
    if one.data_drift:
        yield one.data_drift


def _host_status(
    settings: Settings, host: Host, known: HostFacts, now: Condition, good: str | None
) -> HostStatus:
    entries = reversed(known.journal.entries)
    live = next(
        (one for one in entries if one.verdict is Verdict.LIVE and one.release == known.current),
        None,
    )
    return HostStatus(
        host=known.host,
        set_up=known.writable,
        release=known.current,
        since=live.at if live else None,
        by=live.who if live else "",
        condition=now,
        free=known.free,
        stale_files=drift.stale_files(settings, host, known) if known.writable else (),
        drift=tuple(
            replace(found, next_step=typed(found.next_step, settings))
            for found in drift.of_host(settings, host, known, now, good)
        ),
        data_drift=now.data_drift.remark(
            drift_limits(settings.monitoring.slo.drift), datetime.now(UTC)
        )
        if now.data_drift
        else "",
    )


def _row(one: HostStatus) -> tuple[str, ...]:
    now = one.condition
    health = {True: "healthy", False: "not healthy", None: ""}[now.healthy]
    return (
        one.host,
        one.release or "nothing",
        f"{one.since:%Y-%m-%d %H:%M}" if one.since else "",
        one.by,
        _service(now),
        health,
        now.model[:7],
        f"{one.free / 1024**3:.1f} GB" if one.free else "",
    )


def _service(now: Condition) -> str:
    """Return how the service is, and in which slot where that changes."""
    named = now.service and now.slot not in ("", Slot.LIVE)
    return f"{now.service} ({now.slot})" if named else now.service
