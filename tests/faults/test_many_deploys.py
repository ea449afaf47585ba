"""Deploy after deploy under load: users notice none of them, and nothing is left over."""

from __future__ import annotations

import time

import pytest

from aideploy.events import Phase
from tests.faults.bench import Bench, windows
from tests.faults.table import WriteRow
from tests.fleet.project import ALL_AT_ONCE
from tests.fleet.traffic import Answer, slowest_percent

pytestmark = [pytest.mark.fleet, pytest.mark.bench, pytest.mark.slow]

TITLE = "Deploys in a row to three hosts under 100 requests a second"
FEW = pytest.param(2, id="few")
MANY = pytest.param(100, id="many", marks=[pytest.mark.timeout(7200)])
# Users may wait so much longer while hosts switch; told of many deploys only, as few say little.
SLOWER = 2.0


@pytest.mark.parametrize("count", [FEW, MANY])
def test_two_slots_lose_no_request_and_make_nobody_wait(
    behind_haproxy: Bench, write_row: WriteRow, count: int
) -> None:
    inside, outside = deploy_again_and_again(behind_haproxy, write_row, "blue_green", count)

    if count >= 100:
        assert slowest_percent(inside) <= SLOWER * slowest_percent(outside)


@pytest.mark.parametrize("count", [FEW, MANY])
def test_a_socket_refuses_and_resets_nobody(
    behind_socket: Bench, write_row: WriteRow, count: int
) -> None:
    deploy_again_and_again(behind_socket, write_row, "socket", count)


def deploy_again_and_again(
    bench: Bench, write_row: WriteRow, strategy: str, count: int
) -> tuple[list[Answer], list[Answer]]:
    """The answers that were begun while hosts switched, and all others."""
    bench.be_clean()
    [first] = bench.project.all_serve()
    bench.project.configure(rollout=ALL_AT_ONCE)
    deployed, switching = [first], []
    with bench.load() as users:
        time.sleep(1)
        for _ in range(count):
            deployed.append(bench.project.deploy())
            switching += windows(bench.project, Phase.SWITCH)
        time.sleep(1)
    assert len(switching) == count
    inside: list[Answer] = []
    outside: list[Answer] = []
    for one in users.answers:
        during = any(one.at >= began and one.began <= end for began, end in switching)
        (inside if during else outside).append(one)
    write_row(
        TITLE,
        {
            "strategy": strategy,
            "deploys": str(count),
            "requests": str(len(users.answers)),
            "failed": str(len(users.failed)),
            "p99 otherwise": f"{slowest_percent(outside) * 1000:.1f} ms",
            "p99 while switching": f"{slowest_percent(inside) * 1000:.1f} ms",
            "slowest": f"{max(one.seconds for one in users.answers) * 1000:.0f} ms",
        },
    )
    assert users.failed == []
    assert any(one.kept for one in users.answers)
    assert set(users.by_revision()) == set(deployed)
    assert bench.left_over() == ""
    return inside, outside
