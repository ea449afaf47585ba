"""How a rollout that is under way can be seen and steered from another terminal.

The controller leaves on each host that has switched how the rollout stands; it counts only as long
as the session that wrote it holds the lock, so that a dead controller leaves no rollout behind. Who
wants something of it writes a request beside that, and the controller finds it while it watches. A
rollout that is held for a person stays written down, without any session, until it is decided.

Pure: which script to run, what its answer means, and what a request does to the rollout.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from aideploy.errors import Aborted
from aideploy.remote.result import Result
from aideploy.remote.script import Script

if TYPE_CHECKING:
    from aideploy.phases.batches import Course
    from aideploy.phases.facts import HostFacts
    from aideploy.settings import Settings

HEARD_SECONDS = 15
"""So long a request waits to be heard; a switch that is under way may take longer."""


class Wish(StrEnum):
    """What can be asked of a rollout."""

    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ABORT = "abort"


class Doing(StrEnum):
    """What a rollout is at."""

    SWITCHING = "switching"
    WATCHING = "watching"
    PAUSED = "paused"
    HELD = "held"


@dataclass(frozen=True)
class Request:
    """Something that is asked of a rollout.

    Args:
        rollout: its id; a request for another one is not heard.
        wish: what is asked.
        who: user@machine.
        at: when, UTC.
        id: told apart by this from any other request.
    """

    rollout: str
    wish: Wish
    who: str
    at: datetime
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    def line(self) -> str:
        """Return the request as one line of JSON."""
        return _line(self)


@dataclass(frozen=True)
class State:
    """How a rollout stands, as its controller last said.

    Args:
        rollout: its id.
        who: user@machine of the controller.
        since: when it began, UTC.
        at: when this was said, UTC.
        release, revision: what is rolled out.
        batches: the hosts of each batch, in their order.
        has_canary: whether the first batch is one.
        batch: which one is under way, from 1.
        doing: with it.
        by: who paused it.
        before: what each host that switched served before; None for nothing.
        failed: the hosts that failed, and went back alone.
        why: it is held.
        share: how many of 100 requests the hosts of its batch give to the release before they
            switch; 0 where they have switched, or do.
    """

    rollout: str
    who: str
    since: datetime
    at: datetime
    release: str
    revision: str
    batches: tuple[tuple[str, ...], ...]
    has_canary: bool
    batch: int
    doing: Doing
    by: str = ""
    before: Mapping[str, str | None] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    why: str = ""
    share: int = 0

    def line(self) -> str:
        """Return the state as one line of JSON."""
        return _line(self)

    def switched(self, facts: Mapping[str, HostFacts]) -> Mapping[str, HostFacts]:
        """Return the hosts that it switched and that serve its release still.

        Args:
            facts: of the hosts, as they are.

        Returns:
            their facts as they were before: that is what they go back to.
        """
        return {
            name: replace(facts[name], current=previous)
            for name, previous in self.before.items()
            if name in facts and facts[name].current == self.release
        }

    def now(self, **changes: object) -> State:
        """Return the state with these changes, said at this moment."""
        return replace(self, at=datetime.now(UTC), **changes)  # type: ignore[arg-type]


def beginning(course: Course, release: str, revision: str, who: str) -> State:
    """Return how a rollout stands that has not begun.

    Args:
        course: its batches.
        release, revision: what is rolled out, to all of its hosts.
        who: user@machine of the controller.
    """
    now = datetime.now(UTC)
    return State(
        rollout=secrets.token_hex(8),
        who=who,
        since=now,
        at=now,
        release=release,
        revision=revision,
        batches=course.batches,
        has_canary=course.has_canary,
        batch=1,
        doing=Doing.SWITCHING,
    )


@dataclass(frozen=True)
class Found:
    """What one host knows of a rollout.

    Args:
        current: the release that is live there.
        lock: who holds the lock since when, when it is held.
        running: the rollout whose session holds it.
        held: the rollout that waits for a person.
    """

    current: str | None = None
    lock: str = ""
    running: State | None = None
    held: State | None = None


def request_file(root: PurePosixPath) -> str:
    """Return where a request is left for the controller, on a host."""
    return str(root / "rollout" / "request")


def hear(root: PurePosixPath, state: State) -> Script:
    """Return the script that says how the rollout stands, and takes what is asked of it."""
    return Script("rollout_hear", (str(root), state.line()))


def heard(result: Result) -> Request | None:
    """Return the request that was taken, if there was one that can be read."""
    try:
        return _REQUEST.validate_json(result.text("request"))
    except ValidationError:
        return None


def look(settings: Settings) -> Script:
    """Return the script that asks a host what it knows."""
    return Script("rollout_look", (str(settings.app.deploy_to),))


def found(result: Result) -> Found:
    """Make a typed answer of what the script emitted; what cannot be read is not there."""
    return Found(
        current=result.text("current") or None,
        lock=result.text("lock"),
        running=_state(result.text("state")),
        held=_state(result.text("held")),
    )


def ask(settings: Settings, request: Request) -> Script:
    """Return the script that leaves a request and waits until it is heard; see `was_heard`."""
    return Script(
        "rollout_request", (str(settings.app.deploy_to), request.line(), str(HEARD_SECONDS))
    )


def was_heard(result: Result) -> bool:
    """Return whether the controller took the request while the script waited."""
    return result.text("heard") == "yes"


def hold(root: PurePosixPath, state: State) -> Script:
    """Return the script that writes down, beyond any session, that the rollout is held."""
    return Script("rollout_hold", (str(root), state.line()))


def forget(root: PurePosixPath) -> Script:
    """Return the script that strikes out that a rollout is held."""
    return Script("rollout_hold", (str(root), ""))


class Steering:
    """What was asked of one rollout so far.

    Args:
        rollout: its id.
    """

    def __init__(self, rollout: str) -> None:
        self.paused_by = ""
        self.promoted_by = ""
        self._rollout = rollout
        self._seen: set[str] = set()

    def heed(self, request: Request) -> str:
        """Do as this asks; the same request comes from every host that it was left on.

        Returns:
            what is to be said about it: nothing when it is known already, or not for this rollout.

        Raises:
            Aborted: that was asked.
        """
        if request.rollout != self._rollout or request.id in self._seen:
            return ""
        self._seen.add(request.id)
        who = request.who
        match request.wish:
            case Wish.ABORT:
                raise Aborted(f"{who} aborted the rollout")
            case Wish.PAUSE:
                self.paused_by = who
                return f"{who} paused the rollout; it goes on with: fab rollout.resume"
            case Wish.RESUME:
                self.paused_by = ""
                return f"{who} resumed the rollout"
        self.paused_by, self.promoted_by = "", who
        return f"{who} promoted the release: no more bake times and pauses"


_REQUEST = TypeAdapter(Request)
_STATE = TypeAdapter(State)


def _line(value: Request | State) -> str:
    return json.dumps(asdict(value), default=_plain)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a line of JSON")


def _state(text: str) -> State | None:
    try:
        return _STATE.validate_json(text)
    except ValidationError:
        return None
