"""The rules about the service of one host: what is seen of it, and what may be behind that. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aideploy.diagnosis import words
from aideploy.diagnosis.cause import Cause, Kind, Sure
from aideploy.diagnosis.look import USERS, HostLook, Link, Port, Unit
from aideploy.services.manager import service_user
from aideploy.settings.serve import Manager

if TYPE_CHECKING:
    from aideploy.settings import Settings
    from aideploy.settings.serve import Serve

# It runs, but not for long yet, and was restarted before.
_JUST_STARTED_SECONDS = 300
_MANY_RESTARTS = 3


@dataclass(frozen=True)
class Seen:
    """One host that serves, and what the settings say of it."""

    settings: Settings
    serve: Serve
    look: HostLook

    @property
    def unit(self) -> Unit | None:
        """The live unit, under systemd."""
        return self.look.units.get(f"{self.settings.app.name}@{self.look.slot}.service")

    @property
    def restarts(self) -> bool:
        """Whether it ends again and again."""
        unit, look = self.unit, self.look
        if look.service == "failed" or look.detail.split()[1:2] == ["BACKOFF"]:
            return True
        if unit is None:
            return False
        if unit.sub == "auto-restart":
            return True
        young = unit.started is None or look.uptime - unit.started < _JUST_STARTED_SECONDS
        return unit.restarts >= _MANY_RESTARTS and young

    @property
    def ails(self) -> bool:
        """Whether the service is not well."""
        look = self.look
        return bool(look.release) and (
            self.restarts or look.service != "active" or look.healthy is False
        )

    @property
    def speaks(self) -> bool:
        """Whether its last lines may say why: not those of one that was stopped long ago."""
        return self.ails and self.look.service != "inactive"

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines that may say why."""
        return self.look.last_runs if self.speaks else ()

    def sure(self, line: str) -> Sure:
        """How sure it is that something explains what is seen, which this line tells of."""
        return Sure.PROVEN if line else Sure.FOUND if self.ails else Sure.NOTED

    def cause(
        self, kind: Kind, what: str, *evidence: str, next_step: str, sure: Sure | None = None
    ) -> Cause:
        """Return a cause on this host."""
        told = tuple(dict.fromkeys(filter(None, evidence)))
        return Cause(self.look.host, kind, what, told, next_step, sure or self.sure(""))


def behind(seen: Seen) -> Iterator[Cause]:
    """Yield what may be behind the state of the service."""
    yield from _out_of_memory(seen)
    yield from _model(seen)
    yield from _secrets(seen)
    yield from _environment(seen)
    yield from _ports(seen)
    yield from _haproxy(seen)


def symptoms(seen: Seen) -> Iterator[Cause]:
    """Yield what is seen of the service itself."""
    look, app = seen.look, seen.settings.app.name
    unit = f"{app}@{look.slot}"
    if not look.release:
        return
    if look.service == "missing":
        what = f"the service manager does not know {unit}"
        yield seen.cause(Kind.NOT_SET_UP, what, next_step="fab setup", sure=Sure.PROVEN)
    elif seen.restarts:
        yield seen.cause(
            Kind.CRASH_LOOP,
            f"{unit} ends again and again: {_how_it_ended(seen)}",
            *_state(seen),
            *look.last_words,
            next_step=_back(look),
        )
    elif look.service == "inactive":
        yield seen.cause(
            Kind.STOPPED,
            f"{unit} does not run, and did not fail: somebody stopped it",
            *_state(seen),
            next_step=f"on that host: {_start(seen, unit)}; or: fab deploy",
        )
    elif look.healthy is False:
        yield seen.cause(
            Kind.UNHEALTHY,
            f"{unit} runs and is not healthy: {look.health}",
            *look.last_words,
            next_step=_back(look),
        )


def _how_it_ended(seen: Seen) -> str:
    unit = seen.unit
    if unit is None:
        return seen.look.detail or seen.look.service
    times = f", restarted {unit.restarts} times" if unit.restarts else ""
    state = "given up" if unit.active == "failed" else unit.sub or unit.active
    return f"{unit.result or 'unknown'} (status {unit.status or '?'}), {state}{times}"


def _state(seen: Seen) -> Iterator[str]:
    unit = seen.unit
    if unit is not None:
        yield f"{unit.name}: {unit.active} ({unit.sub}), result {unit.result}"
    elif seen.look.detail:
        yield seen.look.detail


def _start(seen: Seen, unit: str) -> str:
    match seen.serve.manager:
        case Manager.SUPERVISOR:
            return f"supervisorctl start {unit.replace('@', '-')}"
        case Manager.SYSTEMD_USER:
            return f"systemctl --user start {unit}"
        case _:
            return f"systemctl start {unit}"


def _back(look: HostLook) -> str:
    good = [name for name in look.journal.good_before(look.release or None)]
    return "fab logs; to serve the release before: fab rollback" if good else "fab logs"


# -- memory ---------------------------------------------------------------------------------------


def _out_of_memory(seen: Seen) -> Iterator[Cause]:
    look, unit, app = seen.look, seen.unit, seen.settings.app.name
    if line := words.no_gpu_memory(seen.lines):
        yield seen.cause(
            Kind.OUT_OF_MEMORY,
            "the service finds no room in the memory of its GPU",
            line,
            *(look.gpus.lines if look.gpus else ()),
            next_step="on that host: nvidia-smi says who has it; end that, or serve a smaller model",
            sure=Sure.PROVEN,
        )
        return
    killed = [line for line in look.kernel if "oom" in line.lower() or "Out of memory" in line]
    kernel = next((line for line in reversed(killed) if app in line), "")
    by_manager = unit is not None and unit.result == "oom-kill"
    line = words.no_memory(seen.lines)
    # Restarted since, it may be well again: until the next time.
    recent = "" if line else words.no_memory(_since(look.last_runs, look.now))
    counted = f"killed {look.oom_kills} times for want of memory" if look.oom_kills else ""
    if not (line or recent or by_manager or counted or (kernel and seen.ails)):
        return
    limit = seen.serve.memory_max
    text = f" beyond [serve] memory_max = {limit // 1024**2}M" if limit else ""
    yield seen.cause(
        Kind.OUT_OF_MEMORY,
        f"the kernel killed the service, which wanted memory{text}",
        f"{unit.name}: result {unit.result}" if unit and by_manager else "",
        line or recent,
        counted,
        kernel,
        _memory(look),
        next_step="raise [serve] memory_max"
        if limit
        else "give the host more memory, or the service fewer workers; see: fab logs",
        sure=Sure.PROVEN if line or by_manager else seen.sure(""),
    )


def _since(lines: tuple[str, ...], now: str) -> Iterator[str]:
    """Yield the lines of the last hour; on both sides it is the host's own clock."""
    from datetime import datetime, timedelta

    try:
        first = (datetime.fromisoformat(now) - timedelta(hours=1)).isoformat()
    except ValueError:
        return
    yield from (line for line in lines if line[:1].isdigit() and line[:19] >= first)


def _memory(look: HostLook) -> str:
    total, free = look.memory.get("MemTotal", 0), look.memory.get("MemAvailable", 0)
    return f"memory: {free // 1024} of {total // 1024} MB are available" if total else ""


# -- what belongs to the release ------------------------------------------------------------------


def _dangling(link: Link | None) -> bool:
    return link is not None and link.state == "dangling"


def _model(seen: Seen) -> Iterator[Cause]:
    look = seen.look
    links = [link for name in ("model", "model-dir") if (link := look.link(name))]
    lost = [link for link in links if link.state != "ok"]
    folders = [str(seen.settings.model_path or ""), *(link.path for link in links)]
    places = [*folders, *(link.target for link in links), f"{seen.settings.app.deploy_to}/models"]
    line = words.no_model(seen.lines, places)
    if lost:
        shown = [f"{one.path} -> {one.target or 'nothing'} ({one.state})" for one in lost]
        yield seen.cause(
            Kind.MODEL_MISSING,
            "the model of the live release is not where the release looks for it",
            *shown,
            line,
            next_step="fab deploy puts it there again; to serve another one now: fab rollback",
            sure=Sure.PROVEN if seen.ails else Sure.FOUND,
        )
    elif line:
        yield seen.cause(
            Kind.MODEL_MISSING,
            "the service looks for its model where there is none",
            line,
            *(f"the model is at {one.path}" for one in links),
            next_step="let it take the path from $MODEL_DIR, and deploy; now: fab rollback",
            sure=Sure.PROVEN,
        )


def _secrets(seen: Seen) -> Iterator[Cause]:
    look = seen.look
    if look.no_env:
        yield seen.cause(
            Kind.SECRET_MISSING,
            "the file with the variables and secrets of the release cannot be read",
            look.no_env,
            next_step="fab deploy writes it anew",
        )
    for path in look.missing_linked:
        yield seen.cause(
            Kind.FILE_MISSING,
            f"{path} is missing; it is in [serve] linked",
            next_step="put it there; then on that host restart the service, or: fab deploy",
        )
    if look.variables is None:
        return
    known = look.variables - look.empty
    wanted = [name for name in seen.serve.secrets if name not in known]
    name, line = words.missed_variable(seen.lines, known)
    if name and name not in wanted:
        wanted.insert(0, name)
    for one in wanted:
        secret = one in seen.serve.secrets
        said = line if one == name else ""
        state = "is empty" if one in look.empty else "has no value"
        yield seen.cause(
            Kind.SECRET_MISSING,
            f"{'the secret' if secret else 'the variable'} {one} {state} in the live release",
            said,
            next_step=f"set {one} where [serve] secrets come from; then: fab deploy"
            if secret
            else f"name {one} in [serve] secrets or [serve] environment; then: fab deploy",
            sure=seen.sure(said),
        )


def _environment(seen: Seen) -> Iterator[Cause]:
    look = seen.look
    link = look.link("venv")
    line = words.broken_environment(seen.lines)
    status, _, said = look.interpreter.partition(" ")
    changed = [change for change in look.changed if change.of == "venv"]
    gone = [one for one in look.changed if one.of == "release" and one.path.startswith(".venv ")]
    if _dangling(link) or gone or (look.interpreter and status != "0"):
        yield seen.cause(
            Kind.ENVIRONMENT_BROKEN,
            "the environment of the live release does not work",
            f"{link.path} -> {link.target} ({link.state})" if link and link.state != "ok" else "",
            f".venv/bin/python ends with status {status}: {said}"
            if status not in ("", "0")
            else "",
            line,
            next_step=_rebuilt(link),
            sure=Sure.PROVEN if seen.ails else Sure.FOUND,
        )
    elif line or changed:
        yield seen.cause(
            Kind.ENVIRONMENT_BROKEN,
            "the service misses a part of its environment"
            if line
            else "files of the environment were changed since it was built",
            line,
            *(f"changed: {change.path}" for change in changed[:5]),
            next_step=_rebuilt(link)
            if changed
            else "name it in the dependencies of the project, and deploy; now: fab rollback",
            sure=seen.sure(line),
        )


def _rebuilt(link: Link | None) -> str:
    place = link.target if link and link.target else "the folder that .venv leads to"
    name = place.rstrip("/").rpartition("/")[2]
    return f"on that host remove venvs/{name}, then: fab deploy builds it anew; now: fab rollback"


# -- the way to the service -----------------------------------------------------------------------


def _ports(seen: Seen) -> Iterator[Cause]:
    look, serve, app = seen.look, seen.serve, seen.settings.app.name
    line = words.address_taken(seen.lines)
    ours = service_user(seen.settings, serve) if serve.manager is Manager.SYSTEMD else look.user
    held = any(
        unit.active == "active" for name, unit in look.units.items() if name == f"{app}.socket"
    )
    told = False
    for port in look.ports:
        if not port.user:
            continue
        if port.name == USERS:
            front = look.units.get(f"{app}-haproxy.socket")
            foreign = front is not None and front.active != "active"
        elif port.name == look.slot:
            runs = look.service == "active" and not seen.restarts
            foreign = not runs and not held and (port.user != ours or bool(line))
        else:
            # Idle, or standing by; its own user is who starts there.
            foreign = port.user != ours
        if foreign:
            matters = port.name in (USERS, look.slot)
            told = told or matters
            yield _port(seen, port, line if matters else "", matters=matters)
    if line and not told:
        yield seen.cause(
            Kind.PORT_TAKEN,
            "the service found its address taken; by now nobody has it",
            line,
            next_step="on that host: ss -ltnp; then restart the service, or: fab deploy",
            sure=Sure.PROVEN,
        )


def _port(seen: Seen, port: Port, line: str, *, matters: bool) -> Cause:
    who = port.who or f"a program of the user {port.user}"
    use = "" if matters else f"; a deploy needs it for the slot {port.name}"
    return seen.cause(
        Kind.PORT_TAKEN,
        f"{who} has port {port.number}{use}",
        line,
        f"port {port.number} is held by the user {port.user}",
        next_step=f"on that host: ss -ltnp 'sport = :{port.number}'; end that program, or choose "
        "another port in [serve]",
        sure=(Sure.PROVEN if seen.ails else Sure.FOUND) if matters else Sure.NOTED,
    )


def _haproxy(seen: Seen) -> Iterator[Cause]:
    look, app = seen.look, seen.settings.app.name
    if not look.haproxy and not look.haproxy_silent:
        return
    names = [f"{app}-haproxy.{kind}" for kind in ("service", "socket")]
    units = [unit for name in names if (unit := look.units.get(name))]
    down = [unit for unit in units if unit.active != "active"]
    servers = [line for line in look.haproxy if line.split()[1:2] == ["UP"]]
    if down or look.haproxy_silent:
        first = down[0] if down else None
        what = f"is {first.active}" if first else f"does not answer: {look.haproxy_silent}"
        yield seen.cause(
            Kind.HAPROXY_DOWN,
            f"the HAProxy of {app} {what}: users reach nothing",
            *(f"{unit.name}: {unit.active} ({unit.sub}), result {unit.result}" for unit in down),
            look.haproxy_silent,
            look.health if look.healthy is False else "",
            next_step=f"on that host: systemctl status {app}-haproxy, systemctl start "
            f"{app}-haproxy; or: fab deploy",
            sure=Sure.FOUND if look.healthy else Sure.PROVEN,
        )
    elif look.release and not servers and look.service == "active" and not seen.restarts:
        yield seen.cause(
            Kind.HAPROXY_DOWN,
            f"the HAProxy of {app} sees no slot that is up",
            *look.haproxy,
            next_step=f"on that host: systemctl restart {app}-haproxy; or: fab deploy",
        )
