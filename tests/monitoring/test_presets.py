"""Every preset, fed with the metrics that its server shows: what is recorded is what happened."""

from __future__ import annotations

import subprocess
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from aideploy.errors import SettingsError
from aideploy.monitoring.presets import Signals, preset, query, signals
from aideploy.monitoring.rules import rule_files
from aideploy.settings import Settings
from aideploy.settings.monitoring import Preset
from tests.hosts_toml import TRAINED_AND_SERVED, loaded
from tests.needed import need

CASES = Path(__file__).parent / "presets"
HOSTS = f"""\
{TRAINED_AND_SERVED}
[environments.production.hosts.a]
address = "a.example.com"
"""


def settings(folder: Path, monitoring: str) -> Settings:
    return loaded(folder, HOSTS + monitoring, "production")


def promtool(folder: Path, *arguments: str) -> None:
    ran = subprocess.run([need("promtool"), *arguments], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def rendered(told: Settings) -> dict[str, Any]:
    (text,) = rule_files(told).values()
    rules: dict[str, Any] = yaml.safe_load(text)
    return rules


@pytest.mark.parametrize("name", list(Preset))
def test_what_the_server_counts_is_what_is_recorded(name: Preset, tmp_path: Path) -> None:
    rules = rendered(settings(tmp_path, f'[monitoring]\npreset = "{name}"\n'))
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule.pop("annotations", None)
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    (tmp_path / "case.yml").write_text((CASES / f"{name}.yml").read_text())
    promtool(tmp_path, "test", "rules", "case.yml")


@pytest.mark.parametrize("name", list(Preset))
def test_every_expression_of_a_preset_can_be_asked_with_and_without_telling_apart(
    name: Preset, tmp_path: Path
) -> None:
    found = preset(name)
    told = [getattr(found, field.name) for field in fields(found) if field.name != "latency_unit"]
    expressions = [each for each in told if each is not None]
    asked = [
        query(each, selector='app="a",host=~"x|y"', over="90s", by=by, per_second=rate)
        for each in expressions
        for by in ((), ("host", "slot"))
        for rate in (False, True)
    ]
    rules = [{"record": f"r{place}", "expr": each} for place, each in enumerate(asked)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
    promtool(tmp_path, "check", "rules", "rules.yml")
    assert not any("$" in each for each in asked)
    assert all("host, slot" in each for each in asked[2::4])


def test_an_unknown_preset_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        settings(tmp_path, '[monitoring]\npreset = "tritn"\n')
    assert "triton" in str(refused.value.why)


def test_own_queries_take_the_place_of_what_they_belong_to(tmp_path: Path) -> None:
    told = settings(
        tmp_path,
        """
[monitoring.queries]
requests = 'hits_total{route="/rank", code!~"3.." }'
errors = "misses_total{}"
latency_bucket = "took_milliseconds_bucket"
latency_unit = "1ms"
waiting = "queue:depth"
prediction_bucket = "score_bucket"
""",
    )
    found = signals(told.monitoring)
    assert found == Signals(
        requests='sum(increase(hits_total{route="/rank", code!~"3..",$SELECTOR}[$RANGE]))',
        errors="sum(increase(misses_total{$SELECTOR}[$RANGE]))",
        latency_bucket="sum by (le) (increase(took_milliseconds_bucket{$SELECTOR}[$RANGE]))",
        latency_unit=0.001,
        waiting="sum(queue:depth{$SELECTOR})",
        prediction_bucket="sum by (le) (increase(score_bucket{$SELECTOR}[$RANGE]))",
    )
    (text,) = rule_files(told).values()
    (tmp_path / "rules.yml").write_text(text)
    promtool(tmp_path, "check", "rules", "rules.yml")


def test_errors_of_the_preset_are_not_divided_by_requests_of_ones_own(tmp_path: Path) -> None:
    told = settings(tmp_path, '[monitoring.queries]\nrequests = "hits_total"\n')
    assert signals(told.monitoring).errors is None
    (text,) = rule_files(told).values()
    assert "AvailabilityBurn" not in text


@pytest.mark.parametrize(
    "series",
    [
        "",
        "sum(hits_total)",
        "hits_total[5m]",
        "hits_total or vector(1)",
        'hits_total{code="200"',
        'hits_total{code="200"} or up{a="b"}',
        'hits_total{code="a" or "b"}',
        'hits_total{code="a\\n"}',
        'hits_total{code="$RANGE"}',
        "hits_total{code='200'}",
        "1hits",
        "hits total",
    ],
)
def test_what_is_not_one_metric_is_refused(series: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        settings(tmp_path, f"[monitoring.queries]\nrequests = '''{series}'''\n")
    assert "monitoring.queries" in str(refused.value.why)


def test_a_unit_without_a_latency_of_ones_own_counts_for_that_of_the_preset(tmp_path: Path) -> None:
    told = settings(tmp_path, '[monitoring.queries]\nlatency_unit = "0.001ms"\n')
    assert signals(told.monitoring).latency_unit == timedelta(microseconds=1).total_seconds()
