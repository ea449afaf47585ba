"""Which rules there are: those of what the app has, in windows that fit, from own templates."""

from __future__ import annotations

import re
import subprocess
from dataclasses import astuple
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from aideploy.errors import SettingsError
from aideploy.monitoring.rules import burns, promql_duration, rule_files
from aideploy.settings import Settings
from tests.hosts_toml import TRAINED_AND_SERVED, loaded
from tests.needed import need
from tests.prometheus import PrometheusServer

HOSTS = f"""\
{TRAINED_AND_SERVED}
[environments.production.hosts.a-1]
address = "a.example.com"
[environments.staging.hosts.b]
address = "b.example.com"
"""
EVERYTHING = """
[monitoring]
textfile = "/var/lib/prometheus/node-exporter"
exporters = ["node", "nvidia", "haproxy", "blackbox"]
runbook_url = "https://wiki.example/run"
[monitoring.slo]
model_age = "14d"
"""


def settings(
    folder: Path, monitoring: str = "", *, app: str = "ranker", env: str = "production"
) -> Settings:
    return loaded(folder, HOSTS.replace("ranker", app) + monitoring, env)


def text(told: Settings) -> str:
    (one,) = rule_files(told).values()
    return one


def groups(told: Settings) -> list[str]:
    return [group["name"] for group in yaml.safe_load(text(told))["groups"]]


def alert(told: Settings, name: str) -> Any:
    rules = (rule for group in yaml.safe_load(text(told))["groups"] for rule in group["rules"])
    return next(rule for rule in rules if rule.get("alert") == name)


def check(folder: Path, rules: str) -> None:
    (folder / "rules.yml").write_text(rules)
    subprocess.run(
        [need("promtool"), "check", "rules", "rules.yml"],
        cwd=folder,
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize(
    ("rollout", "skewed", "stuck"),
    [
        ("", "1h", "2h"),
        # Four batches of two hours and a half each.
        ('bake = "2h"\npause = "30m"\nbatch = 1\n', "630m", "11h"),
    ],
)
def test_a_rollout_that_is_meant_to_take_long_alerts_nobody(
    tmp_path: Path, rollout: str, skewed: str, stuck: str
) -> None:
    hosts = "".join(
        f'[environments.production.hosts.h{n}]\naddress = "h{n}"\nroles = ["serve"]\n'
        for n in range(3)
    )
    told = settings(tmp_path, f"{EVERYTHING}[rollout]\n{rollout}{hosts}")
    assert alert(told, "ReleaseSkew")["for"] == skewed
    assert alert(told, "DeployStuck")["for"] == stuck
    check(tmp_path, text(told))


@pytest.mark.parametrize(("schedule", "seconds"), [("15m", 86_400), ("7d", 14 * 86_400)])
def test_looking_for_drift_once_a_week_is_no_alert(
    tmp_path: Path, schedule: str, seconds: int
) -> None:
    log = '[serve]\nlinked = ["data/"]\n'
    drift = f'[drift]\nlog = "data/a.jsonl"\nschedule = "{schedule}"\n'
    served = HOSTS.replace("[serve]\n", log)
    told = loaded(tmp_path, served + EVERYTHING + drift, "production")
    assert alert(told, "DriftUnknown")["expr"].endswith(f" > {seconds}")
    check(tmp_path, text(told))


def test_nobody_is_alerted_about_what_nobody_measures(tmp_path: Path) -> None:
    few = settings(tmp_path, "[monitoring]\nexporters = []\n")
    assert groups(few) == [
        "ranker-production-signals",
        "ranker-production-short-windows",
        "ranker-production-long-windows",
        "ranker-production-service",
        "ranker-production-prometheus",
    ]
    assert "ModelStale" not in text(settings(tmp_path, EVERYTHING.replace("model_age", "#")))
    check(tmp_path, text(few))


def test_an_app_that_only_trains_has_no_rules_about_requests(tmp_path: Path) -> None:
    trains = HOSTS.replace('[serve]\ncommand = "serve"\n', "")
    trains = trains.replace('.com"', '.com"\nroles = ["train"]')
    told = loaded(tmp_path, trains + EVERYTHING, "production")
    assert "ranker-production-service" not in groups(told)
    check(tmp_path, text(told))


def test_units_that_no_systemd_runs_are_not_asked_for(tmp_path: Path) -> None:
    told = HOSTS.replace("[serve]", '[serve]\nmanager = "supervisor"')
    assert "SystemdUnit" not in text(loaded(tmp_path, told + EVERYTHING, "production"))


def test_several_apps_and_environments_live_in_one_prometheus(tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    for app in ("ranker", "ranker-2"):
        for env in ("production", "staging"):
            for name, content in rule_files(
                settings(tmp_path, EVERYTHING, app=app, env=env)
            ).items():
                assert name == f"aideploy-{app}.{env}.yml"
                (folder / name).write_text(content)
    configuration = f"global: {{evaluation_interval: 1s}}\nrule_files: ['{folder}/*.yml']\n"
    with PrometheusServer(tmp_path, configuration) as server:
        found = httpx.get(f"{server.url}/api/v1/rules").json()
    names = [group["name"] for group in found["data"]["groups"]]
    assert len(names) == len(set(names)) == 4 * len(groups(settings(tmp_path, EVERYTHING)))
    failed = [
        (rule["name"], rule["lastError"])
        for group in found["data"]["groups"]
        for rule in group["rules"]
        if rule["health"] == "err"
    ]
    assert failed == []


def test_alerts_lead_to_the_runbook_of_the_user(tmp_path: Path) -> None:
    annotations = alert(settings(tmp_path, EVERYTHING), "DiskFilling")["annotations"]
    assert annotations["runbook_url"] == "https://wiki.example/run#diskfilling"
    assert "runbook" not in annotations


@pytest.mark.parametrize("window", ["1d", "7d", "28d", "30d", "90d", "366d"])
def test_windows_are_in_proportion_and_never_shorter_than_a_few_scrapes(
    window: str, tmp_path: Path
) -> None:
    told = settings(tmp_path, f'{EVERYTHING}window = "{window}"\n')
    check(tmp_path, text(told))
    minutes = {"m": 1, "h": 60, "d": 1440}
    for burn in burns(told):
        longer, shorter = (
            int(each[:-1]) * minutes[each[-1]] for each in (burn.longer, burn.shorter)
        )
        assert shorter >= 2
        assert 11 < longer / shorter <= 12


def test_the_windows_of_a_month_are_those_of_the_book(tmp_path: Path) -> None:
    assert [astuple(burn) for burn in burns(settings(tmp_path))] == [
        ("1h", "5m", "0.0144", "0.856", "fast"),
        ("6h", "30m", "0.006", "0.94", "fast"),
        ("1d", "2h", "0.003", "0.97", "slow"),
        ("3d", "6h", "0.001", "0.99", "slow"),
    ]  # fmt: skip


@pytest.mark.parametrize("objective", ["50", "90", "99.9999", "0.5"])
def test_a_total_outage_burns_any_budget(objective: str, tmp_path: Path) -> None:
    slo = f"availability = {objective}\nlatency_objective = {objective}\n"
    told = settings(tmp_path, EVERYTHING + slo)
    for burn in burns(told):
        assert 0 < float(burn.errors) < 1
        assert 0 < float(burn.quantile) < 1
    check(tmp_path, text(told))


@pytest.mark.parametrize(
    ("seconds", "written"), [(1, "1m"), (61, "2m"), (3600, "1h"), (5400, "90m"), (172800, "2d")]
)
def test_a_duration_is_written_as_prometheus_reads_it(seconds: int, written: str) -> None:
    assert promql_duration(timedelta(seconds=seconds)) == written


def test_the_users_own_template_wins(tmp_path: Path) -> None:
    folder = tmp_path / "templates" / "prometheus" / "rules"
    folder.mkdir(parents=True)
    (folder / "blackbox.yml.j2").write_text(
        "  - name: {{ app }}-mine\n    rules:\n"
        '      - {alert: Mine, expr: \'probe_success{ {{- of_app -}} } == 0\'}\n'
    )  # fmt: skip
    told = settings(tmp_path, EVERYTHING)
    assert "ranker-mine" in groups(told)
    assert "ranker-production-blackbox" not in groups(told)
    assert alert(told, "Mine")["expr"] == 'probe_success{app="ranker",env="production"} == 0'
    check(tmp_path, text(told))


@pytest.mark.parametrize(
    "broken", ["{{ nothing }}", "{% if %}", "{{ label.nothing }}", "{{ 1 / 0 }}"]
)
def test_a_template_that_cannot_be_rendered_is_named_with_its_line(
    broken: str, tmp_path: Path
) -> None:
    folder = tmp_path / "templates" / "prometheus" / "rules"
    folder.mkdir(parents=True)
    (folder / "hosts.yml.j2").write_text(f"  - name: mine\n{broken}\n")
    with pytest.raises(SettingsError) as refused:
        rule_files(settings(tmp_path, EVERYTHING))
    assert "templates/prometheus/rules/hosts.yml.j2:2" in refused.value.why
    assert refused.value.next_step


def test_names_of_hosts_are_nothing_else_in_a_pattern(tmp_path: Path) -> None:
    expression = alert(settings(tmp_path, EVERYTHING), "ExporterDown")["expr"]
    (hosts,) = re.findall(r'host=~"([^"]+)"', expression)
    assert re.fullmatch(hosts, "a-1")
    assert not re.fullmatch(hosts, "a-12")
