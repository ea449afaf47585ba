"""What one host said when it was looked at because something is wrong: the script, and its answer.

Pure. A part that the host did not tell is empty: whatever is broken may be the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from aideploy.phases import condition, health
from aideploy.phases.condition import Change, Job
from aideploy.phases.journal import Journal
from aideploy.phases.programs import program
from aideploy.remote.result import Result
from aideploy.remote.script import Script
from aideploy.services.manager import bind, libraries, slots
from aideploy.settings.hosts import Role
from aideploy.settings.serve import Manager, Strategy

if TYPE_CHECKING:
    from aideploy.settings import Host, Settings

USERS = "users"
"""The name of the port that users reach, where HAProxy stands in front of the slots."""

_STARTING = re.compile(r" systemd\[\d+\]: Starting ")
_MANAGER_SAYS = re.compile(r"^\S+ \S+ systemd\[\d+\]: ")
_PREFIX = re.compile(r"^\d{4}-\S+ \S+ [^:]+: ")
# Longer than what each part gives its own programs.
_PART_SECONDS = 45
_ALL_SECONDS = 90
# Where nothing tells where a run began.
_LAST_LINES = 20


@dataclass(frozen=True)
class Unit:
    """A unit of the service manager.

    Args:
        name: of the unit.
        known: whether there is such a unit.
        active, sub, result: as systemd calls them.
        restarts: how often it was restarted by itself since somebody started it.
        status: the exit status of its main process, or the signal.
        started: when its process started, in seconds since the host did; None if it never did.
    """

    name: str
    known: bool
    active: str
    sub: str = ""
    result: str = ""
    restarts: int = 0
    status: str = ""
    started: float | None = None


@dataclass(frozen=True)
class Disk:
    """A file system: where it is mounted, and bytes, or files, in all and free."""

    mount: str
    total: int
    free: int


@dataclass(frozen=True)
class Link:
    """What a release points to: state is ok, missing or dangling."""

    name: str
    state: str
    path: str
    target: str = ""


@dataclass(frozen=True)
class Port:
    """A port of ours: its slot (or `USERS`), and who listens there as far as it can be seen."""

    name: str
    number: int
    user: str = ""
    who: str = ""


@dataclass(frozen=True)
class Gpus:
    """What nvidia-smi ended with, and the lines that it printed."""

    status: int
    lines: tuple[str, ...]

    @property
    def well(self) -> int:
        """How many GPUs it lists."""
        if self.status != 0:
            return 0
        return sum(line.partition(",")[0].strip().isdigit() for line in self.lines)


@dataclass(frozen=True)
class HostLook:
    """What one host said.

    Args:
        host: its name.
        now, user: the time there, and the user we are.
        set_up: whether the app's folder is there.
        disks, inodes: the file systems that matter.
        read_only: a file system that cannot be written to.
        memory: kibibytes, by the names of /proc/meminfo.
        load: of 1, 5 and 15 minutes, and the number of processors.
        release: what is live.
        links: what that points to.
        interpreter: what the environment's python ended with and said; empty if there is none.
        variables, empty: the names of the service's variables, and of those without a value.
        no_env: the file of variables, if it cannot be read.
        missing_linked: files below shared/ that are not there.
        changed: what of the release is not as it was left.
        slot, service: the live slot, and what its manager says of it.
        detail: the same in words, where that is supervisor.
        units: what systemd knows.
        oom_kills: how often the kernel killed in the service's control group.
        uptime: of the host, in seconds.
        log: the last lines of the service.
        ports: who listens where.
        haproxy: a line for each server; `haproxy_silent`: why there is none.
        healthy, health: what the service answered.
        kernel: the lines of the last day that matter.
        gpus: None where there is no nvidia-smi.
        journal: its last entries.
        lock, held, in_held_rollout, due, given_up: as in `condition.Condition`.
        unanswered: what could not be looked at, because something there hangs.
    """

    host: str
    now: str = ""
    user: str = ""
    set_up: bool = True
    disks: tuple[Disk, ...] = ()
    inodes: tuple[Disk, ...] = ()
    read_only: str = ""
    memory: Mapping[str, int] = field(default_factory=dict)
    load: str = ""
    release: str = ""
    links: tuple[Link, ...] = ()
    interpreter: str = ""
    variables: frozenset[str] | None = None
    empty: frozenset[str] = frozenset()
    no_env: str = ""
    missing_linked: tuple[str, ...] = ()
    changed: tuple[Change, ...] = ()
    slot: str = ""
    service: str = ""
    detail: str = ""
    units: Mapping[str, Unit] = field(default_factory=dict)
    oom_kills: int = 0
    uptime: float = 0
    log: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    haproxy: tuple[str, ...] = ()
    haproxy_silent: str = ""
    healthy: bool | None = None
    health: str = ""
    kernel: tuple[str, ...] = ()
    gpus: Gpus | None = None
    journal: Journal = field(default_factory=Journal)
    lock: str = ""
    held: str = ""
    in_held_rollout: bool = False
    due: tuple[Job, ...] = ()
    given_up: tuple[Job, ...] = ()
    unanswered: tuple[str, ...] = ()

    @property
    def last_runs(self) -> tuple[str, ...]:
        """The log since the last start but one: the last may have had no time to say anything."""
        starts = [index for index, line in enumerate(self.log) if _STARTING.search(line)]
        return self.log[starts[-2] if len(starts) > 1 else -_LAST_LINES :]

    @property
    def last_words(self) -> tuple[str, ...]:
        """The last lines that the service itself wrote, without time and name."""
        own = [line for line in self.last_runs if not _MANAGER_SAYS.match(line)]
        return tuple(_PREFIX.sub("", line) for line in own if line.strip())[-3:]

    def link(self, name: str) -> Link | None:
        """The link of this name."""
        return next((link for link in self.links if link.name == name), None)

    def free(self) -> int:
        """Bytes free where the app lives."""
        return self.disks[0].free if self.disks else 0


def script(settings: Settings, host: Host) -> Script:
    """Return the script that looks, in the one round trip that opens the session."""
    serve = settings.serve if Role.SERVE in host.roles else None
    request = states = ports = ""
    linked: tuple[str, ...] = ()
    if serve:
        request = health.asked_once(settings.health, bind(serve, host), serve.port)
        named = {str(slot): port for slot, port in slots(serve).items()}
        if serve.strategy is Strategy.BLUE_GREEN:
            states = program("haproxy_states")
            named[USERS] = serve.port
        ports = " ".join(f"{name}={port}" for name, port in named.items())
        linked = tuple(str(item.path) for item in serve.linked if not item.directory)
    return Script(
        "diagnose",
        (
            str(settings.app.deploy_to),
            settings.app.name,
            "yes" if serve else "no",
            serve.manager if serve else Manager.SYSTEMD,
            settings.install.python,
            health.program(),
            request,
            states,
            str(settings.model_path or ""),
            ports,
            str(_PART_SECONDS),
            str(_ALL_SECONDS),
            *linked,
        ),
        limit=timedelta(seconds=_ALL_SECONDS + 30),
        libraries=(
            "journal",
            "patience",
            "manifest",
            "standing",
            *(("release", *libraries(serve)) if serve else ()),
        ),
    )


def read(host: str, result: Result) -> HostLook:
    """Make a typed answer of what the script emitted."""
    now = condition.read(result)
    variables = result.text("variables")
    told_variables = any(key == "variables" for key, _ in result.facts)
    return HostLook(
        host=host,
        now=result.text("now"),
        user=result.text("user"),
        set_up=result.text("set-up") == "yes",
        disks=_disks(result.all("disk"), 1024),
        inodes=_disks(result.all("inodes"), 1),
        read_only=result.text("read-only"),
        memory={name: int(value) for name, value in _pairs(result.text("memory"), r"\d+")},
        load=result.text("load"),
        release=result.text("release"),
        links=tuple(_links(result.all("link"))),
        interpreter=result.text("interpreter"),
        variables=frozenset(variables.split()) if told_variables else None,
        empty=frozenset(result.text("empty").split()),
        no_env=result.text("no-env"),
        missing_linked=result.all("no-linked-file"),
        changed=now.changed,
        slot=now.slot,
        service=now.service,
        detail=result.text("supervisor"),
        units={unit.name: unit for unit in map(_unit, result.all("unit"))},
        oom_kills=result.number("oom-kills"),
        uptime=result.number("uptime"),
        log=_lines(result, "log"),
        ports=tuple(_ports(result.all("port"))),
        haproxy=tuple(result.text("haproxy").splitlines()),
        haproxy_silent=result.text("haproxy-silent"),
        healthy=now.healthy,
        health=now.health,
        kernel=_lines(result, "kernel"),
        gpus=_gpus(result),
        journal=Journal.parse(result.data("journal")),
        lock=now.lock,
        held=now.held,
        in_held_rollout=now.in_held_rollout,
        due=now.due,
        given_up=now.given_up,
        unanswered=result.all("unanswered"),
    )


def _lines(result: Result, key: str) -> tuple[str, ...]:
    return tuple(result.data(key).decode("utf-8", "replace").splitlines())


def _pairs(text: str, value: str = r"\S*") -> Iterator[tuple[str, str]]:
    for match in re.finditer(rf"(\w+)=({value})(?=\s|$)", text):
        yield match[1], match[2]


def _disks(said: Iterable[str], unit: int) -> tuple[Disk, ...]:
    words = [line.rsplit(" ", 2) for line in said]
    return tuple(
        Disk(line[0], int(line[1]) * unit, int(line[2]) * unit)
        for line in words
        if len(line) == 3 and line[1].isdigit() and line[2].isdigit()
    )


def _links(said: Iterable[str]) -> Iterator[Link]:
    for line in said:
        words = [*line.split(" ", 3), "", "", ""]
        yield Link(words[0], words[1], words[2], words[3])


def _ports(said: Iterable[str]) -> Iterator[Port]:
    for line in said:
        name, number, state, *who = line.split(" ", 4)
        taken = state == "taken"
        yield Port(
            name,
            int(number),
            who[0] if taken and who else "",
            who[1].strip() if taken and len(who) > 1 else "",
        )


def _unit(said: str) -> Unit:
    facts = dict(_pairs(said))
    started = facts.get("ExecMainStartTimestampMonotonic", "")
    restarts = facts.get("NRestarts", "")
    return Unit(
        name=facts.get("Id", ""),
        known=facts.get("LoadState", "") not in ("", "not-found"),
        active=facts.get("ActiveState", ""),
        sub=facts.get("SubState", ""),
        result=facts.get("Result", ""),
        restarts=int(restarts) if restarts.isdigit() else 0,
        status=facts.get("ExecMainStatus", ""),
        started=int(started) / 1e6 if started.isdigit() and int(started) else None,
    )


def _gpus(result: Result) -> Gpus | None:
    status = result.text("gpu-status")
    if not status.isdigit():
        return None
    return Gpus(int(status), tuple(result.text("gpus").splitlines()))
