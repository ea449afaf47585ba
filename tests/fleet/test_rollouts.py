"""A release goes over four hosts, one after the other, and what ends it on the way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aideploy.errors import ExitStatus
from tests.fleet.project import Project, eventually, repositories, watched
from tests.lab.hosts import Lab

pytestmark = pytest.mark.fleet

ONE_BY_ONE = "canary = 1\nbatch = 1"


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The small app, live on four hosts."""
    folder = repositories(tmp_path_factory.mktemp("repositories"))
    with Lab(4, binds=[folder]) as lab:
        project = Project(lab, tmp_path_factory.mktemp("four"))
        project.set_up()
        project.deploy()
        project.configure(rollout=ONE_BY_ONE)
        yield project


def test_a_release_that_is_bad_in_the_third_batch_leaves_the_whole_fleet_on_the_one_before(
    four: Project,
) -> None:
    before = {host.name: (four.current(host), four.served(host)) for host in four.hosts}
    four.commit(ill_when_live_on=["h3"])

    with watched(four):
        finished = four.fab("deploy", expected=ExitStatus.ROLLED_BACK)

    assert {host.name: (four.current(host), four.served(host)) for host in four.hosts} == before
    assert "every host that had switched is back on its previous release" in finished.last_words
    assert "✗ switch on h3: after the switch: not healthy" in finished.last_words
    assert "switch      h2  done" in finished.output
    assert "switch      h4" not in finished.output
    for host in four.hosts:
        assert not four.is_locked(host)
        assert host.exec(f"ls {four.root}/due").stdout == ""


def test_a_rollout_whose_controller_dies_in_its_second_batch_is_finished_by_the_same_command(
    four: Project,
) -> None:
    before = four.all_serve()
    four.configure(bake="5s")
    four.commit()
    with watched(four):
        command = four.start("deploy")
        command.wait_for(r"watch +2 hosts +batch 2 of 4")
        command.kill()
        assert eventually(lambda: four.all_serve() == before, within=20)
        assert eventually(lambda: not any(map(four.is_locked, four.hosts)), within=20)

        four.configure(bake="0s")
        four.fab("deploy")
    assert len(four.all_serve()) == 1
    assert four.all_serve() != before


@pytest.mark.slow
def test_hosts_wait_for_their_turn_longer_than_the_silence_that_ends_a_session(
    four: Project,
) -> None:
    before = four.all_serve()
    four.configure(bake="0s", rollout="canary = 1\nbatch = '100%'\npause = '40s'")
    four.commit()

    four.fab("deploy")

    four.configure(bake="1s", rollout=ONE_BY_ONE)
    assert len(four.all_serve()) == 1
    assert four.all_serve() != before


@pytest.mark.slow
@pytest.mark.parametrize("max_failures", [0, 1])
def test_a_host_that_is_lost_before_its_turn_counts_as_one_that_failed(
    four: Project, max_failures: int
) -> None:
    before = four.served(four.hosts[0])
    lost, *others = reversed(four.hosts)
    rollout = f"{ONE_BY_ONE}\nmax_failures = {max_failures}"
    four.configure(bake="5s", rollout=rollout)
    revision = four.commit()
    command = four.start("deploy")
    command.wait_for_phase("watch")
    lost.drop()
    try:
        finished = command.finish(within=240)
    finally:
        lost.undrop()
        four.configure(bake="1s", rollout=ONE_BY_ONE)

    assert finished.status == ExitStatus.NEEDS_PERSON, finished.output
    assert "switch on h4: lost the connection to h4" in finished.last_words
    wanted = revision if max_failures else before
    assert {four.served(host) for host in others} == {wanted}
    # Whatever it heard, nobody confirmed it there.
    assert eventually(lambda: four.served(lost) == before, within=60)
    assert eventually(lambda: not four.is_locked(lost), within=60)
    four.fab("deploy")
    assert len(four.all_serve()) == 1
