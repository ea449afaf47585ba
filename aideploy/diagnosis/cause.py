"""What may be the cause of a fault, and which of several is the likeliest. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Kind(StrEnum):
    """The causes that are known, those first that explain most of what is seen elsewhere."""

    UNREACHABLE = "host unreachable"
    HANGS = "no answer"
    NOT_SET_UP = "not set up"
    RELEASE_MISSING = "release missing"
    DISK_FULL = "disk full"
    READ_ONLY = "disk read-only"
    GPU_LOST = "GPU lost"
    OUT_OF_MEMORY = "out of memory"
    MODEL_MISSING = "model missing"
    SECRET_MISSING = "secret missing"  # noqa: S105  # a name, not a value
    FILE_MISSING = "linked file missing"
    ENVIRONMENT_BROKEN = "environment broken"
    PORT_TAKEN = "port taken"
    HAPROXY_DOWN = "HAProxy down"
    CRASH_LOOP = "crash loop"
    STOPPED = "service stopped"
    UNHEALTHY = "unhealthy"
    GAVE_UP = "a job of the host failed"
    CHANGED = "release changed"
    SKEW = "different releases"
    HELD = "rollout held"
    ALERT = "alert"
    TARGET_DOWN = "target down"


# What is seen of the service itself; another cause may be behind it.
SYMPTOMS = frozenset({Kind.CRASH_LOOP, Kind.STOPPED, Kind.UNHEALTHY})


class Sure(IntEnum):
    """How sure it is that this is what users suffer from."""

    NOTED = 1
    """It is not as it should be; the service is well all the same."""

    FOUND = 2
    """It is not as it should be, and the service is not well."""

    PROVEN = 3
    """It keeps the service from working, or the service itself says so."""


@dataclass(frozen=True)
class Cause:
    """One thing that is wrong.

    Args:
        host: where; "the fleet" or "Prometheus" where it is no host's.
        kind: of what kind.
        what: in one sentence.
        evidence: lines that show it.
        next_step: what to type or to do.
        sure: how sure it is that it matters.
    """

    host: str
    kind: Kind
    what: str
    evidence: tuple[str, ...] = ()
    next_step: str = ""
    sure: Sure = Sure.FOUND


def ranked(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """Return the causes, the likeliest first."""
    order = list(Kind)
    return tuple(sorted(causes, key=lambda one: (-one.sure, order.index(one.kind), one.host)))
