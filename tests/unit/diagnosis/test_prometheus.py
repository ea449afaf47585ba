"""What a real Prometheus knows of a host becomes a cause; one that is down becomes a note."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from aideploy.commands.diagnose import of_monitoring
from aideploy.diagnosis.cause import Cause, Kind
from aideploy.settings import load
from tests.hosts_toml import SERVED, loaded
from tests.prometheus import PrometheusServer
from tests.web_server import free_port

HOSTS = f"""\
{SERVED}
[monitoring.prometheus]
url = "{{url}}"
timeout = "2s"
[environments.production.hosts.web1]
address = "web1"
"""
LABELS = {"app": "ranker", "env": "production", "host": "web1"}


def asked(folder: Path, url: str) -> tuple[tuple[Cause, ...], list[str]]:
    notes: list[str] = []
    return of_monitoring(loaded(folder, HOSTS.format(url=url)), notes), notes


def test_a_target_that_is_down_and_an_alert_that_fires_are_named(tmp_path: Path) -> None:
    rule = {
        "alert": "RankerDown",
        "expr": 'up{app="ranker"} == 0',
        "annotations": {"summary": "ranker does not answer"},
    }
    rules = tmp_path / "rules.yml"
    rules.write_text(json.dumps({"groups": [{"name": "g", "rules": [rule]}]}))
    dead = f"127.0.0.1:{free_port()}"
    scrape = {"job_name": "service", "static_configs": [{"targets": [dead], "labels": LABELS}]}
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [scrape],
    }
    with PrometheusServer(tmp_path / "server", json.dumps(configuration)) as server:
        end = time.monotonic() + 30
        while len(asked(tmp_path, server.url)[0]) < 2 and time.monotonic() < end:
            time.sleep(0.5)
        causes, notes = asked(tmp_path, server.url)

    assert [(one.host, one.kind) for one in causes] == [
        ("web1", Kind.ALERT),
        ("web1", Kind.TARGET_DOWN),
    ]
    assert causes[0].evidence == ("ranker does not answer",)
    assert dead in causes[1].what
    assert notes == []


def test_one_that_cannot_be_asked_is_a_note_and_no_cause(tmp_path: Path) -> None:
    causes, notes = asked(tmp_path, f"http://127.0.0.1:{free_port()}")
    assert causes == ()
    assert notes[0].startswith("Prometheus was not asked: ")


def test_a_password_without_a_value_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_TOKEN", raising=False)
    file = tmp_path / "hosts.toml"
    text = HOSTS.format(url="http://127.0.0.1:1").replace(
        "timeout =", 'token = "NO_SUCH_TOKEN"\ntimeout ='
    )
    file.write_text(text)
    notes: list[str] = []
    assert of_monitoring(load(file, None), notes) == ()
    assert "one secret has no value" in notes[0]
