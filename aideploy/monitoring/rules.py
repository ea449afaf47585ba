"""The rules of Prometheus for one app in one environment: what it records, and when it alerts.

`monitor.render` and `monitor.push` call `rule_files`. The expressions stand in
`templates/prometheus/rules/`; here is only what they are filled in with, and which of them this
app has: no rule is written about what nobody measures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from aideploy.monitoring.naming import name_of, old_name_of
from aideploy.monitoring.presets import query, signals
from aideploy.phases.batches import course
from aideploy.rendering import render
from aideploy.settings import Role, Settings
from aideploy.settings.monitoring import Exporter
from aideploy.settings.serve import Manager

# Google's SRE workbook, chapter 5, "multiwindow, multi-burn-rate alerts", for 30 days: how much
# faster than allowed the budget is spent, and over which of the two windows, of which the longer
# one has twelve times the length.
_BURNS = (
    (14.4, timedelta(minutes=5), "fast"),
    (6.0, timedelta(minutes=30), "fast"),
    (3.0, timedelta(hours=2), "slow"),
    (1.0, timedelta(hours=6), "slow"),
)
_MONTH = timedelta(days=30)
_LONGER = 12
# A rollout that takes longer than this does not end; one that is meant to wait longer gets half of
# it on top.
_SKEWED = timedelta(hours=1)
_STUCK = timedelta(hours=2)
_DRIFT_AGE = timedelta(days=1)
_SHORTEST = timedelta(minutes=2)
_LABELS = ("app", "env", "host", "track", "instance", "feature", "method", "name", "mountpoint")
_MORE_LABELS = ("device", "uuid", "xid", "proxy", "server", "job", "error")


@dataclass(frozen=True)
class Burn:
    """One pair of windows in which an error budget may burn.

    Args:
        longer: the window that says it is worth a word, as a PromQL duration.
        shorter: the one that says it is still so.
        errors: the share of failed requests from which on it is too fast.
        quantile: the quantile of the latency that is too long then.
        speed: "fast" or "slow".
    """

    longer: str
    shorter: str
    errors: str
    quantile: str
    speed: str


def rule_files(settings: Settings) -> Mapping[str, str]:
    """Return the rule files for Prometheus: name -> YAML. One app in one environment has one.

    Raises:
        SettingsError: a template cannot be rendered.
    """
    values = _values(settings)
    folder = settings.path.parent
    parts = [
        render(f"prometheus/rules/{part}.yml.j2", values, folder=folder)
        for part in _parts(settings)
    ]
    text = render("prometheus/rules/rules.yml.j2", {"parts": parts}, folder=folder)
    return {_file(name_of(settings)): text}


def old_rule_file(settings: Settings) -> str:
    """Return the name that the rule file had in version 0.1."""
    return _file(old_name_of(settings))


def burns(settings: Settings) -> tuple[Burn, ...]:
    """Return the windows of `[monitoring.slo]`: those of 30 days, shorter or longer in proportion.

    None is shorter than two minutes, so that a few scrapes lie in it.
    """
    slo = settings.monitoring.slo
    errors = 1 - slo.availability / 100
    slow = 1 - slo.latency_objective / 100
    found = []
    for rate, shortest, speed in _BURNS:
        shorter = max(_SHORTEST, shortest * (slo.window / _MONTH))
        found.append(
            Burn(
                longer=promql_duration(shorter * _LONGER),
                shorter=promql_duration(shorter),
                errors=_number(_reachable(errors, rate)),
                quantile=_number(1 - _reachable(slow, rate)),
                speed=speed,
            )
        )
    return tuple(found)


def promql_duration(length: timedelta) -> str:
    """Write a duration for PromQL, in whole minutes at least."""
    minutes = max(1, -(-length // timedelta(minutes=1)))
    for name, unit in (("d", 1440), ("h", 60)):
        if minutes % unit == 0:
            return f"{minutes // unit}{name}"
    return f"{minutes}m"


def rollout_length(settings: Settings) -> timedelta:
    """Return for how long a rollout waits at most: all its batches together."""
    hosts = [host.name for host in settings.all_hosts if Role.SERVE in host.roles]
    planned = course(settings, hosts)
    steps = len(planned.batches) + len(planned.weights)
    longer = settings.rollout.max_wait if settings.analyses else timedelta(0)
    return (planned.bake + planned.pause + longer) * steps


def _file(name: str) -> str:
    return f"aideploy-{name}.yml"


def _reachable(budget: float, rate: float) -> float:
    """Return the share of bad requests at this rate; one that a total outage is sure to reach."""
    return min(budget * rate, (1 + budget) / 2)


def _parts(settings: Settings) -> Iterator[str]:
    monitoring = settings.monitoring
    if settings.serve is not None:
        yield from ("recording", "service")
    if monitoring.textfile is not None:
        yield "release"
    for exporter, part in (
        (Exporter.NODE, "hosts"),
        (Exporter.NVIDIA, "gpu"),
        (Exporter.HAPROXY, "haproxy"),
        (Exporter.BLACKBOX, "blackbox"),
    ):
        if exporter in monitoring.exporters:
            yield part
    yield "prometheus"


def _values(settings: Settings) -> Mapping[str, object]:
    app, env = settings.app.name, settings.environment
    monitoring, serve = settings.monitoring, settings.serve
    slo = monitoring.slo
    of_app = f'app="{app}",env="{env}"'
    # What belongs to a host and to no app has no such label, and whatever has another is not ours.
    hosts = "|".join(host.name for host in settings.all_hosts)
    of_hosts = f'host=~"{hosts}",app=~"|{app}",env=~"|{env}"'
    windows = burns(settings)

    def rate(expression: str, over: str, by: Sequence[str]) -> str:
        return query(expression, selector=of_app, over=over, by=by, per_second=True)

    def now(expression: str, by: Sequence[str]) -> str:
        return query(expression, selector=of_app, by=by)

    return {
        "app": app,
        "env": env,
        "of_app": of_app,
        # The service itself, not what tells of it from outside.
        "of_service": f'{of_app},slot!=""',
        "of_hosts": of_hosts,
        "signals": signals(monitoring),
        "unit": _times(signals(monitoring).latency_unit),
        "rate": rate,
        "now": now,
        "burns": windows,
        "short_windows": _sorted({burn.shorter for burn in windows}),
        "long_windows": _sorted({b.longer for b in windows} - {b.shorter for b in windows}),
        "slo": slo,
        "latency": _number(slo.latency.total_seconds()),
        "objective": _number(slo.latency_objective / 100),
        "drift": {name: _number(one) for name, one in drift_limits(slo.drift).items()},
        "drift_age": int(_drift_age(settings).total_seconds()),
        "drift_days": promql_duration(_drift_age(settings)),
        "model_age": None if slo.model_age is None else int(slo.model_age.total_seconds()),
        "skewed": promql_duration(max(_SKEWED, rollout_length(settings) + _SKEWED / 2)),
        "stuck": promql_duration(max(_STUCK, rollout_length(settings) + _STUCK / 2)),
        "trains": settings.train is not None,
        "under_systemd": serve is not None and serve.manager is Manager.SYSTEMD,
        "textfile": f"aideploy-{name_of(settings)}.prom",
        "file": _file(name_of(settings)),
        "runbook_url": monitoring.runbook_url,
        "label": {name: f"{{{{ $labels.{name} }}}}" for name in (*_LABELS, *_MORE_LABELS)},
        "value": "{{ $value | humanize }}",
        "percent": "{{ $value | humanizePercentage }}",
        "duration": "{{ $value | humanizeDuration }}",
        "yaml": _yaml,
    }


def drift_limits(psi: float) -> Mapping[str, float]:
    """Return the limit of each method: where a shift of the same small size puts all of them.

    A normal distribution that moves by s standard deviations has a PSI of s^2 (the symmetric
    divergence of Kullback and Leibler), a Wasserstein distance of s, and about s^2 / (8 ln 2) as
    the square of its Jensen-Shannon distance to the base 2.
    """
    return {
        "psi": psi,
        "js": min(0.99, math.sqrt(psi / (8 * math.log(2)))),
        "wasserstein": math.sqrt(psi),
    }


def _drift_age(settings: Settings) -> timedelta:
    """Return after which time one should have looked for drift: at least twice."""
    return max(_DRIFT_AGE, 2 * settings.drift.schedule if settings.drift else _DRIFT_AGE)


def _sorted(windows: set[str]) -> list[str]:
    minutes = {"m": 1, "h": 60, "d": 1440}
    return sorted(windows, key=lambda window: int(window[:-1]) * minutes[window[-1]])


def _times(unit: float) -> str:
    """Return what makes seconds of such a unit, to be put behind an expression."""
    return "" if unit == 1 else f" * {_number(unit)}"


def _number(value: float) -> str:
    return f"{value:.6g}"


def _yaml(text: str) -> str:
    """Quote a text for YAML, which reads strings as JSON writes them."""
    return json.dumps(text, ensure_ascii=False)
