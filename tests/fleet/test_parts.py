"""Hosts that train, hosts that serve, and a host that monitors; and how commits and models come."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator

import pytest

from aideploy.errors import ExitStatus
from tests.fleet.project import Project, bound_repositories, eventually
from tests.lab.git_server import GitServer
from tests.lab.hosts import Lab

pytestmark = pytest.mark.fleet

ROLES = {"h1": ["train"], "h2": ["serve"], "h3": ["serve", "monitor"]}
TARGETS = "/etc/prometheus/file_sd"


@pytest.fixture(scope="module")
def parted(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """An app that trains on one host, is served by two, and is pulled over HTTP."""
    project = Project(
        lab,
        tmp_path_factory.mktemp("parted"),
        app="parted",
        port=8400,
        roles=ROLES,
        more=f"[monitoring]\nfile_sd = '{TARGETS}'",
    )
    project.set_up()
    return project


@pytest.fixture
def served(parted: Project, lab: Lab) -> Iterator[Project]:
    with GitServer(bound_repositories(lab), lab.address) as server:
        parted.configure(repository=server.url(parted.bare.name))
        yield parted


def test_each_host_does_its_part_and_a_large_model_reaches_those_that_serve(
    served: Project, lab: Lab
) -> None:
    train, serve, monitor = lab.hosts
    large = served.deploy(model_megabytes=20)
    assert served.all_serve() == {large}
    assert served.current(train) == ""
    targets = json.loads(monitor.exec(f"cat {TARGETS}/parted.test.json").stdout)
    assert {entry["labels"]["host"] for entry in targets} == {"h2", "h3"}
    assert serve.exec(f"ls {TARGETS}", check=False).returncode != 0

    small = served.deploy()
    assert served.all_serve() == {small}
    costs = served.costs()
    assert (costs["h1"].channels, costs["h2"].channels) == (1, 1)
    assert costs["h3"].channels == 3, "Prometheus was told twice, beside the switch"


def test_a_model_that_is_cut_off_on_its_way_is_never_served_and_not_sent_twice(
    served: Project, lab: Lab
) -> None:
    before = served.deploy()
    served.commit(model_megabytes=200)
    command = served.start("deploy")
    serve = lab.hosts[1]
    incoming = f"{served.root}/models/.incoming-*"
    arrived = f"cat {incoming}/model | wc -c"
    assert eventually(
        lambda: int(serve.exec(arrived, check=False).stdout or 0) > 50_000_000, within=60
    )
    serve.exec("pkill -u deploy --full 'receive /srv/parted'")
    finished = command.finish()

    assert finished.status == ExitStatus.NOT_READY, finished.output
    assert "the transfer with h2 broke off" in finished.last_words
    assert served.all_serve() == {before}
    assert int(serve.exec(arrived).stdout) > 50_000_000

    finished = served.fab("deploy")
    begun = re.search(r"distribute +h2 +… receive the model: (\d+) % of 210 MB", finished.output)
    assert begun and int(begun[1]) > 20, finished.output
    assert len(served.all_serve() - {before}) == 1
    assert serve.exec(f"ls -d {incoming}", check=False).stdout == ""


@pytest.mark.slow
def test_a_host_that_falls_silent_while_it_receives_stops_the_deploy_and_not_for_long(
    served: Project, lab: Lab
) -> None:
    before = served.deploy()
    served.commit(model_megabytes=400)
    command = served.start("deploy")
    _, silent, other = lab.hosts
    arrived = f"cat {served.root}/models/.incoming-*/model | wc -c"
    assert eventually(
        lambda: int(silent.exec(arrived, check=False).stdout or 0) > 20_000_000, within=60
    )
    silent.drop()
    began = time.monotonic()
    try:
        finished = command.finish(within=90)
    finally:
        silent.undrop()
    assert time.monotonic() - began < 60
    assert finished.status == ExitStatus.NOT_READY, finished.output
    assert "distribute on h2" in finished.last_words
    assert "h3" not in finished.last_words.split("\n")[0]
    assert served.all_serve() == {before}
    # The other one keeps what it has.
    assert int(other.exec(arrived).stdout) > 20_000_000
    assert eventually(lambda: not served.is_locked(silent), within=40)
    served.fab("deploy")


def test_a_model_with_a_flipped_byte_is_replaced_before_it_is_served_again(
    served: Project, lab: Lab
) -> None:
    served.deploy(model_megabytes=5)
    serve = lab.hosts[1]
    model = f"{served.root}/current/model/model"
    whole = serve.exec(f"sha256sum < {model}").stdout
    serve.exec(f"printf X | dd of={model} bs=1 seek=1000000 conv=notrunc")
    assert serve.exec(f"sha256sum < {model}").stdout != whole

    finished = served.fab("deploy")

    assert "h2: the model here is damaged and is replaced" in finished.output
    assert serve.exec(f"sha256sum < {model}").stdout == whole
    assert "h3: the model" not in finished.output


@pytest.mark.parametrize("megabytes", [0, 6])
def test_the_controller_sends_the_commits_itself(parted: Project, lab: Lab, megabytes: int) -> None:
    parted.configure(repository="source", app_table="source = 'push'")
    (parted.source / "large").write_bytes(os.urandom(megabytes << 20))

    revision = parted.deploy()

    assert parted.all_serve() == {revision}
    channels = 2 if megabytes else 1
    costs = parted.costs()
    assert (costs["h1"].channels, costs["h2"].channels) == (channels, channels)
    assert costs["h3"].channels == channels + 2, "Prometheus was told twice, beside the switch"
    unpacked = parted.root / "releases" / parted.current(lab.hosts[1]) / "large"
    assert int(lab.hosts[1].exec(f"stat -c %s {unpacked}").stdout) == megabytes << 20
    parted.configure(app_table="")
