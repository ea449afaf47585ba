"""Names that two apps shared in version 0.1: told apart, and the old files cleaned up by what
writes the new ones, before a real Prometheus reads both."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import httpx
import pytest

from aideploy.monitoring import telling
from aideploy.monitoring.configuration import Kind, MonitorFile, files, old_files
from aideploy.monitoring.targets import file_of, old_file_of, targets
from aideploy.phases.monitor import push
from aideploy.phases.setup import monitoring
from aideploy.remote.script import Script
from aideploy.services.files import RenderedFile, Validator, rendered_files
from aideploy.services.telling_metrics import metric_files
from aideploy.settings import Settings, load
from tests.needed import need
from tests.prometheus import PrometheusServer
from tests.scripts.running import Ran, run


def settings_of(
    folder: Path, app: str, environment: str, url: str = "http://127.0.0.1:9090"
) -> Settings:
    (folder / "hosts.toml").write_text(f"""
[app]
name = "{app}"
repository = "/unused"
[serve]
command = "serve"
[drift]
reference = "reference.csv"
command = "true"
[monitoring]
file_sd = "{folder}/file_sd"
textfile = "/var/lib/unused"
exporters = ["node"]
[monitoring.prometheus]
url = "{url}"
local_url = "{url}"
directory = "{folder}"
[environments.{environment}.hosts.h1]
address = "127.0.0.1"
roles = ["serve", "monitor"]
""")
    return load(folder / "hosts.toml", environment)


def paths(settings: Settings) -> set[PurePosixPath]:
    """Return where all lies that belongs to one app: on a monitor host, and what hosts tell."""
    host = settings.hosts[0]
    return {file.path for file in files(settings, {}) if file.kind is not Kind.PROMETHEUS} | {
        PurePosixPath(file) for file in metric_files(settings, host)
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a-b", "c"), ("a", "b-c")), (("a", "b-drift"), ("a", "b")), (("a", "b"), ("a-b", "b"))],
)
def test_no_two_apps_share_the_name_of_a_file(
    tmp_path: Path, one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert not paths(settings_of(tmp_path, *one)) & paths(settings_of(tmp_path, *other))


# -- setup -----------------------------------------------------------------------------------------


def rights_of(settings: Settings) -> RenderedFile:
    """Return the sudoers file of the app's own service."""
    root = PurePosixPath(settings.app.deploy_to)
    files = rendered_files(settings, settings.hosts[0], root=root, user="ann")
    [rights] = (file for file in files if file.validator is Validator.SUDOERS)
    return rights


def rights_to_reload(settings: Settings) -> Script:
    script = monitoring(settings, settings.hosts[0], user="ann")
    assert script
    return script


def test_the_rights_to_reload_have_the_name_of_no_other_app(tmp_path: Path) -> None:
    script = rights_to_reload(settings_of(tmp_path, "x", "e"))
    assert script.args[5] != str(rights_of(settings_of(tmp_path, "monitor-x", "e")).path)


@pytest.mark.parametrize("others", [False, True])
def test_setup_removes_the_rights_with_the_old_name_unless_they_are_of_another_app(
    tmp_path: Path, others: bool
) -> None:
    if os.geteuid() != 0:
        pytest.skip("who is not root may not put rights in place")
    if not shutil.which("visudo", path="/usr/sbin:/usr/bin"):
        pytest.skip("no visudo here: apt-get install sudo")
    theirs = rights_of(settings_of(tmp_path, "monitor-x", "e")).content
    script = rights_to_reload(settings_of(tmp_path, "x", "e"))
    new, old = tmp_path / "new", tmp_path / "old"
    *words, _, rights, _ = map(str, script.args)
    old.write_text(theirs if others else rights)

    ran = run(replace(script, args=(*words, str(new), rights, str(old))))

    assert ran.status == 0, ran.output
    assert new.read_text() == rights
    assert old.exists() == others


# -- a deploy --------------------------------------------------------------------------------------


def tell(settings: Settings, *, old: str | None) -> None:
    """Rewrite the targets as a deploy does, where such a file of version 0.1 lies."""
    if old is not None:
        Path(old_file_of(settings)).parent.mkdir(exist_ok=True)
        Path(old_file_of(settings)).write_text(old)
    text = targets(settings)
    bare = telling.script(settings).bare_text()
    subprocess.run(["bash", "-c", bare], input=telling.framed(text), check=True)
    assert Path(file_of(settings)).read_text() == text


def test_a_deploy_removes_the_targets_that_had_the_old_name(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "a-b", "c")
    tell(settings, old=targets(settings))
    assert not Path(old_file_of(settings)).exists()
    tell(settings, old=None)


def test_a_deploy_leaves_the_targets_of_another_app_with_the_same_old_name(tmp_path: Path) -> None:
    others = targets(settings_of(tmp_path, "a", "b-c"))
    settings = settings_of(tmp_path, "a-b", "c")
    tell(settings, old=others)
    assert Path(old_file_of(settings)).read_text() == others


# -- monitor.push ----------------------------------------------------------------------------------


class Monitor:
    """A monitor host with a Prometheus that reads what version 0.1 left."""

    def __init__(self, folder: Path) -> None:
        need("promtool")
        self.server = PrometheusServer(folder, "")
        self.folder = folder

    def settings(self, app: str = "a-b", environment: str = "c") -> Settings:
        return settings_of(self.folder, app, environment, self.server.url)

    def wanted(self, settings: Settings) -> tuple[MonitorFile, ...]:
        return files(settings, {})

    def leave_old(self, settings: Settings) -> list[Path]:
        """Write the files of an app under their old names; return where."""
        named = {file.path: file for file in self.wanted(settings)}
        [rules] = (file for file in named.values() if file.kind is Kind.RULES)
        lying = {old_files(settings)[0]: rules}
        for exporter in ("", "node"):
            lying[old_file_of(settings, exporter)] = named[file_of(settings, exporter)]
        for path, file in lying.items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(file.content)
        [main] = (file for file in named.values() if file.kind is Kind.PROMETHEUS)
        Path(main.path).write_text(main.content)
        return [Path(path) for path in lying]

    def push(self, settings: Settings, *, before: str = "") -> Ran:
        return run(push(settings, self.wanted(settings), {}), before=before)

    def asked(self, what: str) -> Any:
        answer = httpx.get(f"{self.server.url}/api/v1/{what}")
        return answer.raise_for_status().json()["data"]

    def rule_files(self) -> set[str]:
        return {Path(group["file"]).name for group in self.asked("rules")["groups"]}

    def scraped(self, settings: Settings) -> list[str]:
        """Return the targets of the service of an app: each job and address once, or more."""
        wanted = {"app": settings.app.name, "env": settings.environment}
        return [
            target["scrapeUrl"] + target["discoveredLabels"]["__meta_filepath"]
            for target in self.asked("targets")["activeTargets"]
            if wanted.items() <= target["labels"].items()
        ]


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Monitor]:
    monitor = Monitor(tmp_path)
    old = monitor.leave_old(monitor.settings())
    with monitor.server:
        assert monitor.rule_files() == {old[0].name}
        yield monitor


def test_a_push_takes_the_old_names_away_and_nothing_is_asked_or_counted_twice(
    monitor: Monitor,
) -> None:
    settings = monitor.settings()
    ran = monitor.push(settings)
    assert ran.status == 0, ran.result
    assert not any(Path(path).exists() for path in old_files(settings))
    assert monitor.rule_files() == {"aideploy-a-b.c.yml"}
    end = time.monotonic() + 20
    while len(found := monitor.scraped(settings)) != 2 or any("a-b-c" in one for one in found):
        assert time.monotonic() < end, found
        time.sleep(0.2)
    assert [path.name for path in monitor.folder.rglob("*a-b-c*")] == []
    again = monitor.push(settings)
    assert again.status == 0 and again.result.all("changed") == ()


def test_a_push_leaves_what_another_app_has_under_the_same_old_name(monitor: Monitor) -> None:
    rules, told, _ = monitor.leave_old(monitor.settings("a", "b-c"))
    before = rules.read_text(), told.read_text()
    assert monitor.push(monitor.settings("a-b", "c")).status == 0
    assert (rules.read_text(), told.read_text()) == before
    assert monitor.rule_files() == {"aideploy-a-b.c.yml", "aideploy-a-b-c.yml"}
    assert monitor.push(monitor.settings("a", "b-c")).status == 0
    assert monitor.rule_files() == {"aideploy-a-b.c.yml", "aideploy-a.b-c.yml"}


def test_a_push_that_fails_brings_the_old_names_back(monitor: Monitor) -> None:
    settings = monitor.settings()
    there = {path: Path(path).read_bytes() for path in old_files(settings) if Path(path).exists()}
    assert len(there) == 3
    # The files are in place when it turns out that the main one is broken.
    ran = monitor.push(
        settings,
        before=f'promtool() {{ [ "$2" != config ] || [ "$3" = --syntax-only ] || '
        f"{{ ls '{monitor.folder}/rules'; return 1; }}; }}",
    )
    assert ran.code == "bad-file"
    seen = ran.result.text("fail.message").replace(";", " ").split()
    assert "aideploy-a-b.c.yml" in seen and "aideploy-a-b-c.yml" not in seen
    assert {path: Path(path).read_bytes() for path in there} == there
    assert not Path(file_of(settings)).exists()
