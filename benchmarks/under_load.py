"""A rollback while users ask, with two slots: how long it takes, and whether anybody notices.

Called by `__main__`.
"""

from __future__ import annotations

import statistics
import time
from functools import partial

from benchmarks.deploys import timed
from benchmarks.measuring import Row, Table, mark
from benchmarks.scene import FAB, App, Scene, Tool, run
from benchmarks.short import ssh_everywhere
from tests.fleet.traffic import Users

HOSTS = 3
REQUESTS_A_SECOND = 100.0
BEYOND_SECONDS = 1.0
APP = App("bench-slots", 8004, serve='strategy = "blue_green"\nbind = "0.0.0.0"')


def measure(scene: Scene, rounds: int) -> Table:
    """`fab rollback` to the release that stands by, beside connecting by raw ssh."""
    hosts = scene.lab.hosts[:HOSTS]
    addresses = {host.name: (host.address, APP.port) for host in hosts}
    scene.set_up(APP)
    folder = scene.project(APP, Tool.UV, hosts)

    def deploy() -> None:
        order = scene.order(Tool.UV, HOSTS, new_dependencies=False)
        run([*FAB, "deploy", "--revision", order.revision], folder)

    deploy()
    connected: list[float] = []
    rolled_back: list[float] = []
    users_back: list[float] = []
    asked = failed = 0
    for _ in range(rounds):
        deploy()
        with Users(addresses, REQUESTS_A_SECOND) as users:
            connected.append(timed(partial(ssh_everywhere, scene, hosts, "true"))[0])
            began = time.time()
            rolled_back.append(timed(partial(run, [*FAB, "rollback"], folder))[0])
            time.sleep(0.2)
        asked += len(users.answers)
        failed += len(users.failed)
        left = users.answers[0].revision
        users_back.append(max(one.at for one in users.answers if one.revision == left) - began)
    connecting = statistics.median(connected)
    beyond = statistics.median(users_back) - connecting
    return Table(
        f"rollback under load, {HOSTS} hosts, blue_green, {REQUESTS_A_SECOND:.0f} requests/s",
        (
            Row("raw ssh: connect", tuple(connected), 1.0),
            Row(
                "fab rollback: nobody gets the release any more",
                tuple(users_back),
                statistics.median(users_back) / connecting,
                f"{beyond:.2f} s beyond, {failed} of {asked} requests failed",
                f"≤ {BEYOND_SECONDS:.0f} s beyond, none failed",
                mark(beyond <= BEYOND_SECONDS and not failed),
            ),
            Row(
                "fab rollback: done",
                tuple(rolled_back),
                statistics.median(rolled_back) / connecting,
            ),
        ),
    )
