"""The phases that touch the service: stage, switch, watch, revert, and finish.

Pure: which script to run on which host and what its answer means. The functions of the service
    manager are a library of shell that is put in front of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aideploy.errors import UsageError
from aideploy.phases import golden, gpu, health
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Entry, Verdict
from aideploy.remote.result import Result
from aideploy.remote.script import Script, Secret
from aideploy.services.manager import bind, libraries
from aideploy.settings.hosts import Role
from aideploy.settings.serve import Strategy

if TYPE_CHECKING:
    from aideploy.settings import Host, Settings
    from aideploy.settings.serve import Serve


@dataclass(frozen=True)
class Health:
    """What the probe said, in words."""

    words: str

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Target:
    """The release that a host switches to.

    Args:
        release: its id; None for nothing at all.
        revision: its full commit, empty when it is not known.
        model: the sha256 of its model, or empty.
    """

    release: str | None
    revision: str = ""
    model: str = ""


def known_target(facts: HostFacts, release: str | None) -> Target:
    """Return a release that is on the host, with what its journal says of it; None for nothing."""
    if release is None:
        return Target(None)
    return Target(release, facts.journal.revision(release), facts.journal.model(release))


@dataclass(frozen=True)
class Staging:
    """What a release is made whole with on one host.

    Args:
        release: its id.
        revision: the full commit.
        model: the sha256 of its model, or empty.
        environment: the content of `.aideploy/env`, which may hold secrets.
        serve: the content of `.aideploy/serve`.
        record: what goes to release.json.
        entry: what goes to the journal.
    """

    release: str
    revision: str
    model: str
    environment: str
    serve: str
    record: Mapping[str, Any]
    entry: Entry


def stage(settings: Settings, host: Host, facts: HostFacts, staging: Staging) -> Script:
    """Return the script that makes the release whole and proves it beside what is live."""
    serve = _serve(settings)
    return Script(
        "stage",
        (
            str(facts.root),
            settings.app.name,
            staging.release,
            staging.model,
            str(settings.model_path or ""),
            Secret(staging.environment),
            staging.serve,
            json.dumps(staging.record, indent=2, sort_keys=True) + "\n",
            staging.entry.line(),
            "yes" if proven_beside(settings) else "no",
            settings.install.python,
            health.program(),
            health.of_slot(settings.health, staging.revision),
            *golden.proof(settings.golden, "", 0),
            *stopping(settings, facts),
            _address(serve, host),
            *(f"{item.path}/" if item.directory else str(item.path) for item in serve.linked),
        ),
        libraries=("due", "manifest", *serving_libraries(settings)),
    )


def require_setup(settings: Settings, host: Host) -> Script:
    """Return the script that fails where the host was set up to serve otherwise than the settings
    say: a switch would find that only afterwards, and could not go back either."""
    serve = _serve(settings)
    return Script(
        "require_setup",
        (str(settings.app.deploy_to), settings.app.name, _address(serve, host)),
        libraries=serving_libraries(settings),
    )


class Direction(StrEnum):
    """Where a switch leads: back, nothing must stand in its way that need not."""

    ON = "on"
    BACK = "back"


def switch(
    settings: Settings,
    host: Host,
    facts: HostFacts,
    target: Target,
    direction: Direction,
    entries: tuple[Entry, ...],
) -> Script:
    """Return the script that makes a release live and waits until it is well.

    Args:
        settings, host, facts: of the host.
        target: the release; without one, nothing is live any more.
        direction: on to a release, or back from one that failed.
        entries: what goes to the journal.
    """
    serve = _serve(settings)
    request = health.until_healthy(settings.health, bind(serve, host), serve.port, target.revision)
    return Script(
        "switch",
        (
            str(facts.root),
            settings.app.name,
            target.release or "",
            direction,
            _lines(entries),
            settings.install.python,
            health.program(),
            request,
            health.of_slot(settings.health, target.revision),
            *golden.proof(
                settings.golden if _is_unproven(settings, facts, target, direction) else None,
                bind(serve, host),
                serve.port,
            ),
            *stopping(settings, facts),
            *gpu.waiting(serve),
        ),
        libraries=("due", *serving_libraries(settings)),
    )


def stopping(settings: Settings, facts: HostFacts) -> tuple[str, str]:
    """Return how a script is told to stop what is not live: the seconds that it may take, and the
    text of `stop_old`, empty where never two releases run at once."""
    serve = _serve(settings)
    beside = serve.strategy is Strategy.BLUE_GREEN
    return stop_seconds(serve), stop_old(settings, facts).text() if beside else ""


def stop_old(settings: Settings, facts: HostFacts) -> Script:
    """Return the script that stops what is not live, which a host runs by itself when it is due."""
    serve = _serve(settings)
    return Script(
        "stop_old",
        (str(facts.root), settings.app.name, settings.install.python, stop_seconds(serve)),
        libraries=libraries(serve),
    )


def _is_unproven(
    settings: Settings, facts: HostFacts, target: Target, direction: Direction
) -> bool:
    """Whether the release was never started on this host: then the switch proves it."""
    said = facts.journal.last(target.release) if target.release else None
    was_live = said is not None and said.verdict is not Verdict.PREPARED
    return direction is Direction.ON and not was_live and not proven_beside(settings)


def watch(
    settings: Settings,
    host: Host,
    facts: HostFacts,
    revision: str,
    length: timedelta,
    until: str = "",
) -> Script:
    """Return the script that watches the live service for so long.

    Args:
        settings, host, facts: of the host.
        revision: the full commit that has to be live, empty when it is not known.
        length: how long it is watched.
        until: a file on the host whose appearance ends it sooner.
    """
    request = health.staying_healthy(
        settings.health,
        bind(_serve(settings), host),
        _serve(settings).port,
        revision,
        length,
        until,
    )
    return Script(
        "watch",
        (
            str(facts.root),
            settings.app.name,
            settings.install.python,
            health.program(),
            request,
        ),
        libraries=serving_libraries(settings),
    )


def finish(
    settings: Settings,
    facts: HostFacts,
    entries: tuple[Entry, ...],
    keep: Iterable[str],
    *,
    stand_by: timedelta | None = None,
) -> Script:
    """Return the script that writes the last word to the journal and makes room.

    Args:
        settings, facts: of the host.
        entries: what goes to the journal.
        keep: the releases that stay.
        stand_by: how long the old release stands by from now on; None where none does.
    """
    return Script(
        "finish",
        (
            str(facts.root),
            settings.app.name,
            _lines(entries),
            "" if stand_by is None else _seconds(stand_by),
            "" if stand_by is None else stop_old(settings, facts).text(),
            *keep,
        ),
        libraries=("release",) if stand_by is None else ("due", *serving_libraries(settings)),
    )


def stand_by(settings: Settings, host: Host) -> timedelta | None:
    """Return how long an old release stands by on the host; None where there is no second slot."""
    serve = settings.serve
    if serve is None or Role.SERVE not in host.roles or serve.strategy is not Strategy.BLUE_GREEN:
        return None
    return serve.keep_old


def kept(facts: HostFacts, release: str, keep_releases: int) -> tuple[str, ...]:
    """Return the releases that stay: this one and the newest good ones, `keep_releases` in all, and
    what is live or was good before it."""
    good = [name for name in facts.journal.good() if name != release and name in facts.releases]
    newest = good[-(keep_releases - 1) :] if keep_releases > 1 else []
    previous = [name for name in facts.journal.good_before(release) if name in facts.releases][:1]
    return tuple(dict.fromkeys([release, *newest, *previous]))


def newest_staged(serve: Sequence[HostFacts]) -> Target:
    """Return the newest release that is staged on every serve host and newer than what is live.

    Args:
        serve: the facts of the serve hosts.

    Raises:
        UsageError: there is none.
    """
    common = set.intersection(*(_staged(facts) for facts in serve)) if serve else set()
    if not common:
        raise UsageError(
            "no release is staged on every host that is newer than what is live",
            next_step="fab step.stage",
        )
    release = max(common)
    return known_target(serve[0], release)


def whole(serve: Sequence[HostFacts], release: str) -> Target:
    """Return this release, which has to be whole on every serve host.

    Raises:
        UsageError: it is not.
    """
    lacking = [facts.host for facts in serve if release not in facts.releases]
    if lacking or not serve:
        raise UsageError(
            f"there is no whole release {release} on {', '.join(lacking) or 'any host'}",
            next_step="take the hosts of the rollout and no others, with --only",
        )
    return known_target(serve[0], release)


def kept_now(facts: HostFacts, keep_releases: int) -> tuple[str, ...]:
    """Return the releases that stay when nothing changes: see `kept`, and what was staged last."""
    newest = (facts.current, *reversed(facts.journal.good()))
    live = next((name for name in newest if name), None)
    staged = tuple(sorted(_staged(facts)))[-1:]
    return (*kept(facts, live, keep_releases), *staged) if live else staged


def _staged(facts: HostFacts) -> set[str]:
    """Return the whole releases that were never live and are newer than what is."""
    entries = {name: facts.journal.last(name) for name in facts.releases}
    return {
        name
        for name, entry in entries.items()
        if entry and entry.verdict is Verdict.PREPARED and name > (facts.current or "")
    }


def proven_beside(settings: Settings) -> bool:
    """Whether a release is started beside the live one: not where a GPU holds only one model."""
    serve = settings.serve
    return serve is None or serve.gpus == 0 or serve.strategy is Strategy.BLUE_GREEN


def read_health(result: Result) -> Health:
    """Make a typed answer of what the script emitted."""
    return Health(result.text("health"))


def _lines(entries: Iterable[Entry]) -> str:
    return "\n".join(entry.line() for entry in entries)


def serving_libraries(settings: Settings) -> tuple[str, ...]:
    """Return the libraries of a script that touches the service."""
    return ("release", *libraries(_serve(settings)))


def _address(serve: Serve, host: Host) -> str:
    """Return where the live service is asked on its host."""
    return f"{health.address(bind(serve, host))}:{serve.port}"


def stop_seconds(serve: Serve) -> str:
    """Return how long a stopping service may finish its requests."""
    return _seconds(serve.stop_timeout)


def _seconds(length: timedelta) -> str:
    return str(math.ceil(length.total_seconds()))


def _serve(settings: Settings) -> Serve:
    # Hosts that serve without a [serve] do not get past the settings' own checks.
    assert settings.serve is not None, "[serve] is missing"
    return settings.serve
