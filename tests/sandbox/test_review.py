"""Promises of [review] and [test] as a user meets them: `fab` against a GitHub of our own."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from aideploy.errors import ExitStatus
from tests.lab.github import REPOSITORY, TOKEN, GitHub, Given, Person, Pull, Repository, Trouble

from .small_project import Ran, SmallProject

ONLY = "--only=host1"
ADA, GRACE = Person("ada"), Person("grace")
OF_UNITTEST = """
import unittest

class Ranking(unittest.TestCase):
    def test_order(self):
        self.assertEqual({found}, [1, 3])

    def test_length(self):
        pass
"""


@pytest.fixture
def forge(project: SmallProject) -> Iterator[GitHub]:
    """Knows the project's commit, brought by a pull request that Grace approved."""
    commit = project.commit({}, "Change nothing")
    approved = Given(GRACE, "APPROVED", commit)
    pull = Pull(12, ADA, head=commit, landed=commit, reviews=(approved,))
    known = Repository(
        history=tuple(project.git("rev-list", "main").split()),
        pulls=(pull,),
        required=("tests",),
        runs={commit: (("tests", "success"),)},
    )
    with GitHub(known) as server:
        project.settle(review={"repository": REPOSITORY, "api": server.api})
        yield server


def fab(project: SmallProject, *arguments: str, **environment: str | None) -> Ran:
    return project.fab(*arguments, ONLY, env={"GITHUB_TOKEN": TOKEN, **environment})


def refuses(project: SmallProject, *arguments: str, status: ExitStatus, says: str) -> Ran:
    env = {"GITHUB_TOKEN": TOKEN}
    return project.refuses(*arguments, ONLY, status=status, says=says, env=env)


def record(project: SmallProject) -> dict[str, Any]:
    """The release.json of what is live."""
    found = json.loads((project.root() / "current" / "release.json").read_text())
    assert isinstance(found, dict)
    return found


def test_a_reviewed_commit_goes_live_and_github_follows_there_and_back(
    project: SmallProject, forge: GitHub
) -> None:
    ran = fab(project, "deploy")

    assert ran.status == 0, ran.text
    assert "#12, approved by grace, tests green" in ran.text
    release = project.on_host().current
    assert record(project)["review"]["approved_by"] == ["grace"]
    (deployment,) = forge.deployments
    assert deployment["ref"] == forge.repository.history[0]
    assert deployment["payload"] == {"app": "small", "release": release}
    assert deployment["environment"] == "sandbox"
    assert forge.statuses == ["in_progress", "success"]

    ran = fab(project, "rollback")

    assert ran.status == 0, ran.text
    assert forge.statuses == ["in_progress", "success"] * 2
    assert forge.deployments[-1]["payload"]["release"] == project.on_host().current != release
    logs = [log.read_text() for log in project.folder.glob(".aideploy/logs/*.log")]
    assert TOKEN not in "".join([ran.text, *logs, json.dumps(record(project))])


def test_a_commit_that_nobody_approved_is_refused_with_all_that_is_lacking(
    project: SmallProject, forge: GitHub
) -> None:
    commit = forge.repository.history[0]
    forge.repository.pulls = (Pull(12, ADA, head=commit, landed=commit),)
    forge.repository.runs = {commit: (("tests", "in_progress"),)}

    ran = refuses(project, "deploy", status=ExitStatus.REFUSED, says="lacks 2 things")

    assert "#12 has 0 of 1 approvals" in ran.text
    assert f"the check tests is still running on {commit[:7]} (in_progress)" in ran.text
    assert "complete https://github.example/acme/ranker/pull/12" in ran.text
    assert "Next" in ran.text
    assert not forge.deployments
    assert "] install" not in ran.text

    planned = fab(project, "plan", GITHUB_TOKEN=None)
    assert "pull request and checks in acme/ranker" in planned.text
    refuses(project, "step.review", status=ExitStatus.REFUSED, says="#12 has 0 of 1 approvals")


def test_a_release_that_fails_is_shown_as_failed(project: SmallProject, forge: GitHub) -> None:
    project.settle(
        review={"repository": REPOSITORY, "api": forge.api}, serve={"command": "exec sleep 60"}
    )

    refuses(project, "deploy", status=ExitStatus.REFUSED, says="nothing listens on")

    assert forge.statuses == ["in_progress", "failure"]


def test_in_an_emergency_the_review_is_left_out_and_everybody_can_see_it(
    project: SmallProject, forge: GitHub
) -> None:
    forge.repository.troubles = [Trouble(500)]

    ran = fab(project, "deploy", "--no-review=the site is down", GITHUB_TOKEN=None)

    assert ran.status == 0, ran.text
    assert "the review was left out: the site is down" in ran.text
    # That GitHub cannot be told stops nothing, and is said before the last word.
    untold = ran.text.index("GitHub does not show this deploy as it is")
    assert untold < ran.text.index("is live on 1 host")
    assert record(project)["review"]["left_out"] == "the site is down"
    assert "the review was left out: the site is down" in fab(project, "history").text


def test_without_a_review_there_is_none_to_leave_out(project: SmallProject) -> None:
    refuses(
        project,
        "deploy",
        "--no-review=hurry",
        status=ExitStatus.USAGE,
        says="there is no review to leave out",
    )


@pytest.mark.parametrize(
    ("token", "trouble", "status", "says"),
    [
        (None, None, ExitStatus.USAGE, "GITHUB_TOKEN: not in the environment of this machine"),
        ("ghp_wrong", None, ExitStatus.USAGE, "does not know the token in GITHUB_TOKEN"),
        (TOKEN, Trouble(501), ExitStatus.NOT_READY, "answers 501 when asked for the branch main"),
    ],
    ids=["none", "wrong", "GitHub in trouble"],
)
def test_who_cannot_ask_is_told_why_and_nothing_changes(
    project: SmallProject,
    forge: GitHub,
    token: str | None,
    trouble: Trouble | None,
    status: ExitStatus,
    says: str,
) -> None:
    forge.repository.troubles = [trouble] if trouble else []

    ran = project.refuses("deploy", ONLY, status=status, says=says, env={"GITHUB_TOKEN": token})

    assert "ghp_" not in ran.text


def test_ctrl_c_ends_the_wait_for_a_github_that_says_nothing(project: SmallProject) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        api = f"http://127.0.0.1:{silent.getsockname()[1]}"
        project.settle(review={"repository": REPOSITORY, "api": api})
        running = subprocess.Popen(
            project.command("deploy", ONLY),
            cwd=project.folder,
            env=project.environment({"GITHUB_TOKEN": TOKEN}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with silent.accept()[0]:
            running.send_signal(signal.SIGINT)
            text, _ = running.communicate(timeout=30)

    assert running.returncode == ExitStatus.INTERRUPTED, text
    assert "interrupted; nothing was switched" in text
    assert "Traceback" not in text
    assert project.frees_the_locks()


def test_check_says_that_the_token_is_missing(project: SmallProject, forge: GitHub) -> None:
    ran = project.fab("check", ONLY, env={"GITHUB_TOKEN": None})
    assert ran.status == ExitStatus.NOT_READY
    assert "GITHUB_TOKEN: not in the environment of this machine" in ran.text
    assert forge.asked == []


def test_a_flow_of_ones_own_cannot_pass_the_gate_by(project: SmallProject, forge: GitHub) -> None:
    flow = project.folder / "flow.py"
    flow.write_text(
        "import aideploy\n"
        "from fabric import task\n"
        "@task\n"
        "def hasty(c):\n"
        "    with aideploy.deployment(c, only='host1') as d:\n"
        "        d.fetch()\n"
        "        d.install()\n"
        "        d.rollout()\n"
        "@task\n"
        "def careful(c):\n"
        "    with aideploy.deployment(c, only='host1') as d:\n"
        "        d.fetch()\n"
        "        print('by', *d.review().approved_by)\n"
    )
    env = {"GITHUB_TOKEN": TOKEN}
    words = "the commit was not reviewed yet"
    project.refuses("-c", "flow", "hasty", status=ExitStatus.USAGE, says=words, env=env)

    ran = project.fab("-c", "flow", "careful", env=env)
    assert ran.status == 0, ran.text
    assert "by grace" in ran.text
    # It ended without a rollout.
    assert forge.statuses == ["in_progress", "inactive"]


def test_the_tests_that_fail_are_named_and_the_others_counted(project: SmallProject) -> None:
    command = {"command": "python3 -m unittest"}
    project.commit({"test_ranking.py": OF_UNITTEST.format(found="[3, 1]")})
    project.settle(test=command)

    told = fab(project, "deploy", "--json")
    assert told.status == ExitStatus.REFUSED
    assert "test_order (test_ranking.Ranking" in told.text
    assert "AssertionError: Lists differ: [3, 1] != [1, 3]" in told.text
    document = json.loads(told.text[told.text.index("\n{\n") :])
    (failure,) = document["failures"]
    assert failure["what"] == "1 of 2 tests failed"
    assert "Lists differ" in failure["why"]

    project.commit({"test_ranking.py": OF_UNITTEST.format(found="[1, 3]")})
    ran = fab(project, "deploy")
    assert ran.status == 0, ran.text
    assert "2 passed in " in ran.text
    assert record(project)["tests"]["passed"] == 2
