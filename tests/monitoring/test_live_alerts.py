"""The rules in a real Prometheus that scrapes all series of the cases at once."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from aideploy.monitoring.rules import rule_files
from tests.hosts_toml import loaded
from tests.monitoring.test_alerts import CASES, HOSTS
from tests.prometheus import PrometheusServer, exposed

FIRST = re.compile(r"-?[\d.]+")
SECONDS = 40.0


def exposition() -> str:
    """Each series of the cases once, with the first value that a case gives it."""
    series: dict[str, str] = {}
    for file in CASES:
        for case in yaml.safe_load(file.read_text())["tests"]:
            for each in case["input_series"]:
                first = FIRST.match(each["values"])
                assert first
                series.setdefault(each["series"], first[0])
    return "".join(f"{name} {value}\n" for name, value in series.items())


@pytest.fixture(scope="module")
def metrics() -> Iterator[str]:
    """The address where they are shown."""
    with exposed(exposition()) as server:
        yield server.place


@pytest.fixture(scope="module")
def asked(metrics: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What Prometheus says of its rules, when all have been evaluated with what was scraped."""
    folder = tmp_path_factory.mktemp("live")
    for name, text in rule_files(loaded(folder, HOSTS, "production")).items():
        # The long windows are recorded every two minutes: too late for this test.
        (folder / name).write_text(text.replace("interval: 2m", "interval: 1s"))
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "aideploy-*.yml")],
        "scrape_configs": [
            {
                "job_name": "cases",
                "honor_labels": True,
                "static_configs": [{"targets": [metrics]}],
            }
        ],
    }
    with PrometheusServer(folder / "server", json.dumps(configuration)) as server:
        end = time.monotonic() + SECONDS
        while True:
            groups = httpx.get(f"{server.url}/api/v1/rules").json()["data"]["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            fires = any(rule.get("state") == "firing" for rule in rules)
            if fires and all(rule["health"] != "unknown" for rule in rules):
                # Once more, with at least two scrapes behind each rate.
                time.sleep(3)
                return httpx.get(f"{server.url}/api/v1/rules").json()["data"]["groups"]
            assert time.monotonic() < end, (folder / "server" / "log").read_text()[-2000:]
            time.sleep(0.5)


def test_no_rule_fails_however_many_series_there_are(asked: Any) -> None:
    failed = {
        rule["name"]: rule["lastError"]
        for group in asked
        for rule in group["rules"]
        if rule["health"] != "ok"
    }
    assert failed == {}


def test_what_alerts_say_has_no_hole(asked: Any) -> None:
    alerts = [
        alert
        for group in asked
        for rule in group["rules"]
        for alert in rule.get("alerts", ())
        if alert["state"] in ("pending", "firing")
    ]
    assert len({alert["labels"]["alertname"] for alert in alerts}) > 15
    for alert in alerts:
        for said in alert["annotations"].values():
            assert said.strip()
            assert not re.search(r"<error|<no value>|\{\{|  |\( ?\)| \.|NaN", said), said


def test_what_is_wrong_fires_with_words_that_a_person_understands(asked: Any) -> None:
    said = {
        alert["labels"]["alertname"]: alert["annotations"]
        for group in asked
        for rule in group["rules"]
        for alert in rule.get("alerts", ())
        if alert["state"] == "firing"
    }
    assert said["TrainingFailed"]["summary"] == (
        "The last training of ranker (production) failed on a"
    )
    assert said["DeployFailed"]["description"] == (
        "Hosts on which it was bad or was taken back: 1. They serve the release before it."
    )
    assert "memory" in said["GpuMemoryErrors"]["summary"]
