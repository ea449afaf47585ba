"""Promises of the rules behind `fab diagnose`: the likeliest first, nothing without a reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aideploy.diagnosis import words
from aideploy.diagnosis.cause import Cause, Kind, Sure, ranked
from aideploy.diagnosis.fleet_rules import of_fleet, of_prometheus
from aideploy.diagnosis.host_rules import of_host
from aideploy.diagnosis.look import Disk, Gpus, HostLook, Link, Port, Unit
from aideploy.monitoring.prometheus_api import Alert, ScrapeTarget
from aideploy.phases.condition import Change
from aideploy.settings import Settings
from tests.hosts_toml import TRAINED_AND_SERVED, loaded

RELEASE = "20260101T000000Z-aaaaaaa"
ROOT = "/srv/ranker"
GIGABYTE = 1 << 30
HOSTS = f"""\
{TRAINED_AND_SERVED}
strategy = "recreate"
secrets = ["API_TOKEN"]
[environments.production.hosts.web1]
address = "web1"
"""
WELL = HostLook(
    host="web1",
    now="2026-01-01T12:00:00",
    user="deploy",
    disks=(Disk("/", 100 * GIGABYTE, 50 * GIGABYTE),),
    inodes=(Disk("/", 1000, 500),),
    release=RELEASE,
    links=(
        Link("current", "ok", f"{ROOT}/current", f"releases/{RELEASE}"),
        Link("venv", "ok", f"{ROOT}/current/.venv", "../../venvs/abc"),
        Link("model", "ok", f"{ROOT}/current/model", "../../models/def"),
    ),
    interpreter="0 ",
    variables=frozenset({"API_TOKEN", "PATH", "MODEL_DIR"}),
    slot="live",
    service="active",
    units={
        "ranker@live.service": Unit("ranker@live.service", True, "active", "running", "success")
    },
    uptime=90000,
    ports=(Port("live", 8000, "ranker"), Port("staged", 18000)),
    healthy=True,
    health="healthy after 0.0 s",
)
FAILED = Unit("ranker@live.service", True, "failed", "failed", "exit-code", restarts=5, status="1")
STAMP = "2026-01-01T11:59:00+0000 web1"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return loaded(tmp_path, HOSTS)


def crashed(*said: str, **changes: Any) -> HostLook:
    """The host whose service ends again and again, with these last words."""
    lines = [
        f"{STAMP} systemd[1]: Starting ranker@live.service - ranker, the release in slot live...",
        *(f"{STAMP} ranker-live[42]: {line}" for line in said),
        f"{STAMP} systemd[1]: ranker@live.service: Main process exited, code=exited, status=1",
    ]
    units = {FAILED.name: FAILED}
    base = replace(WELL, service="failed", units=units, healthy=False, log=tuple(lines) * 2)
    return replace(base, **changes)


def causes(settings: Settings, look: HostLook) -> tuple[Cause, ...]:
    return ranked(of_host(settings, settings.hosts[0], look))


def test_a_well_host_has_no_cause(settings: Settings) -> None:
    assert causes(settings, WELL) == ()


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("KeyError: 'FEATURE_STORE_URL'", Kind.SECRET_MISSING),
        ("/bin/bash: line 1: S3_KEY: unbound variable", Kind.SECRET_MISSING),
        ("ValueError: environment variable HF_TOKEN is not set", Kind.SECRET_MISSING),
        ("OSError: [Errno 98] Address already in use", Kind.PORT_TAKEN),
        ("ModuleNotFoundError: No module named 'numpy'", Kind.ENVIRONMENT_BROKEN),
        ("ImportError: libcudart.so.12: cannot open shared object file", Kind.ENVIRONMENT_BROKEN),
        (f"FileNotFoundError: [Errno 2] ... '{ROOT}/models/x/weights.bin'", Kind.MODEL_MISSING),
        ("FileNotFoundError: No such file or directory: 'model/weights'", Kind.MODEL_MISSING),
        ("OSError: [Errno 28] No space left on device: '/tmp/x'", Kind.DISK_FULL),
        ("MemoryError", Kind.OUT_OF_MEMORY),
        ("torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to", Kind.OUT_OF_MEMORY),
        ("RuntimeError: CUDA error: no CUDA-capable device is detected", Kind.GPU_LOST),
        ("ValueError: shapes (3,) and (4,) not aligned", Kind.CRASH_LOOP),
        # Words in capitals that are no variables, files that are no models.
        ("ERROR missing value in row 7", Kind.CRASH_LOOP),
        ("FileNotFoundError: No such file or directory: 'config.yaml'", Kind.CRASH_LOOP),
    ],
)
def test_the_last_words_of_a_service_say_why(settings: Settings, line: str, kind: Kind) -> None:
    found = causes(settings, crashed("Traceback (most recent call last):", line))

    assert [cause.kind for cause in found] == [kind]
    assert any(line in evidence for evidence in found[0].evidence)
    assert found[0].next_step


def test_what_an_earlier_run_said_is_not_why(settings: Settings) -> None:
    earlier = crashed("KeyError: 'FEATURE_STORE_URL'").log
    now = crashed("OSError: [Errno 98] Address already in use").log

    found = causes(settings, crashed(log=(*earlier, *now)))

    assert [cause.kind for cause in found] == [Kind.PORT_TAKEN]


def test_what_a_service_said_before_its_haproxy_stopped_is_not_why(settings: Settings) -> None:
    front = Unit("ranker-haproxy.service", True, "inactive", "dead", "success")
    log = (f"{STAMP} ranker-live[42]: FileNotFoundError: [Errno 2] ... '{ROOT}/models/x/weights'",)
    look = replace(
        WELL,
        healthy=False,
        health="connection refused",
        units={**WELL.units, front.name: front},
        haproxy_silent="no such file",
        log=log,
    )
    assert [cause.kind for cause in causes(settings, look)] == [Kind.HAPROXY_DOWN]


def test_old_words_of_a_service_that_is_well_are_no_cause(settings: Settings) -> None:
    log = crashed("KeyError: 'FEATURE_STORE_URL'", "MemoryError").log
    assert causes(settings, replace(WELL, log=log, now="2026-01-03T12:00:00")) == ()


def test_a_service_that_was_killed_and_is_back_is_named_all_the_same(settings: Settings) -> None:
    log = (f"{STAMP} systemd[1]: ranker@live.service: Failed with result 'oom-kill'.",)

    (found,) = causes(settings, replace(WELL, log=log))

    assert (found.kind, found.sure) == (Kind.OUT_OF_MEMORY, Sure.NOTED)


def test_a_kill_that_somebody_asked_for_is_no_lack_of_memory() -> None:
    killed = f"{STAMP} systemd[1]: x: Main process exited, code=killed, status=9/KILL"
    stopping = f"{STAMP} systemd[1]: Stopping x..."
    assert words.killed([killed]) == killed
    assert words.killed([stopping, killed]) == ""


@pytest.mark.parametrize(
    ("changes", "kind", "sure"),
    [
        ({"set_up": False}, Kind.NOT_SET_UP, Sure.PROVEN),
        ({"service": "missing"}, Kind.NOT_SET_UP, Sure.PROVEN),
        ({"service": "inactive", "healthy": False}, Kind.STOPPED, Sure.FOUND),
        ({"healthy": False, "health": "answered 500"}, Kind.UNHEALTHY, Sure.FOUND),
        ({"disks": (Disk("/", GIGABYTE, 5 << 20),)}, Kind.DISK_FULL, Sure.FOUND),
        ({"inodes": (Disk("/", 100000, 3),)}, Kind.DISK_FULL, Sure.FOUND),
        ({"read_only": "/"}, Kind.READ_ONLY, Sure.FOUND),
        (
            {"links": (Link("model", "dangling", f"{ROOT}/current/model", "../../models/x"),)},
            Kind.MODEL_MISSING,
            Sure.FOUND,
        ),
        (
            {"links": (Link("venv", "dangling", f"{ROOT}/current/.venv", "../../venvs/x"),)},
            Kind.ENVIRONMENT_BROKEN,
            Sure.FOUND,
        ),
        (
            {"release": "", "links": (Link("current", "dangling", "c", "releases/x"),)},
            Kind.RELEASE_MISSING,
            Sure.PROVEN,
        ),
        ({"interpreter": "127 no such file"}, Kind.ENVIRONMENT_BROKEN, Sure.FOUND),
        ({"changed": (Change("venv", "lib/x.py"),)}, Kind.ENVIRONMENT_BROKEN, Sure.NOTED),
        ({"changed": (Change("release", "app.py"),)}, Kind.CHANGED, Sure.NOTED),
        ({"variables": frozenset({"PATH"})}, Kind.SECRET_MISSING, Sure.NOTED),
        ({"empty": frozenset({"API_TOKEN"})}, Kind.SECRET_MISSING, Sure.NOTED),
        ({"no_env": f"{ROOT}/env"}, Kind.SECRET_MISSING, Sure.NOTED),
        ({"missing_linked": (f"{ROOT}/shared/.env",)}, Kind.FILE_MISSING, Sure.NOTED),
        ({"kernel": ("NVRM: Xid (PCI:0000:3b:00): 31, pid=1",)}, Kind.GPU_LOST, Sure.NOTED),
        ({"gpus": Gpus(15, ("GPU is lost",))}, Kind.GPU_LOST, Sure.FOUND),
        ({"ports": (Port("staged", 18000, "root"),)}, Kind.PORT_TAKEN, Sure.NOTED),
        ({"haproxy_silent": "Connection refused"}, Kind.HAPROXY_DOWN, Sure.FOUND),
        ({"in_held_rollout": True}, Kind.HELD, Sure.NOTED),
    ],
)
def test_each_state_that_is_wrong_is_named_alone(
    settings: Settings, changes: dict[str, Any], kind: Kind, sure: Sure
) -> None:
    (found,) = causes(settings, replace(WELL, **changes))
    assert (found.kind, found.sure) == (kind, sure)
    assert found.next_step


def test_what_the_service_says_comes_before_what_merely_is_not_well(settings: Settings) -> None:
    full = (Disk("/", GIGABYTE, 0),)
    found = causes(settings, crashed("KeyError: 'FEATURE_STORE_URL'", disks=full))
    assert [cause.kind for cause in found] == [Kind.SECRET_MISSING, Kind.DISK_FULL]


def test_a_full_disk_does_not_hide_a_crash_that_has_nothing_to_do_with_it(
    settings: Settings,
) -> None:
    found = causes(settings, crashed("ValueError: no", disks=(Disk("/", GIGABYTE, 0),)))
    assert {cause.kind for cause in found} == {Kind.DISK_FULL, Kind.CRASH_LOOP}


def test_a_large_disk_is_not_full_with_gigabytes_left(settings: Settings) -> None:
    disks = (Disk("/", 10_000 * GIGABYTE, 5 * GIGABYTE),)
    assert causes(settings, replace(WELL, disks=disks)) == ()


def test_hosts_on_different_releases_are_named_unless_somebody_is_at_work() -> None:
    other = replace(WELL, host="web2", release="20260102T000000Z-bbbbbbb")
    (found,) = of_fleet({"web1": WELL, "web2": other})
    assert found.kind is Kind.SKEW
    assert not list(of_fleet({"web1": replace(WELL, lock="ada"), "web2": other}))


def test_of_prometheus_only_what_is_ours_and_fires_is_named() -> None:
    ours = {"app": "ranker", "env": "production", "host": "web1"}
    alerts = [
        Alert(labels={"alertname": "A", **ours}, annotations={"summary": "bad"}, state="firing"),
        Alert(labels={"alertname": "B", **ours}, state="pending"),
        Alert(labels={"alertname": "C", **ours, "app": "other"}, state="firing"),
        Alert(labels={"alertname": "D", **ours, "env": "staging"}, state="firing"),
        Alert(labels={"alertname": "E", "app": "other", "host": "web9"}, state="firing"),
    ]
    targets = [
        ScrapeTarget(labels=ours, scrapeUrl="http://web1/m", lastError="refused", health="down"),
        ScrapeTarget(labels=ours, scrapeUrl="http://web1/n", health="up"),
        ScrapeTarget(labels={"job": "x"}, scrapeUrl="http://web9/m", health="down"),
    ]
    found = list(of_prometheus("ranker", "production", ["web1"], targets, alerts))
    assert [(one.kind, one.host) for one in found] == [
        (Kind.ALERT, "web1"),
        (Kind.TARGET_DOWN, "web1"),
    ]
    assert found[0].what == "A fires"
    assert found[1].evidence == ("refused",)


def test_of_what_hangs_nothing_else_is_claimed(settings: Settings) -> None:
    [cause] = of_host(
        settings,
        settings.hosts[0],
        HostLook(host="web1", set_up=False, unanswered=("the machine",)),
    )
    assert cause.kind is Kind.HANGS and "the machine" in cause.what
    parts = ("the service", "the GPUs")
    [cause] = of_host(settings, settings.hosts[0], HostLook(host="web1", unanswered=parts))
    assert "the service and the GPUs" in cause.what
