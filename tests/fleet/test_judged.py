"""Rollouts under load that a real Prometheus judges, on real hosts with two slots.

The same release again and again is kept; one that fails a tenth of its requests is taken back, by
whole hosts and while it gets a share of the requests of one.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from aideploy.errors import ExitStatus
from tests.fleet.project import Project
from tests.fleet.test_monitoring import pager, project, users, watched_lab
from tests.lab.hosts import Host

__all__ = ["pager", "project", "watched_lab"]

pytestmark = [pytest.mark.fleet, pytest.mark.slow, pytest.mark.timeout(1800)]

SAME = 10
# With two hosts about 100 requests a second.
PEOPLE = 5
CHECKS = """
[[analysis]]
name = "errors"
kind = "ratio"
interval = "5s"
min_requests = 100
[[analysis]]
name = "latency"
kind = "ratio"
signal = "latency"
interval = "5s"
min_requests = 100
"""


def judge(project: Project, rollout: str, bake: str) -> None:
    more = project.values["more"]
    if CHECKS not in more:
        more += CHECKS
    project.configure(rollout=f"canary = 1\nmax_wait = '30s'\n{rollout}", bake=bake, more=more)


def kept(host: Host) -> list[dict[str, Any]]:
    """The watches of the newest analysis that a host keeps."""
    newest = "ls -d /srv/metered/analyses/*.json | tail -n 1 | xargs cat"
    watches: list[dict[str, Any]] = json.loads(host.exec(newest).stdout)["watches"]
    return watches


def test_the_same_release_is_kept_every_time(project: Project) -> None:
    judge(project, "", bake="15s")
    with users(project, PEOPLE):
        # What all hosts did before is the baseline when all have switched.
        time.sleep(30)
        for _ in range(SAME):
            project.commit()
            finished = project.fab("deploy", expected=ExitStatus.DONE)
            assert finished.output.count("analysis of ") >= 2, finished.output


def test_one_that_fails_a_tenth_of_its_requests_is_taken_back(project: Project) -> None:
    judge(project, "", bake="60s")
    before = project.all_serve()
    with users(project, PEOPLE):
        project.commit(behaves="some-errors")
        finished = project.fab("deploy", expected=ExitStatus.ROLLED_BACK)
    assert "the analysis failed: errors: " in finished.output
    assert project.all_serve() == before


def test_it_is_found_out_by_a_share_of_the_requests_of_one_host(project: Project) -> None:
    judge(project, "weights = ['20%']", bake="60s")
    before = project.all_serve()
    first = project.serving[0]
    with users(project, PEOPLE):
        project.commit(behaves="some-errors")
        finished = project.fab("deploy", expected=ExitStatus.ROLLED_BACK)
    assert "the analysis failed: errors: " in finished.output
    assert project.all_serve() == before
    (watch,) = kept(first)
    [errors] = [one for one in watch["checks"] if one["name"] == "errors"]
    sides = {query["side"]: query["query"] for query in errors["queries"]}
    assert "slot=" in sides["canary"]
    assert "slot=" in sides["baseline"]
    assert sides["canary"] != sides["baseline"]


def test_what_cannot_be_decided_at_a_share_goes_back_and_nothing_is_held(project: Project) -> None:
    # Nobody asks, so nobody can tell.
    judge(project, "weights = ['20%']\non_inconclusive = 'hold'", bake="5s")
    before = project.all_serve()
    project.commit()
    finished = project.fab("deploy", expected=ExitStatus.ROLLED_BACK)
    assert "the analysis cannot decide" in finished.output
    assert project.all_serve() == before
    assert "no rollout is under way" in project.fab("rollout.status").output


def test_a_rollout_that_is_paused_at_a_share_is_judged_and_resumed(project: Project) -> None:
    judge(project, "weights = ['20%']", bake="15s")
    before = project.all_serve()
    with users(project, PEOPLE):
        revision = project.commit()
        command = project.start("deploy")
        command.wait_for(r"watch +.*\b20% of the requests")
        project.fab("rollout.pause")
        time.sleep(20)
        assert command.process.poll() is None
        assert {project.served(project.serving[1])} == before, "it waits for its turn"
        project.fab("rollout.resume")
        finished = command.finish(within=240)
    assert finished.status == ExitStatus.DONE, finished.output
    assert finished.output.count("analysis of ") >= 3, finished.output
    assert project.all_serve() == {revision}
