"""Trainings that no person starts, as a user meets them: new data, a timer, an alert of a real
Alertmanager; and that what is not new costs nothing and changes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from aideploy.errors import ExitStatus
from tests.needed import need
from tests.waiting import eventually
from tests.web_server import free_port

from .small_project import SmallProject

TOKEN = "a token"


def settle(project: SmallProject, **train: Any) -> None:
    data = project.folder / "data"
    if not data.exists():
        data.write_text("first")
    trains = {
        "command": f"cat '{data}' > model; echo '{{\"auc\": 0.8}}' > metrics.json",
        "data_version": f"cat '{data}'",
        **train,
    }
    project.settle(gates=[{"metric": "auc", "min": 0.7}], train=trains)


def model(project: SmallProject, host: str = "host1") -> str:
    return (project.root(host) / "current" / "model").read_text()


def releases(project: SmallProject) -> list[str]:
    return sorted(place.name for place in (project.root() / "releases").iterdir())


@pytest.fixture
def trained(project: SmallProject) -> SmallProject:
    """The project with a training whose model is live."""
    settle(project)
    ran = project.fab("deploy", "--yes")
    assert ran.status == 0, ran.text
    return project


def test_only_what_is_new_is_deployed(trained: SmallProject) -> None:
    before, journal = releases(trained), (trained.root() / "journal.jsonl").read_bytes()
    ran = trained.fab("deploy", "--if-new", "--yes")
    assert ran.status == 0, ran.text
    assert "nothing new: commit" in ran.text and "is live already" in ran.text
    # Not even the folder of the release that was not needed.
    assert releases(trained) == before
    assert (trained.root() / "journal.jsonl").read_bytes() == journal

    (trained.folder / "data").write_text("second")
    ran = trained.fab("deploy", "--if-new", "--yes")
    assert ran.status == 0, ran.text
    assert "is live on 3 hosts" in ran.text
    assert {model(trained, name) for name in ("host1", "host2", "host3")} == {"second"}

    # What was taken back by a person does not come again by itself.
    assert trained.fab("rollback").status == 0
    assert model(trained) == "first"
    ran = trained.fab("deploy", "--if-new", "--yes")
    assert "another release took its place" in ran.text
    assert model(trained) == "first"

    # A new commit is something new.
    trained.commit({"README": str(time.time())})
    ran = trained.fab("deploy", "--if-new", "--yes")
    assert "is live on 3 hosts" in ran.text, ran.text
    assert model(trained) == "second"


def test_the_timer_runs_what_a_person_would_and_systemd_understands_it(
    trained: SmallProject, tmp_path: Path
) -> None:
    ran = trained.fab("train.schedule")
    assert ran.status == ExitStatus.USAGE
    assert '[train] schedule = "1h"' in ran.text
    settle(trained, schedule="2h")
    shown = trained.fab("train.schedule")
    assert shown.status == 0, shown.text
    assert "OnUnitInactiveSec=7200" in shown.text
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    wrote = trained.fab("train.schedule", "--write", env=home)
    assert wrote.status == 0, wrote.text
    assert "systemctl --user enable --now aideploy-retrain-small.sandbox.timer" in wrote.text
    assert "systemctl --user stop" not in wrote.text
    units = sorted((tmp_path / "systemd/user").iterdir())
    assert [unit.suffix for unit in units] == [".service", ".timer"]
    # The words of the unit are a command that works.
    [line] = [
        line.partition("=:")[2]
        for line in units[0].read_text().splitlines()
        if line.startswith("ExecStart=")
    ]
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=trained.folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing new" in done.stdout
    checked = subprocess.run(
        [need("systemd-analyze"), "--man=no", "verify", *units], capture_output=True, text=True
    )
    assert not [line for line in checked.stderr.splitlines() if "aideploy-retrain" in line]


@pytest.mark.parametrize("others", [False, True])
def test_the_timer_of_version_0_1_goes_unless_it_is_of_another_app_with_that_name(
    trained: SmallProject, tmp_path: Path, others: bool
) -> None:
    settle(trained, schedule="2h")
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    units, old = tmp_path / "systemd/user", "aideploy-retrain-small-sandbox"
    assert trained.fab("train.schedule", "--write", env=home).status == 0
    for unit in list(units.iterdir()):
        text = unit.read_text()
        unit.rename(units / f"{old}{unit.suffix}")
        if others:
            text = text.replace("Description=small,", "Description=small-sand,")
            (units / f"{old}{unit.suffix}").write_text(text)
    enabled = units / "timers.target.wants" / f"{old}.timer"
    enabled.parent.mkdir()
    enabled.symlink_to(units / f"{old}.timer")

    wrote = trained.fab("train.schedule", "--write", env=home)

    assert wrote.status == 0, wrote.text
    left = sorted(path.name for path in units.iterdir() if path.is_file())
    new = ["aideploy-retrain-small.sandbox.service", "aideploy-retrain-small.sandbox.timer"]
    assert left == ([f"{old}.service", f"{old}.timer", *new] if others else new)
    assert enabled.is_symlink() == others
    assert (f"Next: systemctl --user stop {old}.timer; " in wrote.text) != others


@pytest.mark.parametrize(
    ("arguments", "env", "text"),
    [
        (("--port", "0"), {"AIDEPLOY_RETRAIN_TOKEN": "x"}, "--port takes a whole number"),
        (("--pause", "soon"), {"AIDEPLOY_RETRAIN_TOKEN": "x"}, "--pause takes a duration"),
        ((), {"AIDEPLOY_RETRAIN_TOKEN": None}, "AIDEPLOY_RETRAIN_TOKEN: not in"),
        (
            ("--bind", "203.0.113.7"),
            {"AIDEPLOY_RETRAIN_TOKEN": "x"},
            "cannot listen on 203.0.113.7",
        ),
    ],
)
def test_a_listener_that_cannot_be_says_why(
    trained: SmallProject, arguments: tuple[str, ...], env: dict[str, str | None], text: str
) -> None:
    ran = trained.fab("train.listen", *arguments, env=env)
    assert ran.status in (ExitStatus.USAGE, ExitStatus.NOT_READY), ran.text
    assert text in ran.text and ran.shows_no_traceback


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A real Alertmanager: its address, and the port of the listener that it posts to."""
    port, listener = free_port(), free_port()
    (tmp_path / "alertmanager.yml").write_text(
        "route: {receiver: retrain, group_wait: 0s, group_interval: 1s, repeat_interval: 1h}\n"
        "receivers:\n- name: retrain\n  webhook_configs:\n"
        f"  - url: http://127.0.0.1:{listener}/retrain\n    http_config:\n"
        f"      authorization: {{credentials: '{TOKEN}'}}\n"
    )
    process = subprocess.Popen(
        [
            need("prometheus-alertmanager"),
            f"--config.file={tmp_path}/alertmanager.yml",
            f"--storage.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ],
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        assert eventually(lambda: is_ready(url))
        yield url, listener
    finally:
        process.terminate()
        process.wait(10)


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=2).is_success
    except httpx.HTTPError:
        return False


def test_an_alert_of_a_real_alertmanager_trains_and_deploys_what_is_new(
    trained: SmallProject, alertmanager: tuple[str, int], tmp_path: Path
) -> None:
    url, port = alertmanager
    (trained.folder / "data").write_text("of tonight")
    output = tmp_path / "listener.log"
    with output.open("wb") as log:
        listener = subprocess.Popen(
            trained.command("train.listen", "--port", str(port), "--token", "RETRAIN"),
            cwd=trained.folder,
            env={**os.environ, "RETRAIN": TOKEN},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        assert eventually(lambda: "listening on" in output.read_text()), output.read_text()
        for app in ("other", "small"):
            labels = {"alertname": f"Drift of {app}", "app": app, "env": "sandbox"}
            ends = (datetime.now(UTC) + timedelta(minutes=10)).isoformat()
            told = httpx.post(f"{url}/api/v2/alerts", json=[{"labels": labels, "endsAt": ends}])
            assert told.is_success, told.text
        assert eventually(lambda: "deploy ended with status 0" in output.read_text())
        assert model(trained) == "of tonight"
        said = output.read_text()
        assert "deploy begins: Drift of small" in said
        assert "Drift of other" not in said
        assert TOKEN not in said
    finally:
        listener.send_signal(signal.SIGTERM)
        status = listener.wait(30)
    assert status == ExitStatus.INTERRUPTED
    assert json.loads((trained.root() / "current/release.json").read_text())["who"]
