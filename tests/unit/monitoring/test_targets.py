"""The targets file for Prometheus, read by Prometheus' own tools."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from aideploy.monitoring.targets import targets, targets_file
from aideploy.settings import Settings, load

HOSTS = """
[app]
name = "ranker"
repository = "/unused"
[train]
command = "python train.py"
[serve]
command = "serve"
port = 9000
[monitoring]
file_sd = "/etc/prometheus/targets"
[environments.production.hosts.trainer]
address = "trainer.example.com"
roles = ["train"]
[environments.production.hosts.a]
address = "a.example.com"
labels = { zone = 'west "2" & <north>', app = "not this one" }
[environments.production.hosts.b]
address = "2001:db8::7"
roles = ["serve", "monitor"]
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "hosts.toml").write_text(HOSTS)
    return load(tmp_path / "hosts.toml", "production")


def test_every_host_that_serves_is_a_target_with_the_labels_that_say_what_it_is(
    settings: Settings,
) -> None:
    west, south = json.loads(targets(settings))
    assert west == {
        "targets": ["a.example.com:9000"],
        "labels": {
            "app": "ranker", "env": "production", "host": "a", "roles": "serve,train",
            "zone": 'west "2" & <north>',
        },
    }  # fmt: skip
    assert south["targets"] == ["[2001:db8::7]:9000"]


def test_only_monitor_hosts_get_the_file(settings: Settings) -> None:
    trainer, west, south = settings.hosts
    assert targets_file(settings, west) == targets_file(settings, trainer) == ("", "")
    path, text = targets_file(settings, south)
    assert path == "/etc/prometheus/targets/ranker-production.json"
    assert text == targets(settings)


def test_prometheus_discovers_these_targets(settings: Settings, tmp_path: Path) -> None:
    if not shutil.which("promtool"):
        pytest.skip("no promtool here: apt-get install prometheus")
    (tmp_path / "ranker.json").write_text(targets(settings))
    (tmp_path / "prometheus.yml").write_text(
        "scrape_configs:\n- job_name: aideploy\n  file_sd_configs:\n  - files: ['*.json']\n"
    )
    ran = subprocess.run(
        ["promtool", "check", "service-discovery", "--timeout=3s", "prometheus.yml", "aideploy"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    found = [entry["labels"] for entry in json.loads(ran.stdout)]
    assert {labels["instance"] for labels in found} == {"a.example.com:9000", "[2001:db8::7]:9000"}
    assert {labels["app"] for labels in found} == {"ranker"}
