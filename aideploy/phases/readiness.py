"""Whether a deploy would find on a host what it needs.

Pure: which script to run, what its answer means, and what to do about it. Used by `fab check`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from aideploy.phases import facts as looking
from aideploy.phases import health, install
from aideploy.phases.facts import HostFacts
from aideploy.remote.result import Result
from aideploy.remote.script import Script
from aideploy.services.files import Validator, differing, rendered_files
from aideploy.services.manager import bind, libraries, slot_bind, slots
from aideploy.services.telling_metrics import metric_files
from aideploy.settings.app import Source
from aideploy.settings.hosts import Role
from aideploy.settings.serve import Strategy

if TYPE_CHECKING:
    from aideploy.settings import Host, Settings
    from aideploy.settings.serve import Serve

MOST_SKEW = timedelta(seconds=10)
_GRANT = "NOPASSWD: "


@dataclass(frozen=True)
class Problem:
    """Something that would be in the way of a deploy, and what to do about it."""

    host: str
    what: str
    next_step: str


def script(settings: Settings, host: Host, facts: HostFacts) -> Script:
    """Return the script that looks for what a deploy needs."""
    app, serve = settings.app, settings.serve
    serves = serve is not None and Role.SERVE in host.roles
    deploys = bool(host.roles & {Role.TRAIN, Role.SERVE})
    linked = [str(item.path) for item in serve.linked if not item.directory] if serve else []
    pulled = str(app.repository) if deploys and app.source is Source.PULL else ""
    return Script(
        "check",
        (
            str(facts.root),
            app.name,
            "yes" if serves else "no",
            serve.manager if serve else "",
            settings.install.python,
            pulled,
            app.branch,
            _slots(serve, host) if serve else "",
            _users(serve, host) if serve else "",
            str(settings.monitoring.textfile or ""),
            " ".join(metric_files(settings, host)),
            str(len(linked) if serves else 0),
            *(linked if serves else ()),
            *_rights(settings, host, facts),
        ),
        libraries=("ports", *libraries(serve)) if serve else (),
        limit=looking.LIMIT,
    )


def _slots(serve: Serve, host: Host) -> str:
    reached = health.address(slot_bind(serve, host))
    return " ".join(f"{slot}={reached}:{port}" for slot, port in slots(serve).items())


def _users(serve: Serve, host: Host) -> str:
    """Return the address that HAProxy listens on, where there is one."""
    in_front = serve.strategy is Strategy.BLUE_GREEN
    return f"{health.address(bind(serve, host))}:{serve.port}" if in_front else ""


def problems(
    settings: Settings, host: Host, facts: HostFacts, found: Result, now: datetime
) -> tuple[Problem, ...]:
    """Return everything that is wrong with the host.

    Args:
        settings, host: what is wanted.
        facts: what the host said of itself.
        found: by the script.
        now: when that came back.
    """
    name = facts.host
    refused = [
        Problem(name, error.what.removeprefix(f"{name}: "), error.next_step)
        for error in looking.refusals(facts, host)
    ]
    others = [Problem(name, *one) for one in _found(settings, facts, found)]
    return (*refused, *_stale(settings, host, facts), *others, *_skew(name, found, now))


def notices(host: str, found: Result) -> tuple[Problem, ...]:
    """Return what the script found that is in the way of no deploy, and should not stay so."""
    next_step = "install node_exporter or correct [monitoring] textfile, then fab setup"
    return tuple(Problem(host, what, next_step) for what in found.all("notice"))


def _stale(settings: Settings, host: Host, facts: HostFacts) -> Iterator[Problem]:
    if not facts.writable:
        return
    wanted = rendered_files(settings, host, root=facts.root, user=facts.user)
    for file in differing(wanted, facts.files):
        missing = facts.files.get(str(file.path)) == "missing"
        state = "is missing" if missing else "is not as the settings want it"
        yield Problem(facts.host, f"{file.path} {state}", "fab setup; what it changes: fab plan")


def _found(settings: Settings, facts: HostFacts, found: Result) -> Iterator[tuple[str, str]]:
    """Yield what the script missed, and what to do about each."""
    if found.text("no-venv") and install.is_needed(settings):
        yield (
            f"{settings.install.python} cannot make environments, and there is no uv",
            "install it on the host: apt-get install python3-venv, or the like",
        )
    if rights := found.all("no-right"):
        more = f" and {len(rights) - 1} more commands" if len(rights) > 1 else ""
        yield f"{facts.user} may not run as root: {rights[0]}{more}", "fab setup"
    if manager := found.text("no-manager"):
        yield f"there is no {manager}", "install it on the host, or choose another [serve] manager"
    if facts.writable:
        for path in found.all("no-linked-file"):
            yield f"{path} is missing; it is in [serve] linked", "put it there"
        if runner := found.text("no-runner"):
            yield f"{runner} does not run, which takes back what nobody confirms", "fab setup"
        for program in found.all("no-program"):
            yield f"its service manager does not know {program}", "fab setup"
    for taken in found.all("port-taken"):
        port, _, who = taken.partition(" ")
        yield (
            f"{who} listens on port {port}",
            "end that program, or choose other ports in [serve]",
        )
    if unit := found.text("no-haproxy"):
        yield (
            f"its HAProxy does not run: {unit}",
            f"fab setup; on that host: systemctl status {unit}",
        )
    if said := found.text("no-repository"):
        lines = [line for line in said.splitlines() if line.strip()]
        yield (
            f"{facts.user} cannot read the repository: {lines[0] if lines else 'git says no more'}",
            'give that user a deploy key, or let the controller send the commits: source = "push"',
        )
    if branch := found.text("no-branch"):
        yield f"the repository has no branch {branch}", "correct [app] branch, or push it"


def _skew(host: str, found: Result, now: datetime) -> Iterator[Problem]:
    skew = timedelta(seconds=found.number("clock", int(now.timestamp())) - now.timestamp())
    if abs(skew) > MOST_SKEW:
        seconds = abs(round(skew.total_seconds()))
        direction = "ahead of" if skew > timedelta(0) else "behind"
        yield Problem(
            host, f"its clock is {seconds} s {direction} ours", "let it follow a time server (NTP)"
        )


def _rights(settings: Settings, host: Host, facts: HostFacts) -> tuple[str, ...]:
    """Return the commands that the deploy user has to be allowed as root."""
    if not facts.writable:
        return ()
    return tuple(
        line.partition(_GRANT)[2]
        for file in rendered_files(settings, host, root=facts.root, user=facts.user)
        if file.validator is Validator.SUDOERS
        for line in file.content.splitlines()
        if _GRANT in line
    )
