"""Promises of the dashboards: every panel shows something, and Grafana can read each of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from aideploy.monitoring.grafana import dashboards
from aideploy.monitoring.prometheus_api import Prometheus, Sample
from aideploy.settings import Settings
from aideploy.settings.monitoring import Preset
from tests.hosts_toml import loaded
from tests.monitoring import scene

KINDS = ("service", "model", "releases", "canary", "gpus")
# What a person has chosen at the top, and what Grafana itself fills in.
CHOSEN = {
    "app": "ranker",
    "env": "production",
    "host": "(h1|h2)",
    "canary": "h2",
    "canary_slot": ".*",
    "baseline": "h1",
    "baseline_slot": "(blue)",
    "__rate_interval": "1m",
    "__range": "5m",
}
VARIABLE = re.compile(r"\$([a-z_]\w*)")
CHOICE = re.compile(r"label_values\((.+), (\w+)\)")


@dataclass(frozen=True)
class Seen:
    """A Prometheus that has seen the app, and the settings of the app."""

    settings: Settings
    prometheus: Prometheus


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    with scene.seen(tmp_path_factory.mktemp("scene")) as (settings, prometheus):
        yield Seen(settings, prometheus)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return loaded(tmp_path, scene.HOSTS, "production")


def filled(expression: str) -> str:
    return VARIABLE.sub(lambda match: CHOSEN[match[1]], expression)


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def is_something(found: tuple[Sample, ...]) -> bool:
    return any(not math.isnan(sample.value) for sample in found)


# -- what they show --------------------------------------------------------------------------------


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", KINDS)
def test_every_query_of_every_panel_finds_something(seen: Seen, kind: str) -> None:
    dashboard = json.loads(dashboards(seen.settings)[kind])
    nothing = []
    for panel in panels(dashboard):
        assert panel["targets"]
        for target in panel["targets"]:
            if not is_something(seen.prometheus.query(filled(target["expr"]))):
                nothing.append(f"{panel['title']}: {filled(target['expr'])}")
    assert nothing == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_choice_has_something_to_choose_from(seen: Seen, kind: str) -> None:
    dashboard = json.loads(dashboards(seen.settings)[kind])
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "datasource":
            match = CHOICE.fullmatch(variable["query"])
            assert match, variable["query"]
            found = seen.prometheus.query(filled(match[1]))
            assert {sample.labels.get(match[2]) for sample in found} - {None}, variable["name"]


def test_canary_and_baseline_are_the_hosts_that_they_should_be(seen: Seen) -> None:
    variables = json.loads(dashboards(seen.settings)["canary"])["templating"]["list"]
    found = {}
    for variable in variables:
        if variable["name"] in ("canary", "baseline"):
            match = CHOICE.fullmatch(variable["query"])
            assert match
            samples = seen.prometheus.query(filled(match[1]))
            found[variable["name"]] = {sample.labels[match[2]] for sample in samples}
    assert found == {"canary": {"h2"}, "baseline": {"h1"}}


def test_both_exporters_of_gpus_are_seen_in_the_same_units(seen: Seen) -> None:
    dashboard = json.loads(dashboards(seen.settings)["gpus"])
    by_title = {panel["title"]: panel["targets"][0]["expr"] for panel in panels(dashboard)}
    for title, expected in {
        "Memory used": {"h1": 7.06740224e08, "h2": 20000 * 1024**2},
        "Temperature": {"h1": 34, "h2": 81},
        "Memory that failed": {"h1": 0, "h2": 1},
    }.items():
        found = seen.prometheus.query(filled(by_title[title]))
        assert {sample.labels["host"]: sample.value for sample in found} == expected, title
        assert {sample.labels["gpu"] for sample in found} == {"0"}


def test_a_host_that_is_down_is_counted_once_however_many_exporters_answer(seen: Seen) -> None:
    dashboard = json.loads(dashboards(seen.settings)["service"])
    by_title = {panel["title"]: panel["targets"][0]["expr"] for panel in panels(dashboard)}
    [up] = seen.prometheus.query(filled(by_title["Hosts up"]))
    [down] = seen.prometheus.query(filled(by_title["Hosts down"]))
    assert (up.value, down.value) == (2, 0)


@pytest.mark.parametrize("preset", list(Preset))
def test_for_every_serving_software_all_queries_parse(
    seen: Seen, tmp_path: Path, preset: Preset
) -> None:
    hosts = scene.HOSTS.replace("[monitoring]", f'[monitoring]\npreset = "{preset}"')
    for text in dashboards(loaded(tmp_path, hosts, "production")).values():
        for panel in panels(json.loads(text)):
            for target in panel["targets"]:
                assert "None" not in target["expr"]
                seen.prometheus.query(filled(target["expr"]))


# -- how they are made -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_grafanas_own_types_lose_nothing_of_a_dashboard(settings: Settings, kind: str) -> None:
    register_default_plugins()
    made = json.loads(dashboards(settings)[kind])
    read = Dashboard.from_json(made)
    assert json.loads(json.dumps(read, cls=JSONEncoder)) == made


@pytest.mark.parametrize("kind", KINDS)
def test_panels_have_numbers_of_their_own_and_do_not_overlap(settings: Settings, kind: str) -> None:
    dashboard = json.loads(dashboards(settings)[kind])
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        x, y = place.get("x", 0), place.get("y", 0)
        assert x + place["w"] <= 24, panel["title"]
        cells = {(x + dx, y + dy) for dx in range(place["w"]) for dy in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("kind", KINDS)
def test_every_panel_says_what_it_is_of_and_asks_the_data_source_that_was_chosen(
    settings: Settings, kind: str
) -> None:
    for panel in panels(json.loads(dashboards(settings)[kind])):
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        ids = [target["refId"] for target in panel["targets"]]
        assert len(set(ids)) == len(ids)


def test_what_is_not_there_has_no_dashboard_and_no_row(tmp_path: Path) -> None:
    every = '["node", "nvidia", "haproxy", "blackbox"]'
    hosts = scene.HOSTS.replace(every, "[]").replace(
        "[monitoring]", '[monitoring]\npreset = "kserve"'
    )
    made = dashboards(loaded(tmp_path, hosts, "production"))
    assert set(made) == {"service", "model", "releases", "canary"}
    assert not re.search("haproxy_|probe_|node_(?!textfile|exporter)", "".join(made.values()))
    # KServe counts no errors and knows nothing of predictions.
    titles = {panel["title"] for text in made.values() for panel in json.loads(text)["panels"]}
    assert not [title for title in titles if "rror" in title or title == "Predictions"]


def test_names_of_apps_never_make_two_dashboards_one(tmp_path: Path) -> None:
    uids: set[str] = set()
    for app in ("a", "ranker", "x" * 31, "x" * 30 + "y"):
        hosts = scene.HOSTS.replace('name = "ranker"', f'name = "{app}"')
        for text in dashboards(loaded(tmp_path, hosts, "production")).values():
            uid = json.loads(text)["uid"]
            assert len(uid) <= 40
            assert uid not in uids
            uids.add(uid)


def test_deploys_are_asked_for_by_the_tags_that_they_are_marked_with(settings: Settings) -> None:
    asked = [
        each["target"]["tags"]
        for each in json.loads(dashboards(settings)["service"])["annotations"]["list"]
        if "target" in each
    ]
    assert asked == [
        ["deploy", "app:$app", "env:$env"],
        ["rollback", "app:$app", "env:$env"],
    ]
