"""`[monitoring]`: what watches the hosts, and what is told to it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from aideploy.settings.table import Table, default
from aideploy.settings.values import (
    ControllerPath,
    HostFolder,
    Line,
    Matches,
    Port,
    Timeout,
    UrlPath,
    VariableName,
    number,
)

_HIGHEST_PORT = 65535
_METRICS_DISTANCE = 20000
_URL_EXPECTED = 'a URL that starts with http:// or https://, as "http://mon1:9090", no "/" last'


def _service_url(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  # refuses a wrong one
    except ValueError:
        raise ValueError(_URL_EXPECTED) from None
    if parts.password is not None or parts.username is not None:
        raise ValueError("a URL without a user; write username, and the secret's name in password")
    if parts.query or parts.fragment:
        raise ValueError(_URL_EXPECTED)
    return value


ServiceUrl = Annotated[
    str,
    Matches(r"https?://[A-Za-z0-9._\[\]:-]+(?:/[A-Za-z0-9._~-]+)*", _URL_EXPECTED),
    BeforeValidator(_service_url),
]


# The URL of a webhook often is the secret itself.
Receiver = Annotated[
    str,
    Matches(
        r"https?://[!-~]+|[A-Za-z_][A-Za-z0-9_]*",
        "a URL that starts with https://, or the name of a secret",
    ),
]


def _objective(value: object) -> float:
    try:
        found = number(value)
    except ValueError:
        found = 0
    if not 0 < found < 100:
        raise ValueError("a share in percent between 0 and 100, as 99.9")
    return found


_Objective = Annotated[
    float,
    PlainValidator(_objective),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 100}),
]


class Exporter(StrEnum):
    """What tells Prometheus of a host beside the service itself."""

    NODE = "node"
    NVIDIA = "nvidia"
    HAPROXY = "haproxy"
    BLACKBOX = "blackbox"


class Preset(StrEnum):
    """The serving software, which decides how its metrics are called."""

    GENERIC = "generic"
    BENTOML = "bentoml"
    KSERVE = "kserve"
    MLSERVER = "mlserver"
    RAY_SERVE = "ray_serve"
    TRITON = "triton"
    VLLM = "vllm"


class Access(Table):
    """Where a server of monitoring is, and what lets us in."""

    url: ServiceUrl
    """Its address as this machine reaches it, as "http://mon1:9090"."""

    username: Annotated[str, Matches(r"[^\x00-\x1f\x7f:]+", "a user's name")] | None = None
    """The user, where it asks for one (HTTP basic authentication)."""

    password: VariableName | None = None
    """The name of the secret that holds that user's password."""

    token: VariableName | None = None
    """The name of the secret that holds a bearer token, instead of a user."""

    ca: ControllerPath | None = None
    """The file of the certificate authority that it is to be trusted by, where that is your own."""

    timeout: Timeout = default("10s")
    """How long an answer may take."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that it needs."""
        return tuple(name for name in (self.password, self.token) if name)


class PrometheusServer(Access):
    """Where Prometheus is."""

    local_url: ServiceUrl = "http://127.0.0.1:9090"
    """Its address as a monitor host itself reaches it: monitor.push asks there what is loaded."""

    directory: HostFolder = default("/etc/prometheus")
    """The folder of its configuration on the monitor hosts."""


class AlertmanagerServer(Access):
    """Where Alertmanager is."""

    local_url: ServiceUrl = "http://127.0.0.1:9093"
    """Its address as the monitor hosts and the Prometheus there reach it."""

    directory: HostFolder = default("/etc/prometheus")
    """The folder of its configuration on the monitor hosts."""

    webhook: Receiver | None = None
    """Who is told of alerts: a URL that they are posted to, or the name of the secret that holds
    one."""

    slack: VariableName | None = None
    """The name of the secret that holds the URL of an incoming webhook of Slack."""

    slack_channel: Line | None = None
    """The channel, where it is not the one that the webhook is made for."""

    repeat: Timeout = default("4h")
    """How long until an alert that goes on is told again."""


class GrafanaServer(Access):
    """Where Grafana is."""

    directory: HostFolder = default("/etc/grafana/provisioning")
    """The folder on the monitor hosts that it is provisioned from."""


class Slo(Table):
    """What the service owes its users."""

    availability: _Objective = 99.9
    """How many of 100 requests have to be answered without an error."""

    latency: Timeout = default("300ms")
    """The time in which a request should be answered: best a bucket of the histogram."""

    latency_objective: _Objective = 99.0
    """How many of 100 requests have to be answered in that time."""

    window: Timeout = default("30d")
    """Over which time both are counted."""


class Monitoring(Table):
    """What watches the hosts, and what is told to it."""

    file_sd: HostFolder | None = None
    """The folder on the monitor hosts where the targets for Prometheus (file_sd) are written."""

    textfile: HostFolder | None = None
    """The folder where node_exporter reads metrics from files (its textfile collector), as
    "/var/lib/prometheus/node-exporter"; releases, trainings and drift are written there."""

    preset: Preset = default("generic")
    """The serving software, which decides how its metrics are called: "generic", "bentoml",
    "kserve", "mlserver", "ray_serve", "triton" or "vllm"."""

    metrics_path: UrlPath = "/metrics"
    """Where the service shows its metrics."""

    metrics_port: Port | None = None
    """With "blue_green" the port where the app's HAProxy lets Prometheus ask each slot, and HAProxy
    itself; by default port + 20000 (or - 20000 if that is too high). Needs file_sd."""

    install: bool = False
    """Whether `fab setup` installs, from the packages of the system, Prometheus and Alertmanager
    on hosts with the role "monitor", and with exporters = ["node"] its exporter on all hosts."""

    exporters: tuple[Exporter, ...] = default(("node",))
    """What else tells of the hosts: "node", "nvidia", "haproxy", "blackbox"."""

    runbook_url: ServiceUrl | None = None
    """The page that alerts link to, each with its own name behind a "#"; by default ours."""

    prometheus: PrometheusServer | None = None
    """Prometheus: asked by the analysis, told of rules by monitor.push."""

    alertmanager: AlertmanagerServer | None = None
    """Alertmanager: who is told of alerts."""

    grafana: GrafanaServer | None = None
    """Grafana: dashboards, and a mark for every deploy."""

    slo: Slo = Field(default_factory=Slo)
    """What the service owes its users: availability, latency and their window."""

    def metrics_port_beside(self, port: int) -> int:
        """Return the port for Prometheus in front of the slots of a service with this port."""
        above = port + _METRICS_DISTANCE
        beside = above if above <= _HIGHEST_PORT else port - _METRICS_DISTANCE
        return self.metrics_port or beside
