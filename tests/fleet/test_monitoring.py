"""A real Prometheus and Alertmanager on a real host watch a service on two others.

The rules are the shipped ones; only how long something has to last is cut to seconds, in the
project's own templates, as a user would change it. What releases and trainings tell through
node_exporter's files is written by hand where a story needs a release that lies.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from aideploy.errors import ExitStatus
from tests.fleet.project import Project, eventually, repositories
from tests.lab.hosts import Host, Lab
from tests.web_server import Answer, Asked, WebServer, answering

pytestmark = pytest.mark.fleet

APP = "metered"
PORT = 8600
DIRECTORY = "/etc/prometheus"
TARGETS = f"{DIRECTORY}/file_sd/aideploy/{APP}.test.json"
RULES = f"{DIRECTORY}/rules/aideploy-{APP}.test.yml"
TEXTFILES = "/var/lib/prometheus/node-exporter"
PACKAGES = ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter")
TEMPLATES = Path(__file__).parents[2] / "templates"
SERVICE = Path(__file__).with_name("metered_app") / "serve.py"

MONITORING = """
[monitoring]
file_sd = "/etc/prometheus/file_sd/aideploy"
textfile = "/var/lib/prometheus/node-exporter"
exporters = ["node", "haproxy"]
install = true
[monitoring.slo]
model_age = "7d"
[monitoring.prometheus]
url = "http://{monitor}:9090"
[monitoring.alertmanager]
url = "http://{monitor}:9093"
webhook = "http://{here}/alerts"
"""


class Pager(WebServer):
    """A webhook: what Alertmanager posted to it."""

    def __init__(self, address: str) -> None:
        super().__init__(answering(self._taken), address)
        self.alerts: list[dict[str, Any]] = []

    def _taken(self, asked: Asked) -> Answer:
        self.alerts += json.loads(asked.body)["alerts"]
        return Answer()

    def told(self, name: str, **labels: str) -> bool:
        """Whether somebody was told of this alert."""
        wanted = {"alertname": name, "app": APP, "env": "test", **labels}
        return any(
            alert["status"] == "firing" and wanted.items() <= alert["labels"].items()
            for alert in list(self.alerts)
        )


@pytest.fixture(scope="module")
def watched_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = repositories(tmp_path_factory.mktemp("repositories"))
    with Lab(3, binds=[folder], packages=PACKAGES) as lab:
        yield lab


@pytest.fixture(scope="module")
def pager(watched_lab: Lab) -> Iterator[Pager]:
    with Pager(watched_lab.address) as pager:
        yield pager


@pytest.fixture(scope="module")
def project(watched_lab: Lab, pager: Pager, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The service live on h1 and h2, and watched by h3."""
    monitor = watched_lab.hosts[2]
    more = MONITORING.format(monitor=monitor.address, here=pager.place)
    project = Project(
        watched_lab,
        tmp_path_factory.mktemp(APP),
        app=APP,
        port=PORT,
        roles={"h3": ["monitor"]},
        strategy="blue_green",
        serve="bind = '0.0.0.0'",
        more=more,
    )
    shutil.copy(SERVICE, project.source / "serve.py")
    in_seconds(project.folder)
    project.set_up()
    project.deploy()
    project.fab("monitor.push")
    return project


def in_seconds(folder: Path) -> None:
    """Let everything that lasts minutes last a second or two."""
    for name, pattern, text in (
        ("prometheus/prometheus.yml.j2", r"15s", "1s"),
        ("prometheus/rules/*.j2", r"\bfor: (\w+|{{.*?}})", "for: 2s"),
        ("prometheus/rules/recording.yml.j2", r'"long", "2m"', '"long", "1s"'),
        ("alertmanager/alertmanager.yml.j2", r"(group_wait|group_interval): \w+", r"\1: 1s"),
    ):
        for file in TEMPLATES.glob(name):
            own = folder / "templates" / file.relative_to(TEMPLATES)
            own.parent.mkdir(parents=True, exist_ok=True)
            before = own.read_text() if own.exists() else file.read_text()
            own.write_text(re.sub(pattern, text, before))


@pytest.fixture
def monitor(project: Project) -> Host:
    return project.hosts[2]


def tracks(monitor: Host) -> dict[str, str]:
    """What Prometheus is told to be on trial."""
    entries = json.loads(monitor.exec(f"cat {TARGETS}").stdout)
    return {entry["labels"]["host"]: entry["labels"]["track"] for entry in entries}


def asked(monitor: Host, path: str) -> Any:
    with urllib.request.urlopen(f"http://{monitor.address}:9090/api/v1/{path}", timeout=10) as said:
        return json.load(said)["data"]


def behave(project: Project, how: str) -> None:
    for host in project.serving:
        host.exec(f"curl -sS http://127.0.0.1:{PORT}/behave/{how}")


@contextmanager
def users(project: Project, number: int = 1) -> Iterator[None]:
    """So many people ask both hosts, each about ten times a second."""
    stop = threading.Event()

    def ask(host: Host) -> None:
        while not stop.wait(0.1):
            with suppress(OSError):
                urllib.request.urlopen(f"http://{host.address}:{PORT}/predict", timeout=5).close()

    threads = [threading.Thread(target=ask, args=[host]) for host in project.serving * number]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_everything_that_was_pushed_is_loaded_and_a_second_push_changes_nothing(
    project: Project, monitor: Host
) -> None:
    groups = asked(monitor, "rules")["groups"]
    assert {group["file"] for group in groups} == {RULES}
    assert sum(len(group["rules"]) for group in groups) > 10

    def all_up() -> bool:
        found = asked(monitor, "targets")["activeTargets"]
        up = {(t["labels"]["job"], t["labels"].get("host")) for t in found if t["health"] == "up"}
        wanted = {("aideploy", "h1"), ("aideploy", "h2"), ("aideploy-haproxy", "h1")}
        nodes = {("aideploy-node", host) for host in ("h1", "h2", "h3")}
        return up >= wanted | nodes | {("prometheus", None), ("alertmanager", None)}

    assert eventually(all_up, within=60)
    assert not [rule for group in groups for rule in group["rules"] if rule["health"] == "err"]
    assert "nothing to change" in project.fab("monitor.push").output
    again = project.fab("setup").output
    assert "set up before, nothing to change" in again
    assert not re.search(r"\d+ changes", again), again
    assert "as it should be, and loaded" in project.fab("monitor.check").output
    assert (
        monitor.exec(f"stat -c '%a %G' {DIRECTORY}/alertmanager.yml").stdout == "640 prometheus\n"
    )
    may = "runuser -u deploy -- sudo -n -l systemctl"
    monitor.exec(f"{may} reload prometheus.service")
    for more in (
        "restart prometheus.service",
        "reload ssh.service",
        "reload prometheus.service -H x",
    ):
        assert monitor.exec(f"{may} {more}", check=False).returncode != 0


def test_what_goes_wrong_fires_the_alert_that_reaches_the_webhook(
    project: Project, monitor: Host, pager: Pager
) -> None:
    first, second = project.serving
    with users(project):
        time.sleep(5)
        assert not pager.told("AvailabilityBurnFast")
        assert not pager.told("InferenceTargetDown")
        behave(project, "slow")
        assert eventually(lambda: pager.told("InferenceLatencyHigh", severity="warning"), within=90)
        behave(project, "errors")
        assert eventually(lambda: pager.told("AvailabilityBurnFast"), within=90)
        behave(project, "well")
    second.exec(f"systemctl stop '{APP}@*'")
    assert eventually(lambda: pager.told("InferenceTargetDown", host="h2"), within=60)
    assert not pager.told("InferenceTargetDown", host="h1")
    second.exec(
        f"systemctl start '{APP}@*' --all; systemctl start {APP}@blue {APP}@green", check=False
    )

    told = f"{TEXTFILES}/aideploy-{APP}.test.prom"
    for host, release in ((first, "new"), (second, "old")):
        # Two files that tell the same are an error of node_exporter's.
        host.exec(f"mv {told} {told}.aside")
        labels = f'app="{APP}",env="test"'
        host.path(f"{TEXTFILES}/told-by-hand.prom").write_text(
            f'aideploy_release_info{{{labels},release="{release}",revision="r",model="m"}} 1\n'
            f"aideploy_model_trained_timestamp_seconds{{{labels}}} {time.time() - 30 * 86400}\n"
        )
    assert eventually(lambda: pager.told("ReleaseSkew"), within=60)
    assert eventually(lambda: pager.told("ModelStale"), within=60)
    skew = next(alert for alert in pager.alerts if alert["labels"]["alertname"] == "ReleaseSkew")
    assert "different releases" in skew["annotations"]["summary"]
    for host in (first, second):
        host.exec(f"rm {TEXTFILES}/told-by-hand.prom; mv {told}.aside {told}")


@pytest.mark.slow
def test_hosts_on_trial_are_canaries_until_the_release_is_confirmed_or_gone(
    project: Project, monitor: Host
) -> None:
    project.configure(rollout="canary = 1", bake="4s")
    project.commit()
    command = project.start("deploy")
    command.wait_for(r"watch +.*canary")
    assert tracks(monitor) == {"h1": "canary", "h2": "stable"}
    assert command.finish().status == ExitStatus.DONE
    assert tracks(monitor) == {"h1": "stable", "h2": "stable"}

    project.commit()
    command = project.start("deploy")
    command.wait_for(r"watch +.*canary")
    project.fab("rollout.abort")
    assert command.finish().status == ExitStatus.ROLLED_BACK
    assert tracks(monitor) == {"h1": "stable", "h2": "stable"}


@pytest.mark.slow
def test_a_monitor_host_that_cannot_be_told_costs_a_notice_and_no_deploy(
    project: Project, monitor: Host
) -> None:
    project.configure(rollout='canary = 0\nbatch = "100%"', bake="1s")
    monitor.exec(f"chown root {DIRECTORY}/file_sd/aideploy")
    try:
        revision = project.commit()
        finished = project.fab("deploy")
    finally:
        monitor.exec(f"chown deploy {DIRECTORY}/file_sd/aideploy")
    assert project.all_serve() == {revision}
    assert finished.output.count("Prometheus is not told") == 1


def test_a_rule_that_prometheus_would_refuse_changes_nothing(
    project: Project, monitor: Host
) -> None:
    before = monitor.exec(f"cat {RULES}").stdout
    own = project.folder / "templates/prometheus/rules/recording.yml.j2"
    kept = own.read_text()
    own.write_text(kept.replace("rate5m", "rate5m((", 1))
    try:
        finished = project.fab("monitor.push", expected=ExitStatus.USAGE)
    finally:
        own.write_text(kept)
    assert "promtool refuses" in finished.output
    assert "nothing" in finished.output or "templates/" in finished.output
    assert monitor.exec(f"cat {RULES}").stdout == before
    left = f"find {DIRECTORY} -name '*.new.*' -o -name '*.back.*'"
    assert monitor.exec(left).stdout == ""


@pytest.mark.slow
def test_a_prometheus_that_dies_of_its_new_files_gets_the_old_ones_back(
    project: Project, monitor: Host
) -> None:
    before = monitor.exec(f"cat {RULES}").stdout
    drop_in = monitor.path("/etc/systemd/system/prometheus.service.d/dies.conf")
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[Service]\nRestart=no\nExecReload=\nExecReload=/bin/kill -KILL $MAINPID\n")
    monitor.exec("systemctl daemon-reload")
    own = project.folder / "templates/prometheus/rules/rules.yml.j2"
    kept = own.read_text()
    own.write_text(kept + "# another line\n")
    try:
        finished = project.fab("monitor.push", expected=ExitStatus.NOT_READY)
        assert "what was there is back" in finished.output
        assert monitor.exec(f"cat {RULES}").stdout == before
        down = project.fab("monitor.push", expected=ExitStatus.NOT_READY)
        assert "prometheus does not answer on h3" in down.output
    finally:
        own.write_text(kept)
        drop_in.unlink()
        monitor.exec("systemctl daemon-reload; systemctl restart prometheus")
    assert eventually(lambda: bool(asked_softly(monitor)), within=30)


def asked_softly(monitor: Host) -> Any:
    with suppress(OSError):
        return asked(monitor, "rules")["groups"]
    return None


@pytest.mark.slow
def test_a_full_disk_changes_nothing(project: Project, monitor: Host) -> None:
    monitor.exec(f"cp -a {DIRECTORY}/rules /root/rules")
    monitor.fill_disk(f"{DIRECTORY}/rules", 64 * 1024)
    try:
        monitor.exec(f"cp -a /root/rules/. {DIRECTORY}/rules/")
        monitor.exec(f"dd if=/dev/zero of={DIRECTORY}/rules/filler bs=1k", check=False)
        before = monitor.exec(f"cat {RULES}").stdout
        finished = project.fab("monitor.push", expected=ExitStatus.NOT_READY)
        assert "no room on the disk" in finished.output
        assert monitor.exec(f"cat {RULES}").stdout == before
    finally:
        monitor.free_disk(f"{DIRECTORY}/rules")


@pytest.mark.slow
def test_two_pushes_do_not_meet(project: Project, monitor: Host) -> None:
    held = f"flock {DIRECTORY}/file_sd/aideploy/.lock sleep 60"
    monitor.exec(f"systemd-run --quiet --unit=holds {held}")
    try:
        finished = project.fab("monitor.push", expected=ExitStatus.LOCKED)
    finally:
        monitor.exec("systemctl stop holds")
    assert "somebody else is changing the monitoring" in finished.output


def test_the_prometheus_of_others_is_joined_and_not_overwritten(
    project: Project, monitor: Host
) -> None:
    file = f"{DIRECTORY}/prometheus.yml"
    ours = monitor.exec(f"cat {file}").stdout
    foreign = "# Ada looks after this\nglobal:\n  scrape_interval: 1s\n"
    monitor.path(file).write_text(foreign)
    monitor.exec("systemctl reload prometheus")
    try:
        finished = project.fab("monitor.push", expected=ExitStatus.NOT_READY)
        assert "rule_files:" in finished.output and 'job_name: "aideploy"' in finished.output
        assert monitor.exec(f"cat {file}").stdout == foreign
        project.fab("monitor.check", expected=ExitStatus.NOT_READY)
        added = ours[ours.index("rule_files:") :]
        monitor.path(file).write_text(foreign + added)
        monitor.exec("systemctl reload prometheus")
        monitor.exec(f"rm {RULES}")
        project.fab("monitor.push")
        assert monitor.exec(f"cat {file}").stdout == foreign + added
        assert {group["file"] for group in asked(monitor, "rules")["groups"]} == {RULES}
    finally:
        monitor.exec(f"cat > {file} <<'END'\n{ours}END\nsystemctl reload prometheus")
    project.fab("monitor.push")


@pytest.mark.slow
def test_a_monitor_host_that_dies_in_a_rollout_fails_no_deploy(
    project: Project, monitor: Host
) -> None:
    project.configure(rollout="canary = 1", bake="4s")
    revision = project.commit()
    command = project.start("deploy")
    command.wait_for(r"watch +.*canary")
    monitor.power_off()
    try:
        finished = command.finish()
    finally:
        monitor.boot()
    assert finished.status == ExitStatus.DONE, finished.output
    assert "Prometheus is not told" in finished.output
    assert project.all_serve() == {revision}
