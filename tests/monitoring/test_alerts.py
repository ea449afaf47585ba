"""Every rule as Prometheus' own tool runs it: it fires when it should, and not when it should not.

The cases are the files in `rules/`, in the format of `promtool test rules`; a new rule needs a case
there and no code here.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from aideploy.monitoring.rules import rule_files
from tests.hosts_toml import TRAINED_AND_SERVED, loaded
from tests.needed import need

CASES = sorted((Path(__file__).parent / "rules").glob("*.yml"))
RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
LABEL = re.compile(r"\$labels\.(\w+)")
HOSTS = f"""\
{TRAINED_AND_SERVED}
[monitoring]
textfile = "/var/lib/prometheus/node-exporter"
exporters = ["node", "nvidia", "haproxy", "blackbox"]
[monitoring.slo]
model_age = "14d"
[environments.production.hosts.a]
address = "a.example.com"
[environments.production.hosts.b]
address = "b.example.com"
"""


@pytest.fixture
def rules(tmp_path: Path) -> Any:
    """What is rendered for the app of the cases, as YAML was read."""
    files = rule_files(loaded(tmp_path, HOSTS, "production"))
    assert list(files) == ["aideploy-ranker.production.yml"]
    return yaml.safe_load(files["aideploy-ranker.production.yml"])


def every(rules: Any, kind: str) -> Iterator[Any]:
    """All rules that have this key: "alert" or "record"."""
    for group in rules["groups"]:
        yield from (rule for rule in group["rules"] if kind in rule)


def cases() -> Iterator[Any]:
    for file in CASES:
        yield from yaml.safe_load(file.read_text())["tests"]


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_the_rules_do_what_the_cases_say(case: Path, rules: Any, tmp_path: Path) -> None:
    promtool = need("promtool")
    # promtool compares annotations word by word; those have a test of their own.
    for alert in every(rules, "alert"):
        del alert["annotations"]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    (tmp_path / case.name).write_text(case.read_text())
    ran = subprocess.run(
        [promtool, "test", "rules", case.name], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_no_alert_lacks_a_case_that_fires_and_one_that_does_not(rules: Any) -> None:
    fired: set[str] = set()
    silent: set[str] = set()
    for case in cases():
        for asked in case.get("alert_rule_test", ()):
            (fired if asked["exp_alerts"] else silent).add(asked["alertname"])
    alerts = {rule["alert"] for rule in every(rules, "alert")}
    assert alerts - fired == set(), "no case in which they fire"
    assert alerts - silent == set(), "no case in which they do not"


def test_nothing_is_recorded_that_no_case_looks_at(rules: Any) -> None:
    asked = {
        word
        for case in cases()
        for test in case.get("promql_expr_test", ())
        for word in re.findall(r"\w+:\w+:\w+", test["expr"])
    }
    assert {rule["record"] for rule in every(rules, "record")} - asked == set()


def test_no_alert_speaks_of_a_label_that_it_does_not_have(rules: Any) -> None:
    labels: dict[str, set[str]] = {}
    for case in cases():
        for asked in case.get("alert_rule_test", ()):
            for alert in asked["exp_alerts"]:
                had = labels.setdefault(asked["alertname"], set(alert["exp_labels"]))
                had &= set(alert["exp_labels"])
    for rule in every(rules, "alert"):
        said = "".join(rule["annotations"].values())
        assert set(LABEL.findall(said)) <= labels[rule["alert"]], rule["alert"]


def test_every_alert_has_a_section_in_the_runbook_and_leads_there(rules: Any) -> None:
    sections = re.findall(r"^### (\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    alerts = [rule["alert"] for rule in every(rules, "alert")]
    assert sorted(sections) == sorted(alerts)
    for rule in every(rules, "alert"):
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        assert rule["annotations"]["runbook"] == f"{rule['alert']} in docs/runbook.md of aideploy"


def test_names_of_groups_and_alerts_are_there_once(rules: Any) -> None:
    groups = [group["name"] for group in rules["groups"]]
    alerts = [rule["alert"] for rule in every(rules, "alert")]
    assert len(set(groups)) == len(groups)
    assert len(set(alerts)) == len(alerts)
