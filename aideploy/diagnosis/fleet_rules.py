"""The rules about all hosts together, and about what Prometheus says of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from aideploy.diagnosis.cause import Cause, Kind, Sure
from aideploy.diagnosis.look import HostLook

if TYPE_CHECKING:
    from aideploy.commands.asking import Absent

FLEET = "the fleet"
PROMETHEUS = "Prometheus"
_MOST = 10


class Target(Protocol):
    """A target of Prometheus, as its API tells of it."""

    labels: dict[str, str]
    scrapeUrl: str  # as Prometheus calls it
    lastError: str
    health: str


class Alert(Protocol):
    """An alert of Prometheus, as its API tells of it."""

    labels: dict[str, str]
    annotations: dict[str, str]
    state: str


def unreachable(absent: Iterable[Absent]) -> Iterator[Cause]:
    """Yield a cause for each host that did not answer."""
    for one in absent:
        evidence = tuple(line for line in one.why.splitlines() if line.strip())[:5]
        yield Cause(one.host, Kind.UNREACHABLE, one.what, evidence, one.next_step, Sure.PROVEN)


def of_fleet(serving: Mapping[str, HostLook]) -> Iterator[Cause]:
    """Yield what is wrong between the hosts that serve; while a command is at work nothing is."""
    looks = serving.values()
    if any(one.lock or one.in_held_rollout for one in looks):
        return
    hosts: dict[str, list[str]] = {}
    for name, look in serving.items():
        if look.set_up:
            hosts.setdefault(look.release or "nothing", []).append(name)
    if len(hosts) > 1:
        shown = tuple(f"{release}: {', '.join(names)}" for release, names in hosts.items())
        yield Cause(
            FLEET,
            Kind.SKEW,
            "the hosts do not serve the same release",
            shown,
            "fab status; then fab deploy brings all to the same",
            Sure.NOTED,
        )


def of_prometheus(
    app: str,
    environment: str,
    hosts: Iterable[str],
    targets: Sequence[Target],
    alerts: Sequence[Alert],
) -> Iterator[Cause]:
    """Yield what Prometheus knows of these hosts: alerts that fire, targets that are down."""
    known = frozenset(hosts)

    def is_ours(labels: Mapping[str, str]) -> bool:
        if labels.get("host", "") in known and labels.get("app", app) == app:
            return labels.get("env", environment) == environment
        return labels.get("app") == app and labels.get("env") == environment

    for alert in [one for one in alerts if one.state == "firing" and is_ours(one.labels)][:_MOST]:
        name = alert.labels.get("alertname", "an alert")
        shown = [alert.annotations.get(key, "") for key in ("summary", "description")]
        book = alert.annotations.get("runbook_url", "")
        yield Cause(
            alert.labels.get("host") or PROMETHEUS,
            Kind.ALERT,
            f"{name} fires",
            tuple(filter(None, shown)),
            f"see {book}" if book else "look at it in Alertmanager or Grafana",
            Sure.NOTED,
        )
    down = [one for one in targets if one.health == "down" and is_ours(one.labels)]
    for target in down[:_MOST]:
        yield Cause(
            target.labels.get("host") or PROMETHEUS,
            Kind.TARGET_DOWN,
            f"Prometheus cannot scrape {target.labels.get('job', 'a target')} of "
            f"{target.labels.get('instance', target.scrapeUrl)}",
            tuple(filter(None, (target.lastError,))),
            "see whether that program runs on the host, and whether the monitor host reaches it",
            Sure.NOTED,
        )
