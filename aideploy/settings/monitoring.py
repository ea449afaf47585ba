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
    Number,
    Port,
    Timeout,
    UrlPath,
    VariableName,
    Whole,
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


_STRING = r'"(?:[^"\\$\x00-\x1f\x7f]|\\[\\"])*"'
_MATCHER = rf"[A-Za-z_][A-Za-z0-9_]*\s*(?:=~|!~|!=|=)\s*{_STRING}"
# One metric and what its labels have to be: whatever it is put into stays one expression.
Series = Annotated[
    str,
    Matches(
        rf"[A-Za-z_:][A-Za-z0-9_:]*(?:\{{\s*(?:{_MATCHER}\s*(?:,\s*{_MATCHER}\s*)*)?\}})?",
        "a metric, with matchers of its labels or without, as 'requests_total{code=~\"5..\"}'",
    ),
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

    queue: Annotated[Whole, Field(ge=1)] = 32
    """How many requests may wait on a host for ten minutes, or be at work in a service that counts
    no queue."""

    model_age: Timeout | None = None
    """How old the live model may grow, as "14d"; best two periods of its training."""

    drift: Annotated[Number, Field(gt=0)] = 0.2
    """The drift of a feature from which on somebody is told, as its PSI; other methods have their
    limit where a shift of the same size puts them."""


class Queries(Table):
    """What metrics are called where no preset knows them: one metric each, with the matchers that
    are needed, as 'http_requests_total{handler="/rank"}'."""

    requests: Series | None = None
    """The counter of requests."""

    errors: Series | None = None
    """The counter of those that failed by the service's fault."""

    latency_bucket: Series | None = None
    """The histogram of the time that they took; its name ends with "_bucket"."""

    latency_sum: Series | None = None
    """The counter of that time in all, where there is no histogram."""

    latency_count: Series | None = None
    """The counter of what that time was taken by."""

    latency_unit: Timeout | None = None
    """What these times are counted in, as "1ms"."""

    waiting: Series | None = None
    """How many requests wait, or are at work in a service that counts no queue."""

    prediction_bucket: Series | None = None
    """The histogram of what the model predicts; its name ends with "_bucket"."""


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
    on hosts with the role "monitor", with exporters = ["blackbox"] its exporter there, and with
    ["node"] its exporter on all hosts."""

    exporters: tuple[Exporter, ...] = default(("node",))
    """What else tells of the hosts: "node", "nvidia", "haproxy", "blackbox"."""

    runbook_url: ServiceUrl | None = None
    """The page that alerts link to, each with its own name in small letters behind a "#"; without
    it they name the section of docs/runbook.md."""

    prometheus: PrometheusServer | None = None
    """Prometheus: asked by the analysis, told of rules by monitor.push."""

    alertmanager: AlertmanagerServer | None = None
    """Alertmanager: who is told of alerts."""

    grafana: GrafanaServer | None = None
    """Grafana: dashboards, and a mark for every deploy."""

    slo: Slo = Field(default_factory=Slo)
    """What the service owes its users: availability, latency and their window."""

    queries: Queries = Field(default_factory=Queries)
    """What metrics are called where no preset knows them."""

    def metrics_port_beside(self, port: int) -> int:
        """Return the port for Prometheus in front of the slots of a service with this port."""
        above = port + _METRICS_DISTANCE
        beside = above if above <= _HIGHEST_PORT else port - _METRICS_DISTANCE
        return self.metrics_port or beside
