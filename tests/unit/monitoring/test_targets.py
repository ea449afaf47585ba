"""The targets for Prometheus, read by Prometheus' own tools."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from aideploy.errors import SettingsError
from aideploy.monitoring.targets import exporter_targets, file_of, targets
from aideploy.settings import Settings, load
from aideploy.settings.monitoring import Exporter
from tests.hosts_toml import TRAINED_AND_SERVED, loaded
from tests.needed import need

HOSTS = f"""\
{TRAINED_AND_SERVED}
port = 9000
bind = "0.0.0.0"
strategy = "{{strategy}}"
[monitoring]
file_sd = "/etc/prometheus/targets"
exporters = ["node", "nvidia", "haproxy", "blackbox"]
[environments.production.hosts.trainer]
address = "trainer.example.com"
roles = ["train"]
gpus = 2
[environments.production.hosts.a]
address = "a.example.com"
labels = {{{{ zone = 'west "2" & <north>', app = "not this one" }}}}
[environments.production.hosts.b]
address = "2001:db8::7"
roles = ["serve", "monitor"]
"""


def settings_of(folder: Path, strategy: str = "recreate") -> Settings:
    return loaded(folder, HOSTS.format(strategy=strategy), "production")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


def labels_of(text: str) -> list[dict[str, str]]:
    return [entry["labels"] for entry in json.loads(text)]


def test_every_host_that_serves_is_a_target_with_the_labels_that_say_what_it_is(
    settings: Settings,
) -> None:
    west, south = json.loads(targets(settings, ["b"]))
    assert west == {
        "targets": ["a.example.com:9000"],
        "labels": {
            "app": "ranker", "env": "production", "host": "a", "roles": "serve,train",
            "zone": 'west "2" & <north>', "track": "stable", "slot": "live",
            "__metrics_path__": "/metrics",
        },
    }  # fmt: skip
    assert south["targets"] == ["[2001:db8::7]:9000"]
    assert south["labels"]["track"] == "canary"


def test_with_two_slots_each_is_asked_by_its_name(tmp_path: Path) -> None:
    entries = json.loads(targets(settings_of(tmp_path, "blue_green")))
    asked = [
        (e["labels"]["slot"], e["targets"][0], e["labels"]["__metrics_path__"]) for e in entries
    ]
    assert asked == [
        ("blue", "a.example.com:29000", "/blue/metrics"),
        ("green", "a.example.com:29000", "/green/metrics"),
        ("blue", "[2001:db8::7]:29000", "/blue/metrics"),
        ("green", "[2001:db8::7]:29000", "/green/metrics"),
    ]


def test_a_host_that_was_not_chosen_stays_a_target(settings: Settings) -> None:
    assert targets(settings.only(["b"])) == targets(settings)
    assert labels_of(targets(settings.only(["a", "b"]).only(["b"]))) == labels_of(targets(settings))


def test_the_exporters_of_a_host_say_nothing_of_an_app_that_may_share_it(
    settings: Settings,
) -> None:
    nodes = labels_of(exporter_targets(settings, Exporter.NODE))
    assert [labels["host"] for labels in nodes] == ["trainer", "a", "b"]
    assert all("env" not in labels for labels in nodes)
    [gpus] = json.loads(exporter_targets(settings, Exporter.NVIDIA))
    assert gpus["targets"] == ["trainer.example.com:9835"]


def test_haproxy_is_asked_where_there_is_one(tmp_path: Path, settings: Settings) -> None:
    assert json.loads(exporter_targets(settings, Exporter.HAPROXY)) == []
    entries = json.loads(exporter_targets(settings_of(tmp_path, "blue_green"), Exporter.HAPROXY))
    assert {entry["labels"]["__metrics_path__"] for entry in entries} == {"/haproxy"}


def test_what_listens_on_loopback_is_not_probed_from_outside(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    probes = labels_of(exporter_targets(settings, Exporter.BLACKBOX))
    assert [labels["__param_target"] for labels in probes] == [
        "http://a.example.com:9000/healthz",
        "http://[2001:db8::7]:9000/healthz",
    ]
    file = tmp_path / "hosts.toml"
    file.write_text(file.read_text().replace('bind = "0.0.0.0"', ""))
    assert exporter_targets(load(file, None), Exporter.BLACKBOX).strip() == "[]"


def test_an_exporter_that_is_not_wanted_has_no_targets(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    file = tmp_path / "hosts.toml"
    file.write_text(file.read_text().replace("exporters = [", "exporters = [] # ["))
    assert json.loads(exporter_targets(settings, Exporter.NODE))
    for exporter in Exporter:
        assert json.loads(exporter_targets(load(file, None), exporter)) == []


def test_a_port_of_the_slots_is_none_for_their_metrics(tmp_path: Path) -> None:
    settings_of(tmp_path, "blue_green")
    file = tmp_path / "hosts.toml"
    file.write_text(file.read_text().replace("[monitoring]", "[monitoring]\nmetrics_port = 19001"))
    with pytest.raises(SettingsError, match="mistake") as caught:
        load(file, None)
    assert "19001 is a port of the service" in caught.value.why


def test_prometheus_discovers_these_targets(settings: Settings, tmp_path: Path) -> None:
    promtool = need("promtool")
    (tmp_path / "ranker.json").write_text(targets(settings))
    (tmp_path / "prometheus.yml").write_text(
        "scrape_configs:\n- job_name: aideploy\n  file_sd_configs:\n  - files: ['*.json']\n"
    )
    ran = subprocess.run(
        [promtool, "check", "service-discovery", "--timeout=3s", "prometheus.yml", "aideploy"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    found = [entry["labels"] for entry in json.loads(ran.stdout)]
    assert {labels["instance"] for labels in found} == {"a.example.com:9000", "[2001:db8::7]:9000"}
    assert {labels["app"] for labels in found} == {"ranker"}


def test_each_kind_of_target_has_a_folder_of_its_own(settings: Settings) -> None:
    assert str(file_of(settings)) == "/etc/prometheus/targets/ranker.production.json"
    assert str(file_of(settings, "node")) == "/etc/prometheus/targets/node/ranker.production.json"
