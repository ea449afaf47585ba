"""`fab monitor.render`, `monitor.check`, `monitor.push`: the configuration of the monitor hosts."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aideploy.commands.asking import Absent, absent, missing
from aideploy.errors import AideployError, HostNotReady, Locked, UsageError
from aideploy.events import HostState, Notice, Phase
from aideploy.monitoring.configuration import Kind, MonitorFile, files, needed_secrets
from aideploy.monitoring.joining import lacking
from aideploy.phases import monitor
from aideploy.phases.monitor import Looked, Owner
from aideploy.remote.fleet import FleetError
from aideploy.remote.result import Result, ScriptFailed
from aideploy.remote.session import Lock, Session
from aideploy.report.facts import Table, Text
from aideploy.report.next_command import typed
from aideploy.running import Run
from aideploy.settings import Role, Settings
from aideploy.settings.secrets import find

_SAME = "as it should be"


@dataclass(frozen=True)
class Difference:
    """A file that is not as it should be on a host; `diff` is empty where it may not be shown."""

    path: str
    what: str
    diff: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckedHost:
    """What is on a monitor host.

    Args:
        host: its name.
        differences: of its files.
        problems: what else is wrong, each a sentence.
        lacking: lines that somebody has to add to a prometheus.yml that is not ours.
    """

    host: str
    differences: tuple[Difference, ...]
    problems: tuple[str, ...]
    lacking: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        """Whether nothing is to be done."""
        return not (self.differences or self.problems or self.lacking)


@dataclass(frozen=True)
class Checked:
    """What is on the monitor hosts."""

    app: str
    environment: str
    files: tuple[str, ...]
    hosts: tuple[CheckedHost, ...]
    absent: tuple[Absent, ...]

    def shown(self) -> tuple[Table | Text, ...]:
        """Return the table, then each difference line by line."""
        texts: list[Table | Text] = [
            Table(
                ("", "HOST", "FILE", "WHAT"), tuple(row for one in self.hosts for row in _rows(one))
            )
        ]
        for one in self.hosts:
            texts += [
                Text(f"{difference.path} on {one.host}", difference.diff)
                for difference in one.differences
            ]
            texts.append(Text(f"add to prometheus.yml on {one.host}", one.lacking))
        return tuple(texts)


def _rows(one: CheckedHost) -> Iterator[tuple[str, ...]]:
    if one.is_well:
        yield "✓", one.host, "", "as it should be, and loaded"
    for difference in one.differences:
        yield "!", one.host, difference.path, difference.what
    for problem in one.problems:
        yield "✗", one.host, "", problem
    if one.lacking:
        yield "✗", one.host, "prometheus.yml", "is not ours and does not name all of our files"


def monitor_settings(settings: Settings) -> Settings:
    """Return the settings with the monitor hosts alone.

    Raises:
        UsageError: there is none.
    """
    names = [host.name for host in settings.with_role(Role.MONITOR)]
    if not names:
        raise UsageError(
            "none of the hosts has the role monitor",
            next_step='add "monitor" to the roles of the host where Prometheus runs',
        )
    return settings.only(names)


def render(settings: Settings, folder: Path) -> tuple[Path, ...]:
    """Write into a folder what would be pushed, secrets left out, and return the files.

    Raises:
        SettingsError, UsageError: it cannot be rendered.
        AideployError: the folder cannot be written to.
    """
    written = []
    masked = {name: f"https://value-of-{name}.invalid" for name in needed_secrets(settings)}
    for file in files(settings, masked):
        place = folder / str(file.path).lstrip("/")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(file.content, encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"{place} cannot be written", why=error.strerror or str(error)
            ) from None
        written.append(place)
    return tuple(written)


def check(run: Run) -> Checked:
    """Compare every monitor host with the settings; ends with status 3 when one differs."""
    settings = run.settings
    access, wanted = _prepared(settings)
    script = monitor.look(settings, wanted, access)
    outcomes = run.fleet.open_reachable(Lock.NONE, lambda _: (script,))
    missing(run, outcomes.errors)
    hosts = tuple(
        _checked(settings, name, wanted, monitor.looked(wanted, results[0]))
        for name, results in outcomes.results.items()
    )
    wrong = [one.host for one in hosts if not one.is_well]
    if wrong and run.failure is None:
        run.failure = HostNotReady(
            f"monitoring is not as it should be on {', '.join(wrong)}",
            next_step="add these lines there, then fab monitor.push"
            if any(one.lacking for one in hosts)
            else "fab monitor.push",
        )
    return Checked(
        settings.app.name,
        settings.environment,
        tuple(str(file.path) for file in wanted),
        hosts,
        absent(settings, outcomes.errors),
    )


def push(run: Run) -> None:
    """Put the files in place on every monitor host and have them read; all of them, or none.

    Raises:
        FleetError: a host is unreachable, or refuses them; there, what was there is back.
        HostNotReady: its prometheus.yml is somebody else's and does not name our files.
        Locked: somebody else pushes to it right now.
    """
    settings = run.settings
    access, wanted = _prepared(settings)
    results = run.fleet.open(Lock.NONE, monitor.look(settings, wanted, access))
    there = {name: monitor.looked(wanted, result) for name, result in results.items()}
    for name, looked in there.items():
        monitor.answering(name, looked)
        _require_named(settings, name, wanted, looked)
    ours = {name: _ours(run, name, wanted, looked) for name, looked in there.items()}

    def work(session: Session) -> Result:
        script = monitor.push(settings, ours[session.host.name], access)
        return session.run(Phase.SETUP, script)[0]

    try:
        done = run.fleet.each(Phase.SETUP, work)
    except FleetError as error:
        raise _told(error) from error
    for name, result in done.items():
        if untold := result.all("untold"):
            text = f"{len(untold)} files of Grafana may not be written there, as {untold[0]}"
            run.events.publish(Notice(text=text, level="warning", host=name))
    changed = {name: len(result.all("changed")) for name, result in done.items()}
    run.hosts = tuple(
        HostState(host=name, state=f"{number} files changed" if number else "nothing to change")
        for name, number in changed.items()
    )
    run.headline = f"monitoring of {settings.app.name} in {settings.environment} is loaded"


# -- inside ----------------------------------------------------------------------------------------


def _prepared(settings: Settings) -> tuple[Mapping[str, str], tuple[MonitorFile, ...]]:
    """Return the secrets that let us in, and the files."""
    folder = settings.path.parent
    names = (*monitor.needed_access(settings), *needed_secrets(settings))
    values = find(names, settings.serve, os.environ, folder) if names else {}
    return values, files(settings, values)


def _told(error: FleetError) -> AideployError:
    """Return the error with the status that its causes call for."""
    codes = {cause.code for cause in error.causes if isinstance(cause, ScriptFailed)}
    if "bad-file" in codes:
        return UsageError(error.what, why=error.why, next_step=error.next_step, causes=error.causes)
    if "monitor-locked" in codes:
        return Locked(error.what, next_step=error.next_step, causes=error.causes)
    return error


def _require_named(
    settings: Settings, host: str, wanted: Sequence[MonitorFile], looked: Looked
) -> None:
    lines = _lacking(settings, wanted, looked)
    if lines:
        raise HostNotReady(
            f"prometheus.yml on {host} is not ours, and does not name all of our files",
            why=f"nothing was changed; add to it:\n{lines}",
            next_step="add these lines there, then fab monitor.push",
        )


def _lacking(settings: Settings, wanted: Sequence[MonitorFile], looked: Looked) -> str:
    [main] = (file for file in wanted if file.kind is Kind.PROMETHEUS)
    found = looked.files[main.path]
    if found.owner is not Owner.FOREIGN:
        return ""
    return lacking(settings, wanted, found.content or "")


def _ours(
    run: Run, host: str, wanted: Sequence[MonitorFile], looked: Looked
) -> tuple[MonitorFile, ...]:
    """Return what is to be put there: all but what somebody else looks after."""
    kept = []
    for file in wanted:
        if file.kind.is_shared and looked.owner(file) is Owner.FOREIGN:
            if file.kind is Kind.ALERTMANAGER:
                text = f"{file.path} is not ours and stays: who is told of alerts is said there"
                run.events.publish(Notice(text=text, level="warning", host=host))
        else:
            kept.append(file)
    return tuple(kept)


def _checked(
    settings: Settings, host: str, wanted: Sequence[MonitorFile], looked: Looked
) -> CheckedHost:
    differences = tuple(_differences(settings, wanted, looked))
    try:
        lines = tuple(_lacking(settings, wanted, looked).splitlines())
        problems = tuple(_unloaded(wanted, looked))
    except HostNotReady as error:
        lines, problems = (), (f"{error.what}: {error.why}",)
    return CheckedHost(host, differences, problems, lines)


def _differences(
    settings: Settings, wanted: Sequence[MonitorFile], looked: Looked
) -> Iterator[Difference]:
    for file in wanted:
        found = looked.files[file.path]
        if (file.kind.is_shared and found.owner is Owner.FOREIGN) or found.is_as(file):
            continue
        if found.state == "unreadable":
            yield Difference(str(file.path), f"may not be read: {typed('fab setup', settings)}")
        elif found.state == "missing":
            yield Difference(str(file.path), "is missing")
        else:
            lines = () if found.content is None else _diff(found.content, file.content)
            yield Difference(str(file.path), "is different", lines)


def _diff(there: str, wanted: str) -> tuple[str, ...]:
    lines = difflib.unified_diff(
        there.splitlines(), wanted.splitlines(), "on the host", _SAME, lineterm=""
    )
    return tuple(lines)


def _unloaded(wanted: Sequence[MonitorFile], looked: Looked) -> Iterator[str]:
    for kind, server in looked.servers.items():
        if not server.answers:
            yield f"{kind} does not answer: {server.why}"
        elif not server.well:
            yield f"{kind} refused its configuration when it read it last; its log says why"
    prometheus = looked.servers.get("prometheus")
    if prometheus and prometheus.answers:
        for file in wanted:
            if file.kind is Kind.RULES and str(file.path) not in prometheus.files:
                yield f"{file.path} is not loaded"
