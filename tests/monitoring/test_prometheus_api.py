"""Asking Prometheus: a real one, and servers that are down, slow, foreign or guarded."""

from __future__ import annotations

import base64
import json
import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aideploy.errors import SettingsError
from aideploy.monitoring.prometheus_api import BadQuery, Prometheus
from aideploy.monitoring.server import MonitoringUnavailable
from aideploy.settings.monitoring import PrometheusServer as Access
from tests.prometheus import PrometheusServer
from tests.waiting import eventually
from tests.web_server import Answer, Asked, WebServer, answering, free_port


def asking(url: str, secrets: dict[str, str] | None = None, **access: str) -> Prometheus:
    return Prometheus(
        Access.model_validate({"url": url, "timeout": "2s", **access}), secrets or {}, Path()
    )


def test_the_series_of_now(prometheus: PrometheusServer) -> None:
    with asking(prometheus.url) as server:
        assert eventually(lambda: bool(server.query('up{app="itself"} == 1')))
        [found] = server.query('up{app="itself"}')
    assert found.labels["app"] == "itself"
    assert found.value == 1
    assert abs(found.at - datetime.now(UTC)) < timedelta(seconds=30)


def test_a_scalar_is_one_series_without_labels(prometheus: PrometheusServer) -> None:
    with asking(prometheus.url) as server:
        [found] = server.query("scalar(vector(2)) * 3")
    assert (found.value, found.labels) == (6, {})


def test_what_is_no_number_comes_as_it_is(prometheus: PrometheusServer) -> None:
    with asking(prometheus.url) as server:
        [nothing] = server.query("vector(0) / 0")
        [much] = server.query("vector(1) / 0")
        assert server.query("no_such_metric") == ()
    assert math.isnan(nothing.value)
    assert math.isinf(much.value)


def test_a_series_over_time(prometheus: PrometheusServer) -> None:
    now = datetime.now(UTC)
    with asking(prometheus.url) as server:
        [series] = server.query_range(
            "vector(5)", now - timedelta(seconds=20), now, timedelta(seconds=10)
        )
    assert [value for _, value in series.values] == [5, 5, 5]
    assert series.values[1][0] - series.values[0][0] == timedelta(seconds=10)


@pytest.mark.parametrize("wrong", ["sum(", "up{", "rate(up)", 'label_replace(up, "a")'])
def test_a_query_that_does_not_parse_is_the_askers_mistake(
    prometheus: PrometheusServer, wrong: str
) -> None:
    with asking(prometheus.url) as server, pytest.raises(BadQuery) as refused:
        server.query(wrong)
    assert wrong in refused.value.why


@pytest.mark.parametrize("no_number", ['"a text"', "up[5m]"])
def test_a_text_or_a_range_is_no_number(prometheus: PrometheusServer, no_number: str) -> None:
    with asking(prometheus.url) as server, pytest.raises(BadQuery, match="no numbers"):
        server.query(no_number)


def test_what_it_scrapes_and_what_is_loaded(prometheus: PrometheusServer) -> None:
    with asking(prometheus.url) as server:
        assert eventually(lambda: [one.health for one in server.targets()] == ["up"])
        assert server.alerts() == ()
        assert server.rules() == ()


def test_nobody_is_there() -> None:
    nobody = asking(f"http://127.0.0.1:{free_port()}")
    with nobody, pytest.raises(MonitoringUnavailable, match="cannot be asked") as lost:
        nobody.query("up")
    assert "refused" in lost.value.why


@contextmanager
def no_prometheus(status: int, body: bytes, seen: list[str]) -> Iterator[str]:
    """A server that is no Prometheus, or one behind a door."""

    def answer(asked: Asked) -> Answer:
        seen.append(asked.headers.get("Authorization", ""))
        return Answer(body, status)

    with WebServer(answering(answer)) as server:
        yield server.origin


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>a page</html>", "does not answer as Prometheus should"),
        (200, b'{"status":"success","data":{"resultType":"vector","result":[{"a":1}]}}', "should"),
        (200, b'{"status":"success","data":{"resultType":"vector","result":"x"}}', "should"),
        (401, b"no", "does not let us in"),
        (403, b"no", "does not let us in"),
        (503, b'{"status":"error","error":"starting up"}', "cannot answer"),
        (502, b"bad gateway", "does not answer as Prometheus should"),
    ],
)
def test_whoever_answers_otherwise_is_named(status: int, body: bytes, said: str) -> None:
    with (
        no_prometheus(status, body, []) as url,
        asking(url) as server,
        pytest.raises(MonitoringUnavailable, match=said),
    ):
        server.query("up")


@pytest.mark.parametrize("key", ["histogram", "histograms"])
def test_a_native_histogram_is_no_number(key: str) -> None:
    held = {"count": "3", "sum": "0.5", "buckets": [[0, "0.1", "0.2", "3"]]}
    value = [1.5, held] if key == "histogram" else [[1.5, held]]
    data = {"resultType": "vector", "result": [{"metric": {}, key: value}]}
    body = json.dumps({"status": "success", "data": data}).encode()
    now = datetime.now(UTC)
    with (
        no_prometheus(200, body, []) as url,
        asking(url) as server,
        pytest.raises(BadQuery, match="gives histograms, not numbers"),
    ):
        if key == "histogram":
            server.query("seconds")
        else:
            server.query_range("seconds", now, now, timedelta(seconds=30))


def test_a_server_that_never_answers_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        server = asking(url, timeout="200ms")
        with server, pytest.raises(MonitoringUnavailable) as lost:
            server.query("up")
    assert lost.value.why == "no answer in time"


def test_it_shows_who_it_is() -> None:
    body = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
    seen: list[str] = []
    with no_prometheus(200, body, seen) as url:
        secrets = {"PASSWORD": "open sesame", "TOKEN": "t0ken"}
        with asking(url, secrets, username="we", password="PASSWORD") as server:
            server.query("up")
        with asking(url, secrets, token="TOKEN") as server:
            server.query("up")
    basic = base64.b64encode(b"we:open sesame").decode()
    assert seen == [f"Basic {basic}", "Bearer t0ken"]


def test_a_token_that_no_header_can_hold() -> None:
    with pytest.raises(SettingsError, match="is no token") as refused:
        asking("http://127.0.0.1:1", {"TOKEN": "schlüssel ☃"}, token="TOKEN")
    assert "☃" not in str(refused.value)


def test_a_certificate_authority_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("not a certificate")
    with pytest.raises(SettingsError, match="cannot be used"):
        asking("https://127.0.0.1:1", ca=str(file))
    with pytest.raises(SettingsError, match="cannot be used"):
        asking("https://127.0.0.1:1", ca=str(tmp_path / "none.pem"))
