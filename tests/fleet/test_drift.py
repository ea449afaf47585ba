"""What a real host tells a real node_exporter of releases, of going back and of drift."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import ranker_versions
from tests.fleet.fixtures import RANKER, WHEELS
from tests.fleet.project import Project, eventually, repositories
from tests.lab.hosts import Bind, Host, Lab
from tests.lab.wheels import wheelhouse
from tests.needed import need

pytestmark = pytest.mark.fleet

TEXTFILE = "/var/lib/prometheus/node-exporter"
SERVE = """linked = ["data/"]
environment = { FEATURE_LOG = "data/features.jsonl" }"""
TELLING = f"""[monitoring]
textfile = "{TEXTFILE}"
"""
DRIFT = """[drift]
log = "data/features.jsonl"
schedule = "2s"
min_rows = 200
"""
# 300 questions of people who all hold a tablet, which is rare in training.
ASKING = """
import json, random, urllib.request
topics = ["books", "cars", "cooking", "fashion", "films", "finance", "games", "garden", "health"]
for number in range(300):
    asked = {
        "user": {"id": f"user-{number}", "interest": random.choice(topics), "days": number},
        "ads": [{"id": f"ad-{n}", "category": random.choice(topics)} for n in range(4)],
        "context": {"device": "tablet", "site": "site-1", "hour": number % 24},
    }
    urllib.request.urlopen("http://127.0.0.1:8340/predict", json.dumps(asked).encode()).read()
"""


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Lab]:
    exporter = need("prometheus-node-exporter")
    wheels = Bind(wheelhouse(RANKER / "requirements.txt"), WHEELS)
    with Lab(1, binds=[wheels, repositories(tmp_path / "repositories")]) as lab:
        [host] = lab.hosts
        shutil.copy(exporter, host.path("/opt/node_exporter"))
        # As Debian's package leaves it.
        host.exec(f"install -d -m 755 {TEXTFILE}")
        host.exec(
            "systemd-run --unit=exporter -p User=nobody /opt/node_exporter"
            f" --collector.disable-defaults --collector.textfile"
            f" --collector.textfile.directory={TEXTFILE} --web.listen-address=127.0.0.1:9100"
        )
        yield lab


def told(host: Host) -> dict[str, float]:
    """What node_exporter says of the app, by name and labels."""
    asking = "urllib.request.urlopen('http://127.0.0.1:9100/metrics').read().decode()"
    text = host.exec(f'python3 -c "import urllib.request; print({asking})"').stdout
    assert re.search(r"^node_textfile_scrape_error 0$", text, re.M), text
    lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith("aideploy_"))
    common = 'app="drifting",env="test"'
    return {
        name.replace(f"{{{common}}}", "").replace(f"{common},", ""): float(value)
        for name, _, value in lines
    }


def test_a_host_tells_of_releases_of_going_back_and_of_drift(watched: Lab, tmp_path: Path) -> None:
    [host] = watched.hosts
    project = Project(
        watched,
        tmp_path / "drifting",
        hosts=[host],
        app="drifting",
        port=8340,
        strategy="blue_green",
        serve=SERVE,
        tables=f"find_links = '{WHEELS}'",
        command="gunicorn app:app --bind $BIND:$PORT --workers 1 --threads 2",
        train="python train.py",
        train_environment='{ RANKER_ROWS = "100000" }',
        more=TELLING + DRIFT,
    )
    revisions = ranker_versions.history(tmp_path / "ranker")
    push = partial(project.push, tmp_path / "ranker")

    project.set_up()
    before = host.exec("systemctl show -p ActiveEnterTimestamp drifting-drift.timer").stdout
    project.fab("setup")
    after = host.exec("systemctl show -p ActiveEnterTimestamp drifting-drift.timer").stdout
    assert before == after
    # Nobody got rights in node_exporter's folder.
    listed = host.exec(f"stat -c '%U %a' {TEXTFILE}; ls -l {TEXTFILE}").stdout
    assert listed.startswith("root 755\n")
    assert "/srv/drifting/metrics/aideploy-drifting.test.prom" in listed
    assert told(host) == {}

    push(revisions.first)
    project.fab("deploy")
    first = told(host)
    live = host.exec("readlink /srv/drifting/current").stdout.strip().removeprefix("releases/")
    [info] = [name for name in first if name.startswith("aideploy_release_info")]
    assert live in info and revisions.first in info
    assert first["aideploy_deploy_last_status"] == 1
    assert first["aideploy_training_last_failed"] == 0
    assert first['aideploy_model_metric{metric="auc",slice=""}'] > 0.6
    assert "aideploy_model_trained_timestamp_seconds" in first

    # Nobody asks anything yet: no score. Then everybody asks from a tablet.
    assert eventually(lambda: told(host).get("aideploy_drift_window_rows") == 0, within=60)
    host.path("/opt/asking.py").write_text(ASKING)
    host.exec("python3 /opt/asking.py")
    assert eventually(lambda: told(host).get("aideploy_drift_window_rows", 0) >= 300, within=60)
    drifted = told(host)
    assert drifted['aideploy_drift_score{feature="device",method="psi"}'] > 1
    assert 'aideploy_drift_score{feature="prediction",method="wasserstein"}' in drifted
    assert drifted["aideploy_drift_last_failed"] == 0
    assert "the data has drifted beyond the limit: device psi " in project.fab("status").output
    said = host.exec("systemctl show -p Result --value drifting-drift.service").stdout
    assert said == "success\n"

    # A deploy whose controller dies in the watch: the host goes back alone, and tells.
    push(revisions.improved)
    project.configure(bake="60s", more=TELLING + DRIFT)
    deploy = project.start("deploy")
    deploy.wait_for_phase("watch")
    assert revisions.improved in str(told(host))
    deploy.kill()
    assert eventually(lambda: told(host)["aideploy_deploy_last_status"] == 0, within=60)
    back = told(host)
    assert info in back
    assert back["aideploy_last_revert_timestamp_seconds"] > 1e9

    # Nobody wants to know any more.
    project.configure(bake="1s", more=TELLING)
    project.set_up()
    assert not any("drift" in name for name in told(host))
    units = "systemctl list-unit-files --no-legend 'drifting-drift*'"
    assert host.exec(units, check=False).stdout == ""
