"""What a host tells node_exporter of its releases and trainings: metrics.sh as it is rendered, run
on folders as a host has them, whole and damaged; read by promtool and by a real node_exporter."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import time
from collections.abc import Mapping
from getpass import getuser
from pathlib import Path, PurePosixPath

import httpx
import pytest

from aideploy.phases.facts import HostFacts
from aideploy.phases.service import finish
from aideploy.phases.setup import set_up, setup
from aideploy.services.files import rendered_files
from aideploy.settings import Settings, load
from tests.needed import need
from tests.scripts.running import Calls, Ran, run_bare
from tests.web_server import free_port

RELEASE = "20260102T030405Z-abcdef0"
OLDER = "20260101T030405Z-1234567"


class OneHost:
    """The folder of an app on a host that trains, and the folder of its node_exporter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "srv" / "ranker"
        self.textfile = folder / "textfile"
        self.textfile.mkdir()
        self.write_settings()

    def write_settings(self, environment: str = "production", textfile: Path | None = None) -> None:
        (self.folder / "hosts.toml").write_text(
            f"[app]\nname = 'ranker'\nrepository = '/unused'\ndeploy_to = '{self.root}'\n"
            "[train]\ncommand = 'unused'\n"
            f"[monitoring]\ntextfile = '{textfile or self.textfile}'\n"
            f"[environments.{environment}.hosts.t1]\naddress = 't1.example'\nroles = ['train']\n"
        )

    @property
    def settings(self) -> Settings:
        return load(self.folder / "hosts.toml", None)

    def set_up(self) -> Ran:
        settings = self.settings
        root = PurePosixPath(self.root)
        script = setup(settings, settings.hosts[0], root=root, user=getuser())
        return run_bare(script, {"HOME": str(self.folder), "PATH": os.environ["PATH"]})

    def live(self, release: str, record: object = None) -> None:
        place = self.root / "releases" / release
        place.mkdir()
        (place / "release.json").write_text(json.dumps(record if record is not None else {}))
        (self.root / "current").unlink(missing_ok=True)
        (self.root / "current").symlink_to(f"releases/{release}")

    def journal(self, *entries: tuple[str, str, str]) -> None:
        with (self.root / "journal.jsonl").open("a") as file:
            for at, verdict, release in entries:
                values = {"at": at, "verdict": verdict, "release": release}
                file.write(json.dumps(values) + "\n")

    def job(self, name: str, attempt: str = "", **status: object) -> Path:
        folder = self.root / "jobs" / name
        folder = folder / "attempts" / attempt if attempt else folder
        folder.mkdir(parents=True)
        (folder / "status.json").write_text(json.dumps(status))
        return folder / "status.json"

    def tell(self) -> dict[str, float]:
        """Run the program and return what it wrote, without the labels that all have."""
        told = subprocess.run([self.root / "metrics.sh"], capture_output=True, text=True)
        assert told.returncode == 0, told.stderr
        return self.read()

    def read(self) -> dict[str, float]:
        text = (self.textfile / "aideploy-ranker.production.prom").read_text()
        assert "app=" in text or text == ""
        pairs = (line.rpartition(" ") for line in text.splitlines() if line[0] != "#")
        common = 'app="ranker",env="production"'
        return {
            name.replace(f"{{{common}}}", "").replace(f"{common},", ""): float(value)
            for name, _, value in pairs
        }


@pytest.fixture
def host(tmp_path: Path) -> OneHost:
    host = OneHost(tmp_path)
    ran = host.set_up()
    assert ran.status == 0, ran.output
    return host


def test_all_that_is_known_is_told_and_promtool_has_nothing_against_it(host: OneHost) -> None:
    record = {
        "revision": "abcdef0" * 5 + "12345",
        "model": "f" * 64,
        "training": {"ended": "2026-01-02T03:00:00Z"},
        "metrics": {"auc": 0.71, "rows": 1000, "slices": {"new_users": {"auc": 0.6}}},
    }
    host.live(RELEASE, record)
    host.journal(
        ("2026-01-02T03:04:05+00:00", "prepared", RELEASE),
        ("2026-01-02T03:04:10+00:00", "live", RELEASE),
        ("2026-01-02T03:06:00+00:00", "good", RELEASE),
    )
    host.job("aaaa", state="SUCCEEDED", ended="2026-01-02T03:00:00Z", seconds=12.5)
    revision, model = record["revision"], record["model"]
    assert host.tell() == {
        f'aideploy_release_info{{release="{RELEASE}",revision="{revision}",model="{model}"}}': 1,
        "aideploy_release_timestamp_seconds": 1767323050,
        "aideploy_deploy_last_success_timestamp_seconds": 1767323160,
        "aideploy_deploy_last_status": 1,
        "aideploy_training_last_success_timestamp_seconds": 1767322800,
        "aideploy_training_last_failed": 0,
        "aideploy_training_duration_seconds": 12.5,
        "aideploy_model_trained_timestamp_seconds": 1767322800,
        'aideploy_model_metric{metric="auc",slice=""}': 0.71,
        'aideploy_model_metric{metric="rows",slice=""}': 1000,
        'aideploy_model_metric{metric="auc",slice="new_users"}': 0.6,
    }
    check_by_promtool(host.textfile / "aideploy-ranker.production.prom")


def test_a_host_that_went_back_says_so_until_a_release_is_good_again(host: OneHost) -> None:
    host.live(OLDER)
    host.journal(
        ("2026-01-01T03:06:00+00:00", "good", OLDER),
        ("2026-01-02T03:04:10+00:00", "live", RELEASE),
        ("2026-01-02T03:05:00+00:00", "reverted", RELEASE),
        ("2026-01-02T03:05:00+00:00", "live", OLDER),
    )
    told = host.tell()
    assert told["aideploy_deploy_last_status"] == 0
    assert told["aideploy_last_revert_timestamp_seconds"] == 1767323100
    assert told["aideploy_deploy_last_success_timestamp_seconds"] == 1767236760
    assert told["aideploy_release_timestamp_seconds"] == 1767323100
    host.journal(("2026-01-03T00:00:00+00:00", "good", RELEASE))
    assert host.tell()["aideploy_deploy_last_status"] == 1


def test_a_failed_training_is_told_and_a_cancelled_one_is_not_a_failure(host: OneHost) -> None:
    host.job("aaaa", state="SUCCEEDED", ended="2026-01-02T03:00:00Z", seconds=10.0)
    host.job("bbbb", state="CANCELLED", ended="2026-01-02T05:00:00Z", seconds=1.0)
    assert host.tell()["aideploy_training_last_failed"] == 0
    host.job("cccc", "1", state="OUT_OF_MEMORY", ended="2026-01-02T04:00:00Z", seconds=99.0)
    told = host.tell()
    assert told["aideploy_training_last_failed"] == 1
    assert told["aideploy_training_last_success_timestamp_seconds"] == 1767322800
    assert told["aideploy_training_duration_seconds"] == 10


def lost(host: OneHost, name: str, engine: str = "local") -> Path:
    """A job whose host was restarted in its midst."""
    folder = host.job(name).parent
    (folder / "status.json").unlink()
    for file, text in (("started", "7 x"), ("engine", f"{engine}\n"), ("alive", ""), ("log", "")):
        (folder / file).write_text(text)
    return folder


def test_a_training_that_was_lost_is_told_as_failed(host: OneHost) -> None:
    host.job("aaaa", state="SUCCEEDED", ended="2026-01-02T03:00:00Z", seconds=10.0)
    folder = lost(host, "bbbb", "local system aideploy-ranker-bbbb.service")
    assert host.tell()["aideploy_training_last_failed"] == 1
    host.job("cccc", state="SUCCEEDED", ended="2099-01-02T03:00:00Z", seconds=10.0)
    assert host.tell()["aideploy_training_last_failed"] == 0
    os.utime(folder / "log", (5e9, 5e9))
    assert host.tell()["aideploy_training_last_failed"] == 1


def test_a_training_that_runs_or_was_cancelled_or_is_elsewhere_is_not_lost(host: OneHost) -> None:
    host.job("aaaa", state="SUCCEEDED", ended="2026-01-02T03:00:00Z", seconds=10.0)
    with (lost(host, "bbbb") / "alive").open() as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        (lost(host, "cccc") / "cancel").write_text("ann")
        lost(host, "dddd", "slurm 7")
        (lost(host, "eeee") / "started").unlink()
        assert host.tell()["aideploy_training_last_failed"] == 0


@pytest.mark.parametrize("engine", ["slurm 7", "ray aideploy-ranker-dddd-1 http://127.0.0.1 ray"])
def test_a_training_in_a_cluster_is_lost_when_somebody_found_that_of_this_attempt(
    host: OneHost, engine: str
) -> None:
    host.job("aaaa", state="SUCCEEDED", ended="2026-01-02T03:00:00Z", seconds=10.0)
    folder = lost(host, "dddd", engine)
    for note, failed in (("slurm 6", 0), ("", 0), (engine, 1)):
        (folder / "lost").write_text(f"{note}\n")
        assert host.tell()["aideploy_training_last_failed"] == failed
    # While it waits it has no other sign of life than that it was handed over.
    (folder / "started").unlink()
    assert host.tell()["aideploy_training_last_failed"] == 1
    (folder / "status.json").write_text('{"state": "SUCCEEDED", "ended": "2099-01-02T03:00:00Z"}')
    assert host.tell()["aideploy_training_last_failed"] == 0


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("current/release.json", b'{"revision": "abc", "metr'),
        ("current/release.json", b"[" * 100_000),
        ("current/release.json", b'{"metrics": {"auc": NaN, "big": 1e999, "n": "x", "t": true}}'),
        ("current/release.json", b'{"metrics": [1], "training": 7, "model": ["x"]}'),
        (
            "current/release.json",
            b'{"training": {"ended": "yesterday"}, "metrics": {"s": 9' * 400 + b"}}",
        ),
        ("journal.jsonl", b'\xff\xfe{"verdict": "good"\n{"verdict": "good", "at": 7}\n[]\n{}'),
        ("jobs/aaaa/status.json", b'{"state": "SUCCEEDED", "ended": "2026-'),
        ("jobs/aaaa/status.json", b""),
    ],
)
def test_what_is_damaged_is_unknown_and_takes_nothing_else_with_it(
    host: OneHost, path: str, content: bytes
) -> None:
    host.live(RELEASE, {"revision": "abc"})
    host.journal(("2026-01-02T03:06:00+00:00", "good", RELEASE))
    host.job("aaaa", state="SUCCEEDED", ended="2026-01-02T03:00:00Z", seconds=12.5)
    host.tell()
    (host.root / path).write_bytes(content)
    told = host.tell()
    assert any(name.startswith("aideploy_release_info") for name in told)
    survivor = "training_last_failed" if path.startswith("journal") else "deploy_last_status"
    assert f"aideploy_{survivor}" in told
    assert not any("nan" in str(value) or "inf" in str(value) for value in told.values())
    check_by_promtool(host.textfile / "aideploy-ranker.production.prom")


def test_names_that_would_break_the_format_are_escaped(host: OneHost) -> None:
    wild = 'a"b\\c\nd{}\ud800' + "x" * 500
    host.live(RELEASE, {"revision": wild, "metrics": {wild: 1.0, "slices": {"s\r": {"m": 2}}}})
    host.tell()
    check_by_promtool(host.textfile / "aideploy-ranker.production.prom")


def test_where_it_cannot_be_written_the_old_file_stays_and_a_deploy_goes_on(host: OneHost) -> None:
    host.live(RELEASE)
    before = host.tell()
    host.live(OLDER)
    metrics = host.root / "metrics"
    full = Calls(
        "calls",
        body=f"root='{host.root}'\nulimit -f 0\nwrite_metrics\nemit went on",
    )
    ran = run_bare(full, {"PATH": os.environ["PATH"]})
    assert ran.status == 0
    assert ran.result.text("went") == "on"
    assert host.read() == before
    assert [path.name for path in metrics.iterdir()] == ["aideploy-ranker.production.prom"]


def test_the_end_of_a_deploy_tells(host: OneHost) -> None:
    host.live(RELEASE)
    settings = host.settings
    facts = HostFacts(host="t1", root=PurePosixPath(host.root), user=getuser())
    script = finish(settings, facts, (), (RELEASE,))
    assert run_bare(script, {"HOME": "/", "PATH": os.environ["PATH"]}).status == 0
    assert any(RELEASE in name for name in host.read())


def test_setup_changes_nothing_twice_and_follows_a_renamed_environment(host: OneHost) -> None:
    assert str(set_up([host.set_up().result])) == "nothing to change"
    link = host.textfile / "aideploy-ranker.production.prom"
    stranger = host.textfile / "aideploy-ranker-other.prom"
    stranger.write_text("")
    assert str(link.readlink()) == str(host.root / "metrics" / link.name)
    host.write_settings("staging")
    assert f"{link} removed" in set_up([host.set_up().result]).changed
    assert not link.is_symlink()
    assert (host.textfile / "aideploy-ranker.staging.prom").exists()
    assert stranger.exists()


def test_setup_removes_what_version_0_1_told_under_another_name(host: OneHost) -> None:
    old = host.root / "metrics" / "aideploy-ranker-production.prom"
    old.write_text("")
    link = host.textfile / old.name
    link.symlink_to(old)
    other = host.textfile / "aideploy-ranker-2.production.prom"
    other.symlink_to(host.folder / "elsewhere")
    assert f"{link} removed" in set_up([host.set_up().result]).changed
    assert not link.is_symlink() and not old.exists()
    assert other.is_symlink()
    assert str(set_up([host.set_up().result])) == "nothing to change"


def test_without_node_exporters_folder_setup_says_so_and_writes_nothing_there(
    tmp_path: Path,
) -> None:
    host = OneHost(tmp_path)
    host.write_settings(textfile=tmp_path / "nowhere")
    ran = host.set_up()
    assert ran.status == 0
    [notice] = set_up([ran.result]).notices
    assert "there is no folder" in notice and "nowhere" in notice
    assert not (tmp_path / "nowhere").exists()


def test_a_real_node_exporter_shows_what_was_told(host: OneHost) -> None:
    host.live(RELEASE, {"revision": 'a"b'})
    host.tell()
    answer = asked_node_exporter(host.textfile)
    assert re.search(rf'^aideploy_release_info{{.*release="{RELEASE}".*}} 1$', answer, re.M)
    assert "node_textfile_scrape_error 0" in answer


def test_the_file_lies_where_the_settings_say(host: OneHost) -> None:
    settings = host.settings
    files = rendered_files(
        settings, settings.hosts[0], root=PurePosixPath(host.root), user=getuser()
    )
    assert [file.path.name for file in files] == ["metrics.sh"]


def check_by_promtool(file: Path) -> None:
    """Let promtool parse the file; what it thinks of names is not asked here."""
    promtool = need("promtool")
    with file.open() as metrics:
        done = subprocess.run(
            [promtool, "check", "metrics"], stdin=metrics, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stdout + done.stderr


def asked_node_exporter(folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Return what a node_exporter says that reads this folder and nothing else."""
    port = free_port()
    process = subprocess.Popen(
        [
            need("prometheus-node-exporter"),
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={folder}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        for _ in range(100):
            try:
                return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
            except httpx.HTTPError:
                time.sleep(0.1)
        raise AssertionError("node_exporter does not answer")
    finally:
        process.terminate()
        process.wait(10)
