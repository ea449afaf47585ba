"""The course of a rollout: which hosts switch together, in which order, and what is borne.

Pure: from the settings and the names of the hosts. `rollout.py` follows it, `plan` shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from aideploy.events import Batch
from aideploy.report.wording import host_names
from aideploy.settings.rollout import OnFailure

if TYPE_CHECKING:
    from aideploy.settings import Settings

NOTHING = timedelta(0)
_NAMED = 3


@dataclass(frozen=True)
class Course:
    """How a release spreads.

    Args:
        batches: the hosts that switch together, in their order.
        has_canary: whether the first batch is one.
        bake: how long every switched host has to stay well after each batch.
        pause: how long to wait after that before the next batch.
        max_failures: how many hosts behind the canary may fail before the whole fleet goes back.
        holds: whether a fleet with more failures stops for a person to decide, not goes back.
        weights: how many of 100 requests the first batch gives to the release, one share after the
            other, before it switches.
    """

    batches: tuple[tuple[str, ...], ...]
    has_canary: bool = False
    bake: timedelta = NOTHING
    pause: timedelta = NOTHING
    max_failures: int = 0
    holds: bool = False
    weights: tuple[int, ...] = ()

    def batch(self, index: int) -> Batch:
        """Return what the events call the batch with this index."""
        return Batch(index + 1, len(self.batches), is_canary=self.has_canary and index == 0)

    def tolerated(self, index: int) -> int:
        """Return how many hosts may have failed when the batch with this index is under way.

        None of the canary: it is there to find out.
        """
        return 0 if self.batch(index).is_canary else self.max_failures

    def in_words(self) -> str:
        """Return the switching of these batches, for the line of a plan."""
        listed = ", ".join(f"{one}%" for one in self.weights)
        shares = f" with {listed}, then all of the requests" if listed else ""
        if len(self.batches) < 2:
            return f"switch{shares}"
        rest = self.batches[1:] if self.has_canary else self.batches
        most = max(map(len, rest))
        hosts = "1 host" if most == 1 else f"up to {most} hosts"
        behind = f"{len(rest)} {'batch' if len(rest) == 1 else 'batches'} of {hosts}"
        if not self.has_canary:
            return f"switch {behind}" + (f", the first{shares}" if shares else "")
        canary = host_names(self.batches[0], _NAMED)
        return f"switch the canary {canary}{shares}{',' if shares else ''} then {behind}"


def course(settings: Settings, hosts: Sequence[str]) -> Course:
    """Return the course that [rollout] wants for these hosts.

    Args:
        settings: of the environment.
        hosts: the names of those that switch, in the order of hosts.toml.
    """
    how = settings.rollout
    canary = how.canary.of(len(hosts))
    size = how.batch.of(len(hosts))
    rest = hosts[canary:]
    first = (tuple(hosts[:canary]),) if canary else ()
    batches = (tuple(rest[start : start + size]) for start in range(0, len(rest), max(size, 1)))
    return Course(
        batches=(*first, *batches),
        has_canary=0 < canary < len(hosts),
        bake=how.bake,
        pause=how.pause,
        max_failures=how.max_failures,
        holds=how.on_failure is OnFailure.HOLD,
        weights=how.weights,
    )


def promoted(settings: Settings, hosts: Sequence[str]) -> Course:
    """Return the course of a release that a person promotes: nothing is waited for any more."""
    wanted = course(settings, hosts)
    return replace(wanted, has_canary=False, bake=NOTHING, pause=NOTHING, weights=())


def at_once(hosts: Sequence[str]) -> Course:
    """Return the course of a rollback: all hosts together, asked once and not watched."""
    return Course(batches=(tuple(hosts),) if hosts else ())
