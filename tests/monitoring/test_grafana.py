"""Promises of Grafana's provisioning files: it can read them, and no secret is in them."""

from __future__ import annotations

import json
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from aideploy.errors import SettingsError, UsageError
from aideploy.monitoring.grafana import grafana_files
from aideploy.settings import Settings, load
from tests.hosts_toml import loaded
from tests.monitoring.scene import HOSTS

PLAIN = 'url = "http://mon1:9090"\n'
FOLDER = PurePosixPath("/etc/grafana/provisioning")


def settings(folder: Path, prometheus: str = PLAIN, hosts: str = HOSTS) -> Settings:
    return loaded(folder, hosts.replace(PLAIN, prometheus), "production")


def data_source(folder: Path, prometheus: str) -> dict[str, Any]:
    text = grafana_files(settings(folder, prometheus))[FOLDER / "datasources" / "aideploy.yaml"]
    [source] = yaml.safe_load(text)["datasources"]
    return dict(source)


def test_grafana_finds_the_dashboards_where_the_provider_says_they_are(tmp_path: Path) -> None:
    files = grafana_files(settings(tmp_path))
    [provider] = yaml.safe_load(files[FOLDER / "dashboards" / "aideploy-ranker.yaml"])["providers"]
    folder = PurePosixPath(provider["options"]["path"])
    found = {file.name: json.loads(text) for file, text in files.items() if file.parent == folder}
    assert set(found) == {
        f"{kind}.json" for kind in ("service", "model", "releases", "canary", "gpus")
    }
    assert {each["tags"][1] for each in found.values()} == {"app:ranker"}


def test_the_data_source_is_the_one_that_the_dashboards_take_at_first(tmp_path: Path) -> None:
    files = grafana_files(settings(tmp_path))
    source = data_source(tmp_path, PLAIN)
    dashboard = json.loads(files[FOLDER / "dashboards" / "aideploy-ranker" / "service.json"])
    [variable] = [each for each in dashboard["templating"]["list"] if each["type"] == "datasource"]
    assert variable["current"]["value"] == source["uid"]
    assert source["url"] == "http://mon1:9090"


def test_environments_of_an_app_share_their_dashboards(tmp_path: Path) -> None:
    staging = '[environments.staging.hosts.s1]\naddress = "s1"\n'
    roles = 'roles = ["train", "serve", "monitor"]\n'
    (tmp_path / "hosts.toml").write_text(HOSTS + staging + roles)
    both = [
        grafana_files(load(tmp_path / "hosts.toml", environment))
        for environment in ("production", "staging")
    ]
    assert both[0] == both[1]


def test_secrets_are_named_and_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_PASSWORD", "of-prometheus")
    guarded = PLAIN + 'username = "we$HOME \\"us\\""\npassword = "PROMETHEUS_PASSWORD"\n'
    source = data_source(tmp_path, guarded)
    # Grafana makes "$$" one dollar.
    assert source["basicAuthUser"] == 'we$$HOME "us"'
    assert source["secureJsonData"] == {"basicAuthPassword": "${PROMETHEUS_PASSWORD}"}
    assert "of-prometheus" not in str(grafana_files(settings(tmp_path, guarded)))

    by_token = data_source(tmp_path, PLAIN + 'token = "PROMETHEUS_TOKEN"\n')
    assert by_token["secureJsonData"] == {"httpHeaderValue1": "Bearer ${PROMETHEUS_TOKEN}"}
    assert by_token["jsonData"]["httpHeaderName1"] == "Authorization"


def test_a_certificate_authority_of_ones_own_goes_along_as_text(tmp_path: Path) -> None:
    pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    (tmp_path / "ca.pem").write_text(pem)
    source = data_source(tmp_path, 'url = "https://mon1:9090"\nca = "ca.pem"\n')
    assert source["jsonData"]["tlsAuthWithCACert"] is True
    assert source["secureJsonData"] == {"tlsCACert": pem}


def test_a_certificate_authority_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ca\.pem cannot be read"):
        grafana_files(settings(tmp_path, 'url = "https://mon1:9090"\nca = "ca.pem"\n'))


def test_where_prometheus_is_not_named_theirs_is_taken(tmp_path: Path) -> None:
    hosts = HOSTS.replace(f"[monitoring.prometheus]\n{PLAIN}", "")
    assert not any(
        "datasources" in str(file) for file in grafana_files(settings(tmp_path, hosts=hosts))
    )


def test_without_grafana_there_is_nothing_and_nothing_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_sdk(monkeypatch)
    hosts = HOSTS.replace('[monitoring.grafana]\nurl = "http://mon1:3000"\n', "")
    assert grafana_files(settings(tmp_path, hosts=hosts)) == {}


def test_without_the_sdk_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_sdk(monkeypatch)
    with pytest.raises(UsageError) as caught:
        grafana_files(settings(tmp_path))
    assert "pip install 'aideploy[grafana]'" in caught.value.next_step


def test_ones_own_template_wins_and_a_broken_one_is_named(tmp_path: Path) -> None:
    own = tmp_path / "templates" / "grafana" / "dashboards.yaml.j2"
    own.parent.mkdir(parents=True)
    own.write_text("# mine\napiVersion: 1\nproviders: []\n")
    files = grafana_files(settings(tmp_path))
    assert files[FOLDER / "dashboards" / "aideploy-ranker.yaml"].startswith("# mine")
    own.write_text("{{ no_such_thing }}\n")
    with pytest.raises(SettingsError, match="a template cannot be rendered") as caught:
        grafana_files(settings(tmp_path))
    assert "templates/grafana/dashboards.yaml.j2:1" in caught.value.why


def test_the_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    assert grafana_files(settings(tmp_path)) == grafana_files(settings(tmp_path))


def without_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide Grafana's SDK as if it had not been installed."""
    for name in [name for name in sys.modules if name.startswith("grafana_foundation_sdk")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("aideploy.monitoring.grafana.find_spec", lambda name: None)
