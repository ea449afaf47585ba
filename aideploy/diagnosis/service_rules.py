"""The rules about the service of one host: how it is, who has its port, who is in front. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from aideploy.diagnosis import words
from aideploy.diagnosis.cause import Cause, Kind, Sure
from aideploy.diagnosis.look import USERS, HostLook, Port
from aideploy.diagnosis.release_rules import of_release
from aideploy.diagnosis.seen import Seen
from aideploy.services.manager import service_user
from aideploy.settings.serve import Manager


def behind(seen: Seen) -> Iterator[Cause]:
    """Yield what may be behind the state of the service."""
    yield from of_release(seen)
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
    good = look.journal.good_before(look.release or None)
    return "fab logs; to serve the release before: fab rollback" if good else "fab logs"


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
    down = seen.front_down
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
