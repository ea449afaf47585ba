"""Prometheus, asked over its HTTP API: queries, targets, alerts, rules.

The live analysis, `fab diagnose` and the tests read through it. It knows HTTP and the shape of the
answers, and nothing of what is asked. Whatever goes wrong is one of two errors: the server cannot
be asked, or the query is wrong.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from aideploy.errors import UsageError
from aideploy.monitoring.server import MonitoringUnavailable, Server, shortened
from aideploy.settings.secrets import find

if TYPE_CHECKING:
    from aideploy.settings import Settings

T = TypeVar("T")

_ATTEMPTS = 2
_PAUSE_SECONDS = 0.5


class BadQuery(UsageError):
    """Prometheus does not understand the query."""


@dataclass(frozen=True)
class Sample:
    """One series at one moment.

    Args:
        labels: of the series, `__name__` among them where it has one.
        value: may be NaN or infinite.
        at: the moment.
    """

    labels: Mapping[str, str]
    value: float
    at: datetime


@dataclass(frozen=True)
class Series:
    """One series over time.

    Args:
        labels: of the series.
        values: moment and value, in order; a value may be NaN or infinite.
    """

    labels: Mapping[str, str]
    values: tuple[tuple[datetime, float], ...]


class ScrapeTarget(BaseModel):
    """A target that Prometheus scrapes. `health` is "up", "down" or "unknown"."""

    labels: dict[str, str]
    scrapeUrl: str  # as Prometheus calls it
    lastError: str = ""
    health: str


class Alert(BaseModel):
    """An alert that is "pending" or "firing"."""

    labels: dict[str, str]
    annotations: dict[str, str] = {}
    state: str


class Rule(BaseModel):
    """A loaded rule. `type` is "alerting" or "recording", `health` "ok", "err" or "unknown"."""

    name: str
    query: str
    type: str
    health: str = "unknown"
    lastError: str = ""


class RuleGroup(BaseModel):
    """A group of loaded rules and the file that it is from."""

    name: str
    file: str
    rules: list[Rule]


class _Answer(BaseModel):
    status: str
    data: Any = None
    errorType: str = ""
    error: str = ""


_SAMPLE = tuple[float, str]
_VECTOR = TypeAdapter(list[dict[str, Any]])
_TARGETS = TypeAdapter(tuple[ScrapeTarget, ...])
_ALERTS = TypeAdapter(tuple[Alert, ...])
_GROUPS = TypeAdapter(tuple[RuleGroup, ...])


class Prometheus(Server):
    """One Prometheus server; see `Server`."""

    name = "Prometheus"
    cannot_be = "asked"

    def query(self, promql: str, at: datetime | None = None) -> tuple[Sample, ...]:
        """Return every series of an instant query.

        Args:
            promql: an expression that is a vector or a scalar.
            at: the moment; None for now.

        Raises:
            BadQuery: it does not parse, or is a range or a text.
            MonitoringUnavailable: no answer that can be used.
        """
        parameters = {"query": promql}
        if at is not None:
            parameters["time"] = f"{at.timestamp():.3f}"
        data = self._ask("query", parameters, what=promql)
        kind, result = data.get("resultType"), data.get("result")
        try:
            if kind == "scalar":
                moment, text = TypeAdapter(_SAMPLE).validate_python(result)
                return (Sample({}, float(text), _moment(moment)),)
            if kind == "vector":
                return tuple(_sample(one) for one in _VECTOR.validate_python(result))
        except (KeyError, ValueError) as error:
            raise self._strange(str(error)) from error
        raise BadQuery(
            "the query gives no numbers for one moment",
            why=f"it gives a {kind}: {shortened(promql)}",
            next_step="write an expression that gives a vector or a scalar",
        )

    def query_range(
        self, promql: str, begin: datetime, end: datetime, step: timedelta
    ) -> tuple[Series, ...]:
        """Return every series of an expression over time, one value each `step`.

        Raises:
            BadQuery: it does not parse, or is more than Prometheus gives at once.
            MonitoringUnavailable: no answer that can be used.
        """
        parameters = {
            "query": promql,
            "start": f"{begin.timestamp():.3f}",
            "end": f"{end.timestamp():.3f}",
            "step": f"{step.total_seconds():.3f}",
        }
        data = self._ask("query_range", parameters, what=promql)
        try:
            return tuple(_series(one) for one in _VECTOR.validate_python(data.get("result")))
        except (KeyError, ValueError) as error:
            raise self._strange(str(error)) from error

    def targets(self) -> tuple[ScrapeTarget, ...]:
        """Return what it scrapes now."""
        data = self._ask("targets", {"state": "active"}, what="its targets")
        return self._read(_TARGETS, data.get("activeTargets"))

    def alerts(self) -> tuple[Alert, ...]:
        """Return the alerts that are pending or firing."""
        return self._read(_ALERTS, self._ask("alerts", {}, what="its alerts").get("alerts"))

    def rules(self) -> tuple[RuleGroup, ...]:
        """Return the rules that are loaded."""
        return self._read(_GROUPS, self._ask("rules", {}, what="its rules").get("groups"))

    def _ask(self, what_api: str, parameters: Mapping[str, str], *, what: str) -> dict[str, Any]:
        """Return `data` of an answer; asked once more where the line failed."""
        for attempt in Retrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_fixed(_PAUSE_SECONDS),
            retry=retry_if_exception_type(MonitoringUnavailable),
            reraise=True,
        ):
            with attempt:
                answer = self._answered(what_api, parameters, what)
        return answer

    def _answered(self, what_api: str, parameters: Mapping[str, str], what: str) -> dict[str, Any]:
        # By POST: a query may be longer than an address may be.
        answer = (
            self._request("POST", f"api/v1/{what_api}", data=dict(parameters))
            if what_api.startswith("query")
            else self._request("GET", f"api/v1/{what_api}", params=dict(parameters))
        )
        if answer.status_code in (401, 403):
            raise MonitoringUnavailable(
                f"Prometheus at {self.address} does not let us in ({answer.status_code})",
                next_step="check username, password and token in [monitoring.prometheus]",
            )
        try:
            said = _Answer.model_validate_json(answer.content)
        except ValidationError:
            raise self._strange(
                f"it answered {answer.status_code} {answer.reason_phrase}"
            ) from None
        if said.status == "success" and isinstance(said.data, dict):
            return said.data
        # 400: it does not parse. 422: it cannot be computed.
        if answer.status_code in (400, 422):
            raise BadQuery(
                "Prometheus does not understand the query",
                why=f"{said.error}: {shortened(what)}",
                next_step="try it on Prometheus' own page first",
            )
        raise MonitoringUnavailable(
            f"Prometheus at {self.address} cannot answer",
            why=said.error or f"it answered {answer.status_code}",
            next_step="look at its log; then run the same command again",
        )

    def _read(self, shape: TypeAdapter[T], value: object) -> T:
        try:
            return shape.validate_python(value)
        except ValidationError as error:
            raise self._strange(f"{error.error_count()} values are not as documented") from error


def prometheus_of(settings: Settings, environ: Mapping[str, str]) -> Prometheus:
    """Return the Prometheus of these settings.

    Args:
        settings: they have a [monitoring.prometheus].
        environ: the environment variables of this machine.

    Raises:
        SettingsError: a secret that it needs has no value, or its `ca` cannot be used.
        UsageError: there is no [monitoring.prometheus].
    """
    access = settings.monitoring.prometheus
    if access is None:
        raise UsageError(
            "hosts.toml does not say where Prometheus is",
            next_step='write its address: [monitoring.prometheus] url = "http://…:9090"',
        )
    base_dir = settings.path.parent
    return Prometheus(access, find(access.secrets, settings.serve, environ, base_dir), base_dir)


def _sample(one: Mapping[str, Any]) -> Sample:
    moment, text = TypeAdapter(_SAMPLE).validate_python(_numbers(one, "value"))
    return Sample(_labels(one), float(text), _moment(moment))


def _series(one: Mapping[str, Any]) -> Series:
    values = TypeAdapter(list[_SAMPLE]).validate_python(_numbers(one, "values"))
    return Series(_labels(one), tuple((_moment(at), float(text)) for at, text in values))


def _numbers(one: Mapping[str, Any], key: str) -> Any:
    """Return what a series holds under this key.

    Raises:
        BadQuery: they are native histograms.
    """
    if key not in one and {"histogram", "histograms"} & one.keys():
        raise BadQuery(
            "the query gives histograms, not numbers",
            why="the metric is a native histogram",
            next_step="take a number of it: histogram_quantile(…), histogram_count(…)",
        )
    return one[key]


def _labels(one: Mapping[str, Any]) -> dict[str, str]:
    return TypeAdapter(dict[str, str]).validate_python(one["metric"])


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
