"""The two sides of a comparison: which hosts, in which time.

Pure. They are chosen by host, and by slot where a host gives only a share of its requests to the
release, never by what a target is labelled as: a label that is late falsifies nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Arm:
    """One side.

    Args:
        selectors: label matchers without braces; what they select is added up. None: there is
            nothing on this side.
        words: what it is, for people.
        until: the moment that its time ends with, in seconds; None for now.
    """

    selectors: tuple[str, ...]
    words: str
    until: float | None = None


@dataclass(frozen=True)
class Arms:
    """Both sides.

    Args:
        canary: what serves the new release.
        baseline: what it is compared with.
        since: when the new release began to serve there, in seconds.
    """

    canary: Arm
    baseline: Arm
    since: float


def matchers(app: str, environment: str, hosts: Iterable[str], slot: str = "") -> str:
    """Return the label matchers of these hosts, without braces."""
    # Names of hosts hold dots and dashes at most; they are escaped all the same.
    named = "|".join(re.sub(r"[^A-Za-z0-9_-]", lambda sign: f"\\{sign[0]}", h) for h in hosts)
    pairs = [("app", "=", app), ("env", "=", environment), ("host", "=~", named)]
    if slot:
        pairs.append(("slot", "=", slot))
    return ",".join(f"{label}{sign}{_quoted(value)}" for label, sign, value in pairs)


def arms(
    app: str,
    environment: str,
    canary: Iterable[str],
    others: Iterable[str],
    *,
    since: float,
    begun: float,
    before: Iterable[str] = (),
) -> Arms:
    """Return the sides of a rollout in which these hosts have switched.

    Args:
        app, environment: whose.
        canary: the hosts that serve the new release.
        others: those that serve the old one, at the same time.
        since: when the last of the canary switched.
        begun: when the first did: what was before is the baseline where nobody serves the old
            release any more.
        before: the hosts of the canary that served something then.
    """
    switched, rest, earlier = tuple(canary), tuple(others), tuple(before)
    new = Arm((matchers(app, environment, switched),), named(switched))
    if rest:
        old = Arm((matchers(app, environment, rest),), named(rest))
    elif earlier:
        words = f"{named(earlier)} before the rollout"
        old = Arm((matchers(app, environment, earlier),), words, until=begun)
    else:
        old = Arm((), "nothing")
    return Arms(new, old, since)


def shared_arms(app: str, environment: str, slots: Mapping[str, str], *, since: float) -> Arms:
    """Return the sides while hosts give a share of their requests to the release in these slots.

    The other slot of the same hosts is the best baseline there is: one machine, one time.
    """
    groups: dict[str, list[str]] = {}
    for host, slot in slots.items():
        groups.setdefault(slot, []).append(host)
    new = tuple(matchers(app, environment, hosts, slot) for slot, hosts in groups.items())
    old = tuple(matchers(app, environment, hosts, _other(slot)) for slot, hosts in groups.items())
    words = named(slots)
    return Arms(Arm(new, f"{words}, its share"), Arm(old, f"{words}, the rest"), since)


def named(hosts: Iterable[str]) -> str:
    """Return the first hosts by name and the others by number."""
    names = tuple(hosts)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _other(slot: str) -> str:
    return {"blue": "green", "green": "blue"}.get(slot, slot)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
