"""`fab diagnose` names what is wrong first: ten faults staged on real hosts, and none on well ones.

There is no GPU on these hosts: a program in the place of nvidia-smi prints what the driver says of
one that is lost.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from aideploy.commands.diagnose import diagnose
from aideploy.diagnosis.cause import Kind
from aideploy.errors import ExitStatus
from aideploy.events import Event, SessionEnded
from aideploy.report.choose import Shown
from aideploy.running import running
from aideploy.settings import load
from tests.fleet.project import Project, eventually, repositories
from tests.lab.hosts import Host, Lab

pytestmark = pytest.mark.fleet

APP, PORT = "ill", 8600
DISK = 420 << 20
MEMORY = 300 << 20
WELL_GPU = "0, NVIDIA L4, GPU-5d9c1f60-0b6e-4f7c-9b8e-3a1d2c4e5f60, 411, 23034, 41, 0"
LOST_GPU = (
    "Unable to determine the device handle for GPU0000:3B:00.0: GPU is lost.  "
    "Reboot the system to recover this GPU"
)


@dataclass(frozen=True)
class Ward:
    """Two hosts with one app: the first falls ill, the second stays well."""

    project: Project

    @property
    def host(self) -> Host:
        return self.project.hosts[0]

    @property
    def unit(self) -> str:
        """The live slot of the first host."""
        root = self.project.root
        test = f"[ {root}/slots/green/release -ef {root}/current ]"
        slot = self.host.exec(f"if {test}; then echo green; else echo blue; fi").stdout.strip()
        return f"{APP}@{slot}"

    @property
    def port(self) -> int:
        return PORT + 10000 + self.unit.endswith("green")

    def put(self, name: str, text: str) -> None:
        """Write a file into the folder that all releases share."""
        self.host.exec(f"printf '%s' '{text}' >{self.project.root}/shared/{name}")

    def take(self, name: str) -> None:
        self.host.exec(f"rm -f {self.project.root}/shared/{name}")

    def restart(self) -> None:
        self.host.exec(
            f"systemctl reset-failed '{APP}*'; systemctl restart {self.unit}", check=False
        )

    def given_up(self) -> bool:
        """Whether systemd has stopped to start it again."""
        said = self.host.exec(f"systemctl show --property=ActiveState {self.unit}").stdout
        return "=failed" in said

    def is_well(self) -> bool:
        return all(self.project.served(host) for host in self.project.hosts)

    def diagnose(self, expected: ExitStatus = ExitStatus.NOT_READY) -> dict[str, Any]:
        """What it says as JSON; the last word, for people, stands behind that."""
        said = self.project.fab("diagnose", "--json", expected=expected).output
        answer: dict[str, Any]
        answer, _ = json.JSONDecoder().raw_decode(said[said.index("{\n") :])
        return answer


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    folder = repositories(tmp_path_factory.mktemp("repositories"))
    with Lab(2, binds=[folder]) as lab:
        lab.hosts[0].exec(f"install -d -o deploy -g deploy /srv/{APP}")
        lab.hosts[0].fill_disk(f"/srv/{APP}", DISK)
        project = Project(
            lab,
            tmp_path_factory.mktemp(APP),
            app=APP,
            port=PORT,
            strategy="blue_green",
            serve='secrets = ["API_TOKEN"]\nsecrets_file = "secrets.env"',
            command="exec .venv/bin/python serve.py",
        )
        (project.folder / "secrets.env").write_text("API_TOKEN=hunter2-is-secret\n")
        gpus = f"address = '{lab.hosts[0].address}'"
        file = project.folder / "hosts.toml"
        file.write_text(file.read_text().replace(gpus, f"{gpus}\ngpus = 1"))
        nvidia_smi(lab.hosts[0], WELL_GPU, 0)
        project.set_up()
        project.deploy(needs=["API_TOKEN"], ill_when_told=True)
        yield Ward(project)


@pytest.fixture(autouse=True)
def well(ward: Ward) -> None:
    """Each test finds the fleet well."""
    if not ward.is_well():
        ward.restart()
    assert eventually(ward.is_well, within=30)


def nvidia_smi(host: Host, says: str, status: int) -> None:
    program = host.path("/usr/local/bin/nvidia-smi")
    program.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
    program.chmod(0o755)


# -- the faults -----------------------------------------------------------------------------------


@contextmanager
def no_start(ward: Ward) -> Iterator[None]:
    """The service, broken already, is given up; what is mended in the end is started."""
    ward.restart()
    assert eventually(ward.given_up, within=60)
    yield
    ward.restart()


@contextmanager
def crash_loop(ward: Ward) -> Iterator[None]:
    ward.put("end", "")
    with no_start(ward):
        yield
        ward.take("end")


@contextmanager
def out_of_memory(ward: Ward) -> Iterator[None]:
    ward.put("eat", "600")
    ward.host.limit_memory(MEMORY)
    try:
        ward.restart()
        assert eventually(ward.given_up, within=60)
        yield
    finally:
        ward.host.free_memory()
        ward.take("eat")
        ward.restart()


@contextmanager
def full_disk(ward: Ward) -> Iterator[None]:
    ward.host.exec(f"dd if=/dev/zero of=/srv/{APP}/shared/full bs=1M", check=False)
    yield
    ward.take("full")


@contextmanager
def port_taken(ward: Ward) -> Iterator[None]:
    unit, port = ward.unit, ward.port
    ward.host.exec(f"systemctl stop {unit}")
    ward.host.exec(f"systemd-run --quiet --unit=squatter python3 -m http.server {port}")
    assert eventually(lambda: f":{port} " in ward.host.exec("ss -Hltn").stdout)
    with no_start(ward):
        yield
        ward.host.exec("systemctl stop squatter")


@contextmanager
def wrong_model_path(ward: Ward) -> Iterator[None]:
    ward.host.exec(f"mv /srv/{APP}/models /srv/{APP}/models.away")
    yield
    ward.host.exec(f"mv /srv/{APP}/models.away /srv/{APP}/models")


@contextmanager
def missing_secret(ward: Ward) -> Iterator[None]:
    file = f"/srv/{APP}/current/.aideploy/env"
    ward.host.exec(f"cp -p {file} /root/env && sed -i '/^API_TOKEN=/d' {file}")
    with no_start(ward):
        yield
        ward.host.exec(f"cp -p /root/env {file}")


@contextmanager
def haproxy_down(ward: Ward) -> Iterator[None]:
    units = f"{APP}-haproxy.socket {APP}-haproxy.service"
    ward.host.exec(f"systemctl stop {units}")
    yield
    ward.host.exec(f"systemctl start {units}")


@contextmanager
def gpu_lost(ward: Ward) -> Iterator[None]:
    nvidia_smi(ward.host, LOST_GPU, 15)
    yield
    nvidia_smi(ward.host, WELL_GPU, 0)


@contextmanager
def host_unreachable(ward: Ward) -> Iterator[None]:
    ward.host.cut()
    yield
    ward.host.mend()


@contextmanager
def environment_broken(ward: Ward) -> Iterator[None]:
    python = f"/srv/{APP}/current/.venv/bin/python"
    ward.host.exec(f"mv {python} {python}.away")
    with no_start(ward):
        yield
        ward.host.exec(f"mv {python}.away {python}")


Fault = Callable[[Ward], AbstractContextManager[None]]
FAULTS: dict[Kind, Fault] = {
    Kind.CRASH_LOOP: crash_loop,
    Kind.OUT_OF_MEMORY: out_of_memory,
    Kind.DISK_FULL: full_disk,
    Kind.PORT_TAKEN: port_taken,
    Kind.MODEL_MISSING: wrong_model_path,
    Kind.SECRET_MISSING: missing_secret,
    Kind.HAPROXY_DOWN: haproxy_down,
    Kind.GPU_LOST: gpu_lost,
    Kind.UNREACHABLE: host_unreachable,
    Kind.ENVIRONMENT_BROKEN: environment_broken,
}


def test_of_well_hosts_nothing_is_named(ward: Ward) -> None:
    said = ward.project.fab("diagnose").output

    assert f"{APP} in test: nothing is wrong" in said
    assert ward.diagnose(ExitStatus.DONE)["causes"] == []


# Those that take long to stage stand in the tests of the rules, too.
ALWAYS = (Kind.CRASH_LOOP, Kind.PORT_TAKEN, Kind.SECRET_MISSING)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind in ALWAYS else pytest.mark.slow) for kind in FAULTS],
    ids=lambda kind: kind.value.replace(" ", "-"),
)
def test_the_cause_is_named_first(ward: Ward, kind: Kind) -> None:
    with FAULTS[kind](ward):
        said = ward.diagnose()
        shown = ward.project.fab("diagnose", expected=ExitStatus.NOT_READY).output

    first = said["causes"][0]
    assert (first["host"], first["kind"]) == (ward.host.name, kind), said["causes"]
    assert first["next_step"]
    assert shown.startswith(f"1. {ward.host.name}: {kind}: {first['what']}")
    assert [cause["host"] for cause in said["causes"]] == [ward.host.name] * len(said["causes"])
    assert "hunter2" not in json.dumps(said) + shown


def test_two_faults_at_once_are_both_named(ward: Ward) -> None:
    with missing_secret(ward), full_disk(ward):
        kinds = [cause["kind"] for cause in ward.diagnose()["causes"]]

    assert kinds[:2] == [Kind.SECRET_MISSING, Kind.DISK_FULL]


def test_it_takes_one_round_trip_and_no_lock_and_leaves_nothing(ward: Ward) -> None:
    settings = load(ward.project.folder / "hosts.toml", "test")
    look = f"cat /srv/{APP}/lock; find /srv/{APP} -printf '%p %T@\\n' | sort"
    before = ward.host.exec(look).stdout
    ended: list[SessionEnded] = []

    def remember(event: Event) -> None:
        if isinstance(event, SessionEnded):
            ended.append(event)

    with running("diagnose", settings, shown=Shown.NOTHING) as run:
        run.events.subscribe(remember)
        assert diagnose(run).causes == ()

    assert [(one.connections, one.channels, one.round_trips) for one in ended] == [(1, 1, 1)] * 2
    assert ward.host.exec(look).stdout == before
