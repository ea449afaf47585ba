"""Promises of hosts.example.toml: it is valid, it is complete, and it tells the truth."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from aideploy.settings import load
from aideploy.settings.hosts import HostTable
from aideploy.settings.loading import LISTS, TABLES
from aideploy.settings.monitoring import (
    AlertmanagerServer,
    GrafanaServer,
    Monitoring,
    PrometheusServer,
    Queries,
    Slo,
)
from aideploy.settings.problems import keys_of
from aideploy.settings.serve import Runtime
from aideploy.settings.ssh import SshOptions
from aideploy.settings.table import Table

EXAMPLE = Path(__file__).parents[3] / "hosts.example.toml"
DEFAULT = re.compile(r"^# (?=[a-z0-9_]+ = )", re.MULTILINE)
CHOICE = re.compile(r"^# e\.g\. (?=[a-z0-9_]+ = )", re.MULTILINE)


def text() -> str:
    return EXAMPLE.read_text(encoding="utf-8")


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_the_example_is_valid_as_it_stands(environment: str) -> None:
    assert load(EXAMPLE, environment).environment == environment


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_every_default_that_the_example_tells_is_the_real_one(
    tmp_path: Path, environment: str
) -> None:
    written_out = tmp_path / "hosts.toml"
    written_out.write_text(DEFAULT.sub("", text()))
    assert len(DEFAULT.findall(text())) > 20
    told = load(written_out, environment)
    assert replace(told, path=EXAMPLE) == load(EXAMPLE, environment)


# A model comes from elsewhere, or is trained here and goes through a store.
ONLY_WITH_A_SOURCE = re.compile(
    r"^(?:source = \"models:|sha256|metrics = .*\n(?=# The MLflow)|tracking_uri"
    r"|(?:before|after)_model).*\n",
    re.M,
)
ONLY_WITH_TRAINING = re.compile(
    r"^(?:store|(?:before|after)_train) = .*\n|^\[train\]\n(?:[^\[].*\n|\n)*", re.M
)


@pytest.mark.parametrize("left_out", [ONLY_WITH_A_SOURCE, ONLY_WITH_TRAINING])
def test_every_other_line_of_the_example_can_be_used(
    tmp_path: Path, left_out: re.Pattern[str]
) -> None:
    everything = tmp_path / "hosts.toml"
    everything.write_text(left_out.sub("", CHOICE.sub("", text())))
    settings = load(everything, "production")
    assert settings.serve
    assert settings.serve.memory_max == 4 * 1024**3
    assert bool(settings.model.store) == (left_out is ONLY_WITH_A_SOURCE)


@pytest.mark.parametrize("key", ["image", "dockerfile"])
def test_what_stands_for_something_else_can_be_used_instead_of_it(tmp_path: Path, key: str) -> None:
    other = tmp_path / "hosts.toml"
    other.write_text(re.sub(rf"^# or (?={key} = |runtime = )", "", text(), flags=re.MULTILINE))
    serve = load(other, "production").serve
    assert serve
    assert serve.contained
    assert serve.runtime is Runtime.PODMAN


# Tables inside [monitoring] that have a header of their own.
TABLES_WITHIN = {
    "prometheus": PrometheusServer,
    "alertmanager": AlertmanagerServer,
    "grafana": GrafanaServer,
    "slo": Slo,
    "queries": Queries,
}
TABLES_OF_THE_FILE = [
    *((f"[{name}]", model) for name, model in TABLES.items()),
    *((f"[monitoring.{name}]", model) for name, model in TABLES_WITHIN.items()),
    *((f"[[{name}]]", model) for name, model in LISTS.items()),
    ("[environments.production.hosts.gpu1]", HostTable),
]


def section(header: str) -> str:
    """What stands below a header, up to the next one."""
    found = re.search(rf"^{re.escape(header)}\n((?:[^\[].*\n|\n)*)", text(), re.MULTILINE)
    assert found, header
    return found[1]


@pytest.mark.parametrize(("header", "model"), TABLES_OF_THE_FILE)
def test_the_example_has_every_key_of_every_table(header: str, model: type[Table]) -> None:
    told = re.findall(r"^(?:# (?:e\.g\. |or )?)?([a-z0-9_]+) = ", section(header), re.MULTILINE)
    within = TABLES_WITHIN if model is Monitoring else {}
    assert set(told) == set(keys_of(model)) - set(within)


@pytest.mark.parametrize(("header", "model"), TABLES_OF_THE_FILE)
def test_the_example_tells_every_default_that_there_is(header: str, model: type[Table]) -> None:
    told = re.findall(r"^# (?:or )?([a-z0-9_]+) = ", section(header), re.MULTILINE)
    inherited = SshOptions.model_fields if model is HostTable else {}
    for key, field in zip(keys_of(model), model.model_fields.items(), strict=True):
        name, info = field
        has_default = not info.is_required() and info.default_factory is None
        if has_default and info.default is not None and name not in inherited:
            assert key in told


def test_the_example_stays_readable_as_toml() -> None:
    assert set(tomllib.loads(text())) == {*TABLES, *LISTS, "environments"}
