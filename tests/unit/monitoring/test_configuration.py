"""What would be pushed to a monitor host, and what a foreign Prometheus lacks to read it."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from aideploy.commands.monitor import render
from aideploy.errors import HostNotReady, SettingsError, UsageError
from aideploy.monitoring.configuration import Kind, MonitorFile, files, needed_secrets
from aideploy.monitoring.joining import lacking
from aideploy.settings import Settings, load
from tests.hosts_toml import SERVED, loaded
from tests.needed import need

HOSTS = f"""\
{SERVED}
bind = "0.0.0.0"
[monitoring]
file_sd = "/etc/prometheus/file_sd/aideploy"
exporters = ["node", "nvidia", "haproxy", "blackbox"]
[monitoring.prometheus]
url = "http://mon:9090"
[monitoring.alertmanager]
url = "http://mon:9093"
webhook = "HOOK"
slack = "SLACK"
slack_channel = "#ranker"
[environments.production.hosts.mon]
address = "mon"
roles = ["monitor"]
[environments.production.hosts.a]
address = "a.example.com"
roles = ["serve"]
"""
SECRETS = {
    "HOOK": 'https://pager.example/it\'s?key="s3cret"&x={{ y }}',
    "SLACK": "https://slack.example/x",
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return loaded(tmp_path, HOSTS)


def by_kind(settings: Settings, kind: Kind) -> list[MonitorFile]:
    return [file for file in files(settings, SECRETS) if file.kind is kind]


def test_all_that_is_rendered_is_accepted_by_prometheus(settings: Settings, tmp_path: Path) -> None:
    need("promtool")
    # As it will lie there, but below a folder of ours.
    for path in render(settings, tmp_path / "out"):
        path.write_text(path.read_text().replace('"/etc/', f'"{tmp_path}/out/etc/'))
    main = tmp_path / "out/etc/prometheus/prometheus.yml"
    ran = subprocess.run(
        ["promtool", "check", "config", str(main)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "1 rule files found" in ran.stdout
    assert "does not exist" not in ran.stdout + ran.stderr


def test_two_apps_push_the_same_prometheus_yml(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "hosts.toml"
    file.write_text(
        HOSTS.replace('"ranker"', '"other"').replace(
            '["node", "nvidia", "haproxy", "blackbox"]', "[]"
        )
    )
    [ours], [theirs] = (
        by_kind(settings, Kind.PROMETHEUS),
        by_kind(load(file, None), Kind.PROMETHEUS),
    )
    assert ours.content == theirs.content
    paths = {one.path for one in files(settings, SECRETS)}
    shared = paths & {one.path for one in files(load(file, None), SECRETS)}
    assert {path.name for path in shared} == {"prometheus.yml", "alertmanager.yml"}


def test_secrets_of_any_letters_reach_alertmanager_and_nobody_else(
    settings: Settings, tmp_path: Path
) -> None:
    assert needed_secrets(settings) == ("HOOK", "SLACK")
    [file] = by_kind(settings, Kind.ALERTMANAGER)
    assert (file.mode, file.is_secret) == (0o640, True)
    [receiver] = yaml.safe_load(file.content)["receivers"]
    assert receiver["webhook_configs"][0]["url"] == SECRETS["HOOK"]
    assert receiver["slack_configs"][0]["api_url"] == SECRETS["SLACK"]
    assert receiver["slack_configs"][0]["channel"] == "#ranker"
    assert "{{ range .Alerts }}" in receiver["slack_configs"][0]["text"]
    assert "s3cret" not in repr(file)
    written = [path.read_text() for path in render(settings, tmp_path / "out")]
    assert not [text for text in written if "s3cret" in text]


def test_who_tells_nobody_leaves_alertmanager_alone(tmp_path: Path) -> None:
    text = HOSTS.replace('webhook = "HOOK"', "").replace('slack = "SLACK"', "")
    assert by_kind(loaded(tmp_path, text), Kind.ALERTMANAGER) == []


@pytest.mark.parametrize(
    ("left_out", "missing"),
    [
        ('[monitoring.prometheus]\nurl = "http://mon:9090"', "where Prometheus is"),
        ('file_sd = "/etc/prometheus/file_sd/aideploy"', "where the targets for Prometheus go"),
    ],
)
def test_what_is_missing_in_the_settings_is_said(
    tmp_path: Path, left_out: str, missing: str
) -> None:
    with pytest.raises(UsageError, match=missing):
        files(loaded(tmp_path, HOSTS.replace(left_out, "")), SECRETS)


def test_a_template_of_the_user_wins_and_a_broken_one_is_named(
    settings: Settings, tmp_path: Path
) -> None:
    own = tmp_path / "templates/prometheus/prometheus.yml.j2"
    own.parent.mkdir(parents=True)
    own.write_text("# {{ managed }}\n# mine\n")
    assert by_kind(settings, Kind.PROMETHEUS)[0].content.endswith("# mine\n")
    own.write_text("{{ nothing_of_that_name }}")
    with pytest.raises(SettingsError) as caught:
        files(settings, SECRETS)
    assert "templates/prometheus/prometheus.yml.j2:1" in caught.value.why


def test_a_webhook_that_is_neither_a_url_nor_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        loaded(tmp_path, HOSTS.replace('"HOOK"', '"ftp://pager"'))


# -- a Prometheus that others look after -----------------------------------------------------------


def missing_in(settings: Settings, foreign: str) -> str:
    return lacking(settings, files(settings, SECRETS), foreign)


def test_what_is_to_be_added_to_a_foreign_prometheus_is_enough(settings: Settings) -> None:
    lines = missing_in(settings, "global:\n  scrape_interval: 30s\n")
    assert set(yaml.safe_load(lines)) == {"rule_files", "scrape_configs", "alerting"}
    assert missing_in(settings, lines) == ""
    [ours] = by_kind(settings, Kind.PROMETHEUS)
    assert missing_in(settings, ours.content) == ""


@pytest.mark.parametrize("pattern", ["rules/*.yml", "/etc/prometheus/rules/aideploy-*", "*/*.yml"])
def test_patterns_that_cover_our_files_are_understood(settings: Settings, pattern: str) -> None:
    lines = missing_in(settings, f"rule_files: ['{pattern}']\n")
    assert "rule_files" not in lines and "scrape_configs" in lines


@pytest.mark.parametrize("pattern", ["*.yml", "/srv/rules/*.yml", "rules/team-*.yml", ""])
def test_patterns_that_do_not_cover_our_files_are_told(settings: Settings, pattern: str) -> None:
    assert "rule_files" in missing_in(settings, f"rule_files: ['{pattern}']\n")


@pytest.mark.parametrize(
    "text", ["", "[]", "7", "rule_files: 5", "scrape_configs: [7, {file_sd_configs: {files: 1}}]"]
)
def test_a_strange_file_is_one_that_names_nothing_of_ours(settings: Settings, text: str) -> None:
    assert "rule_files" in missing_in(settings, text)


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\x00", "? [{}]\n: !!python/object:os.x {}"])
def test_what_is_no_yaml_is_an_error_of_ours(settings: Settings, text: str) -> None:
    with pytest.raises(HostNotReady, match="no YAML"):
        missing_in(settings, text)


# -- size ------------------------------------------------------------------------------------------


def test_a_thousand_hosts_are_one_file_of_each_kind_that_prometheus_accepts(
    tmp_path: Path,
) -> None:
    need("promtool")
    hosts = "".join(
        f'[environments.production.hosts.h{n}]\naddress = "h{n}.example.com"\nroles = ["serve"]\n'
        for n in range(1000)
    )
    settings = loaded(tmp_path, HOSTS + hosts)
    began = time.process_time()
    rendered = files(settings, SECRETS)
    # Not a promise about time, which benchmarks/ measure: work that grows with the square of the
    # hosts would take minutes.
    assert time.process_time() - began < 60
    sizes = {
        str(file.path.parent.name): len(json.loads(file.content))
        for file in rendered
        if file.kind is Kind.TARGETS
    }
    assert sizes == {"aideploy": 2002, "node": 1002, "nvidia": 0, "haproxy": 1001, "blackbox": 1001}
