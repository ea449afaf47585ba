"""The dashboard of a rollout: the hosts that have the new release beside those that do not.

The two sides are chosen by host, as the analysis does it, and by slot where a share of a host's
requests is what is new. At first they are what the targets' label `track` says at that time; of a
rollout of before, the hosts are chosen by hand.
"""

from __future__ import annotations

from collections.abc import Callable

from aideploy.monitoring.dashboards.asking import Arm, Questions
from aideploy.monitoring.dashboards.board import OF_APP, Board, Choice, Row
from aideploy.monitoring.dashboards.panels import Line, Panel, graph, number, spread

_COLORS = {"canary": "orange", "baseline": "blue"}
_ARMS = {name: f'{OF_APP},host=~"${name}",slot=~"${name}_slot"' for name in ("canary", "baseline")}


def canary(questions: Questions) -> Board:
    """Return the dashboard; `questions` is what can be asked of the service."""
    return Board(
        kind="canary",
        title="Canary against baseline",
        says="Does the new release answer as well, as fast and the same as the one before?",
        choices=(
            *_sides("canary", "canary", "New release on"),
            *_sides("baseline", "stable", "Release before on"),
        ),
        rows=(Row("In the time shown", _whole(questions)), Row("Over time", _over(questions))),
        since="now-30m",
    )


def _sides(name: str, track: str, label: str) -> tuple[Choice, Choice]:
    hosts = f'label_values(up{{{OF_APP},slot!="",track="{track}"}}, host)'
    slots = f'label_values(up{{{OF_APP},slot!="",host=~"${name}"}}, slot)'
    return (
        Choice(name, label, hosts, several=True),
        Choice(f"{name}_slot", "slot", slots, several=True, any_value=".*"),
    )


def _whole(questions: Questions) -> tuple[Panel, ...]:
    panels: list[Panel] = []
    for name, selector in _ARMS.items():
        arm = Arm(selector, over="$__range")
        panels.append(number(f"Requests, {name}", Line(questions.count(arm)), decimals=0))
        if errors := questions.errors_per_request(arm):
            panels.append(number(f"Errors, {name}", Line(errors), unit="percentunit", decimals=3))
        if latencies := questions.latencies(arm):
            what, slowest = list(latencies.items())[-1]
            panels.append(number(f"{what}, {name}", Line(slowest), unit="s"))
    return tuple(panels)


def _over(questions: Questions) -> tuple[Panel, ...]:
    def both(ask: Callable[[Arm], str | None]) -> tuple[Line, ...]:
        asked = {name: ask(Arm(selector)) for name, selector in _ARMS.items()}
        return tuple(Line(found, name, _COLORS[name]) for name, found in asked.items() if found)

    panels: list[Panel] = [
        graph(
            "Requests",
            *both(questions.requests),
            unit="reqps",
            says="Differences below mean something only where there are enough of them.",
        )
    ]
    ways: tuple[tuple[str, str, Callable[[Arm], str | None]], ...] = (
        ("Errors per request", "percentunit", questions.errors_per_request),
        ("Mean time to an answer", "s", questions.mean),
        ("p50", "s", lambda arm: questions.quantile(arm, 0.5)),
        ("p99", "s", lambda arm: questions.quantile(arm, 0.99)),
        ("Waiting", "short", questions.waiting),
        ("Median prediction", "short", lambda arm: questions.predicted(arm, 0.5)),
    )
    panels += [graph(title, *lines, unit=unit) for title, unit, ask in ways if (lines := both(ask))]
    for name, selector in _ARMS.items():
        if buckets := questions.predictions(Arm(selector)):
            panels.append(spread(f"Predictions, {name}", Line(buckets, "{{le}}")))
    return tuple(panels)
