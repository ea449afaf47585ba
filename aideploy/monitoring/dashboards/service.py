"""The dashboard of the service: is it up, how much is asked, how fast and how well is it answered?

What is asked over and over comes from the recording rules, whose names do not depend on the serving
software; the rest from its own metrics.
"""

from __future__ import annotations

from aideploy.monitoring.dashboards.asking import Arm, Questions
from aideploy.monitoring.dashboards.board import CHOSEN, OF_APP, Board, Choice, Row
from aideploy.monitoring.dashboards.panels import Bounds, Line, Panel, graph, number, spread
from aideploy.settings.monitoring import Exporter, Monitoring

_HOSTS = f'label_values(up{{{OF_APP},slot!=""}}, host)'
# The service itself; what tells of it from outside has no slot.
_ITSELF = f'{CHOSEN},slot!=""'


def service(monitoring: Monitoring, questions: Questions) -> Board:
    """Return the dashboard.

    Args:
        monitoring: what the service owes its users, and which exporters there are.
        questions: what can be asked of it.
    """
    rows = [
        Row("Now", _now(monitoring, questions)),
        Row("Requests", _requests(monitoring, questions)),
        Row("Latency", _latency(monitoring, questions)),
    ]
    if Exporter.HAPROXY in monitoring.exporters:
        rows.append(Row("In front of it: HAProxy", _haproxy()))
    if Exporter.BLACKBOX in monitoring.exporters:
        rows.append(Row("Seen from outside", _outside()))
    return Board(
        kind="service",
        title="Service",
        says="Is the service up, how much is asked of it, how fast and how well does it answer?",
        choices=(Choice("host", "Host", _HOSTS, several=True),),
        rows=rows,
    )


def _now(monitoring: Monitoring, questions: Questions) -> tuple[Panel, ...]:
    slo = monitoring.slo
    owed = _errors_owed(monitoring)
    requests = f"sum(app:inference_requests:rate5m{{{OF_APP}}})"
    is_up = f"max by (host) (up{{{_ITSELF}}})"
    panels: list[Panel] = [
        number("Requests", Line(requests), unit="reqps", says="Per second, over 5 minutes.")
    ]
    if questions.has_errors:
        panels.append(
            number(
                "Errors per request",
                Line(f"sum(app:inference_errors:rate5m{{{OF_APP}}}) / {requests}"),
                unit="percentunit",
                says=f"[monitoring.slo] allows {owed * 100:g} %.",
                bounds=Bounds(owed, owed * 10),
            )
        )
    if recorded := questions.recorded_latency:
        what, name = recorded
        panels.append(
            number(
                what,
                Line(f"max(app:{name}{{{OF_APP}}})"),
                unit="s",
                says="Of the slower track during a rollout.",
                bounds=Bounds(slo.latency.total_seconds(), 2 * slo.latency.total_seconds()),
            )
        )
    panels += [
        number("Hosts up", Line(f"sum({is_up})"), says="Hosts whose service Prometheus reaches."),
        number(
            "Hosts down",
            Line(f"count({is_up} == 0) or vector(0)"),
            says="Hosts of which no slot answers Prometheus.",
            bounds=Bounds(1, 1),
        ),
        number(
            "Restarts",
            Line(f"sum(changes(process_start_time_seconds{{{_ITSELF}}}[1h]))"),
            says="Of the service's processes in the last hour; a deploy is one for each host.",
        ),
    ]
    return tuple(panels)


def _errors_owed(monitoring: Monitoring) -> float:
    """Return how many of the requests may fail."""
    return round(1 - monitoring.slo.availability / 100, 9)


def _requests(monitoring: Monitoring, questions: Questions) -> tuple[Panel, ...]:
    owed = _errors_owed(monitoring)
    requests = (
        graph(
            "Requests",
            Line(f"app:inference_requests:rate5m{{{OF_APP}}}", "{{track}}"),
            unit="reqps",
            says="Of the stable hosts and, during a rollout, the canary.",
            width=12,
        ),
        graph(
            "Requests of each host",
            Line(f"host:inference_requests:rate5m{{{CHOSEN}}}", "{{host}}"),
            unit="reqps",
            says="One far below the others gets no traffic: see what balances the load.",
            width=12,
        ),
    )
    if not questions.has_errors:
        return requests
    return (
        *requests,
        graph(
            "Errors per request",
            Line(f"app:inference_errors_per_request:ratio_rate5m{{{OF_APP}}}", "{{track}}"),
            unit="percentunit",
            says="The red line is what [monitoring.slo] allows.",
            width=12,
            limit=owed,
        ),
        graph(
            "Errors of each host",
            Line(f"host:inference_errors_per_request:ratio_rate5m{{{CHOSEN}}}", "{{host}}"),
            unit="percentunit",
            says="One far above the others: fab diagnose, or fab logs of that host.",
            width=12,
        ),
    )


def _latency(monitoring: Monitoring, questions: Questions) -> tuple[Panel, ...]:
    arm = Arm(CHOSEN)
    limit = monitoring.slo.latency.total_seconds()
    panels: list[Panel] = []
    if latencies := questions.latencies(arm):
        panels.append(
            graph(
                "Time to an answer",
                *(Line(asked, name) for name, asked in latencies.items()),
                unit="s",
                says="The red line is the limit of [monitoring.slo].",
                width=12,
                limit=limit,
            )
        )
    if recorded := questions.recorded_latency:
        what, name = recorded
        panels.append(
            graph(
                f"{what} of each host",
                Line(f"host:{name}{{{CHOSEN}}}", "{{host}}"),
                unit="s",
                says="Over 5 minutes.",
                width=12,
                limit=limit,
            )
        )
    if buckets := questions.buckets(arm):
        panels.append(
            spread(
                "How the times are spread",
                Line(buckets, "{{le}}"),
                unit=questions.bucket_unit,
                says="Two bands: two kinds of requests, or of hosts.",
            )
        )
    if waiting := questions.waiting(Arm(CHOSEN, by=("host",))):
        panels.append(
            graph(
                "Waiting",
                Line(waiting, "{{host}}"),
                says="Requests that wait or are at work. Growing: it cannot keep up.",
                width=12,
            )
        )
    return tuple(panels)


def _haproxy() -> tuple[Panel, ...]:
    of_app = f'{CHOSEN},proxy="app"'
    return (
        graph(
            "Slots that serve",
            Line(f"max by (host) (haproxy_backend_active_servers{{{of_app}}})", "{{host}}"),
            says="0: HAProxy has no slot to send requests to. A standby does not count.",
        ),
        graph(
            "Answers 5xx",
            Line(
                "sum by (host) (rate(haproxy_backend_http_responses_total"
                f'{{{of_app},code="5xx"}}[$__rate_interval]))',
                "{{host}}",
            ),
            unit="reqps",
            says="As users see them, with those of HAProxy itself.",
        ),
        graph(
            "Sent to another slot",
            Line(
                "sum by (host) (rate(haproxy_backend_redispatch_warnings_total"
                f"{{{of_app}}}[$__rate_interval]))",
                "{{host}}",
            ),
            unit="reqps",
            says="Requests whose slot was gone. Users noticed nothing; the service did.",
        ),
    )


def _outside() -> tuple[Panel, ...]:
    return (
        graph(
            "Reached from outside",
            Line(f"min by (host) (probe_success{{{CHOSEN}}})", "{{host}}"),
            says="1: blackbox_exporter got the answer that it expects.",
            width=12,
        ),
        graph(
            "Time of the probe",
            Line(f"max by (host) (probe_duration_seconds{{{CHOSEN}}})", "{{host}}"),
            unit="s",
            width=12,
        ),
    )
