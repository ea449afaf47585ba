"""[hooks] and [notify] as a user meets them: whole commands on sandbox hosts."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from aideploy.errors import ExitStatus
from tests.webhook import Webhook

from .small_project import Ran, SmallProject

ONLY = "--only=host1"
IN_ORDER = (
    *("before_open", "after_open", "before_fetch", "after_fetch", "before_install"),
    *("after_install", "before_stage", "after_stage", "before_switch", "after_switch"),
    *("before_watch", "after_watch", "before_confirm", "after_confirm"),
    *("before_finish", "after_finish"),
)
TELL = (
    'echo "$AIDEPLOY_WHEN"_"$AIDEPLOY_PHASE $AIDEPLOY_APP $AIDEPLOY_ENV [$AIDEPLOY_HOSTS]'
    ' $AIDEPLOY_STATUS ${AIDEPLOY_RELEASE:-none} ${AIDEPLOY_REVISION:-none}" >>told'
)


@pytest.fixture(autouse=True)
def nothing_told(project: SmallProject) -> None:
    (project.folder / "told").unlink(missing_ok=True)


def told(project: SmallProject) -> list[list[str]]:
    file = project.folder / "told"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def deploy(project: SmallProject, expected: ExitStatus, **settings: Any) -> tuple[Ran, bool]:
    """Deploy with these settings; what it said, and whether another release is live afterwards."""
    project.settle(**settings)
    live = project.on_host().current
    ran = project.fab("deploy", ONLY)
    assert ran.status == expected, ran.text
    return ran, project.on_host().current != live


def test_each_runs_once_however_many_hosts_and_batches_there_are(project: SmallProject) -> None:
    project.settle(
        hooks=dict.fromkeys(IN_ORDER, TELL), rollout={"canary": 1, "batch": 1, "bake": "0s"}
    )

    ran = project.fab("deploy")

    assert ran.status == 0, ran.text
    lines = told(project)
    order = [line[0] for line in lines]
    assert sorted(order) == sorted(IN_ORDER)
    # With several batches the last switch comes after the first watch.
    assert [one for one in order if "watch" not in one and one != "after_switch"] == [
        one for one in IN_ORDER if "watch" not in one and one != "after_switch"
    ]
    assert order.index("before_watch") < order.index("after_switch") < order.index("after_watch")
    assert all(line[1:6] == ["small", "sandbox", "[host1", "host2", "host3]"] for line in lines)
    assert lines[0][-2:] == ["none", "none"]
    assert lines[-1][-2] == project.on_host().current
    assert lines[-1][-1] == project.git("rev-parse", "main")
    assert lines[-1][-3] == "done"


@pytest.mark.parametrize("key", ["before_open", "after_stage", "before_switch"])
def test_one_that_fails_before_the_switch_refuses_the_deploy(
    project: SmallProject, key: str
) -> None:
    hooks = {key: "echo 'the freeze is on'; exit 3"}
    ran, went_live = deploy(project, ExitStatus.REFUSED, hooks=hooks)

    assert not went_live
    assert f"[hooks] {key} ended with status 3; nothing was switched" in ran.text
    assert "the freeze is on" in ran.text
    assert ran.shows_no_traceback
    assert project.frees_the_locks()


@pytest.mark.parametrize("key", ["after_switch", "before_confirm"])
def test_one_that_fails_at_or_behind_the_switch_takes_the_hosts_back(
    project: SmallProject, key: str
) -> None:
    ran, went_live = deploy(project, ExitStatus.ROLLED_BACK, hooks={key: "exit 1"})

    assert not went_live
    assert f"[hooks] {key} ended with status 1" in ran.text


@pytest.mark.parametrize("key", ["before_finish", "after_finish"])
def test_one_that_fails_when_nothing_goes_back_any_more_is_a_warning(
    project: SmallProject, key: str
) -> None:
    ran, went_live = deploy(project, ExitStatus.DONE, hooks={key: "echo too late; exit 1"})

    assert went_live
    assert f"warning: [hooks] {key} ended with status 1: too late" in ran.text


def test_those_of_a_phase_that_fails_hear_it(project: SmallProject) -> None:
    deploy(project, ExitStatus.REFUSED, hooks={"after_stage": TELL}, serve={"command": "exit 1"})

    assert [line[0] for line in told(project)] == ["after_stage"]
    assert "failed" in told(project)[0]


def test_one_that_takes_too_long_is_ended_with_all_that_it_started(project: SmallProject) -> None:
    hooks = {"before_fetch": "sleep 61.5 & sleep 61.5", "timeout": "1s"}

    began = time.monotonic()
    ran, _ = deploy(project, ExitStatus.REFUSED, hooks=hooks)

    assert "before_fetch did not end within 1 s" in ran.text
    assert time.monotonic() - began < 30
    assert not _runs("sleep\0" + "61.5")


def test_ctrl_c_ends_it(project: SmallProject) -> None:
    project.settle(hooks={"before_switch": "sleep 62.5"})
    live = project.on_host().current
    with subprocess.Popen(
        project.command("deploy", ONLY),
        cwd=project.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as deploy:
        assert deploy.stdout
        for line in deploy.stdout:
            if "before_switch" in line:
                break
        deploy.send_signal(signal.SIGINT)
        text = deploy.stdout.read()

    assert deploy.returncode == ExitStatus.INTERRUPTED, text
    assert "nothing was switched" in text
    assert project.on_host().current == live
    assert not _runs("sleep\0" + "62.5")


def test_a_rollback_has_none(project: SmallProject) -> None:
    assert project.fab("deploy", ONLY).status == 0
    project.settle(hooks={"before_switch": "exit 1", "before_open": "exit 1"})

    ran = project.fab("rollback", ONLY)

    assert ran.status == ExitStatus.DONE, ran.text


def test_a_plan_names_them(project: SmallProject) -> None:
    project.settle(hooks={"after_finish": "./smoke.sh", "before_switch": "./freeze.sh"})

    planned = project.fab("plan", ONLY)

    assert "this machine runs ([hooks]):" in planned.text
    assert planned.text.index("before_switch: ./freeze.sh") < planned.text.index("after_finish: ")


def test_a_webhook_whose_address_is_a_secret_hears_of_deploys_and_rollbacks(
    project: SmallProject,
) -> None:
    with Webhook() as hook:
        project.settle(notify={"webhook": "DEPLOYS_URL"})
        env = {"DEPLOYS_URL": hook.url}
        texts = [project.fab(command, ONLY, env=env).text for command in ("deploy", "rollback")]
        project.settle(notify={"webhook": "DEPLOYS_URL"}, serve={"command": "exit 1"})
        texts.append(project.fab("deploy", ONLY, env=env).text)

    assert [one["event"] for one in hook.got] == ["success", "rollback", "failure"], texts
    assert hook.got[1]["release"] == project.on_host().current
    logs = [log.read_text() for log in project.folder.glob(".aideploy/logs/*")]
    assert "very-secret-part" not in "".join([*texts, *logs])


def test_a_secret_without_a_value_is_a_warning_and_the_deploy_goes_on(
    project: SmallProject,
) -> None:
    project.settle(notify={"slack": "NO_SUCH_URL"})

    ran = project.fab("deploy", ONLY, env={"NO_SUCH_URL": None})

    assert ran.status == ExitStatus.DONE, ran.text
    assert "warning: [notify] told nobody: one secret has no value" in ran.text
    checked = project.fab("check", ONLY, env={"NO_SUCH_URL": None})
    assert "one secret has no value" in checked.text


def test_a_diagnosis_of_well_hosts_is_short_and_of_a_broken_one_names_the_cause(
    project: SmallProject,
) -> None:
    well = project.fab("diagnose", ONLY)
    assert well.status == ExitStatus.DONE, well.text
    assert "nothing is wrong" in well.text

    current = project.root() / "current"
    release = current.readlink()
    current.unlink()
    current.symlink_to("releases/nothing")
    try:
        ran = project.fab("diagnose", "--json", ONLY)
        found, _ = json.JSONDecoder().raw_decode(ran.text)
    finally:
        current.unlink()
        current.symlink_to(release)

    assert ran.status == ExitStatus.NOT_READY
    assert found["causes"][0]["kind"] == "release missing"


def _runs(arguments: str) -> bool:
    """Whether a process with these arguments runs on this machine."""

    def line(process: Path) -> str:
        try:
            return (process / "cmdline").read_text()
        except OSError:
            return ""

    return any(arguments in line(one) for one in Path("/proc").glob("[0-9]*"))
