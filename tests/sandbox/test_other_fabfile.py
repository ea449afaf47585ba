"""aideploy in somebody else's fabfile: all tasks, one of them, one phase, and flows of their own.

`other_project/` is that somebody's project. `fab` runs as a process of its own on sandbox hosts.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aideploy.sandbox.lifecycle import DEFAULT_FOLDER, Sandbox
from tests.git import git
from tests.typed import Ran, begun, typed
from tests.waiting import eventually


@dataclass(frozen=True)
class Shop:
    """The other project, with its hosts up."""

    folder: Path

    def fab(self, *arguments: str) -> Ran:
        return typed(self.folder, "-m", "fabric", *arguments)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return begun(self.folder, "-u", "-m", "fabric", *arguments)

    def commit(self, *, quality: float) -> str:
        """A new commit whose model is that good."""
        (self.folder / "quality.txt").write_text(f"{quality}\n")
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-q", "--allow-empty", "-m", f"to {quality}")
        return git(self.folder, "rev-parse", "HEAD")

    def answers(self) -> list[Any]:
        """What the service of each host says."""
        status = Sandbox(self.folder / DEFAULT_FOLDER).status()
        return [self._answer(each.host.address) for each in status.hosts]

    @staticmethod
    def _answer(address: str) -> Any:
        with urllib.request.urlopen(f"http://{address}:8000/", timeout=5) as answer:
            return json.load(answer)

    def live(self) -> str:
        """The revision that all hosts serve."""
        (revision,) = {answer["revision"] for answer in self.answers()}
        return str(revision)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The project as its owner has it after a first try: hosts up, set up, a first release live."""
    folder = tmp_path_factory.mktemp("other") / "shop"
    shutil.copytree(Path(__file__).parent / "other_project", folder)
    shop = Shop(folder)
    git(folder, "init", "-q", "-b", "main")
    shop.write(".gitignore", ".aideploy/\nhosts.toml\n__pycache__/\n")
    shop.commit(quality=0.8)
    try:
        for command in (["sandbox.up", "--count", "2", "--write"], ["setup"], ["deploy"]):
            ran = shop.fab(*command)
            assert ran.status == 0, ran.text
        yield shop
    finally:
        Sandbox(folder / DEFAULT_FOLDER).down()


# -- the names in the fabfile ----------------------------------------------------------------------


def test_the_whole_namespace_stands_beside_own_tasks_and_own_tasks_win(shop: Shop) -> None:
    listed = shop.fab("--list")
    assert listed.status == 0
    for name in ("deploy", "rollback", "nightly", "step.fetch", "sandbox.up"):
        assert f"  {name} " in listed.text
    assert shop.fab("status").text == "the shop is open\n"


def test_a_single_task_is_taken_alone(shop: Shop) -> None:
    shop.write("single.py", "from aideploy.tasks import deploy, rollback\n")
    listed = shop.fab("-c", "single", "--list")
    assert [line.split()[0] for line in listed.text.splitlines() if line.startswith("  ")] == [
        "deploy",
        "rollback",
    ]

    revision = shop.commit(quality=0.81)
    deployed = shop.fab("-c", "single", "deploy")

    assert deployed.status == 0, deployed.text
    assert shop.live() == revision


def test_a_fabfile_may_import_namespace_without_calling_it(shop: Shop) -> None:
    shop.write(
        "uncalled.py",
        "from aideploy import namespace\nfrom fabric import task\n\n"
        "@task\ndef mine(c):\n    print('mine')\n",
    )
    assert shop.fab("-c", "uncalled", "mine").text == "mine\n"


def test_the_tasks_work_below_a_name_of_the_users(shop: Shop) -> None:
    shop.write(
        "below.py",
        "import aideploy\nfrom invoke import Collection\n\n"
        "ns = Collection()\nns.add_collection(aideploy.namespace(), 'ai')\n",
    )
    ran = shop.fab("-c", "below", "ai.step.open")
    assert ran.status == 0, ran.text
    assert "✓ ready; nothing was switched" in ran.text


def test_own_templates_win(shop: Shop) -> None:
    assert {answer["flavour"] for answer in shop.answers()} == {"vanilla"}


def test_hosts_after_H_are_answered_once_with_what_to_type(shop: Shop) -> None:
    ran = shop.fab("-H", "host1,host2", "deploy")
    assert ran.status == 2
    assert ran.text.count("Instead of -H") == 1
    assert "fab deploy --only host1,host2" in ran.text


# -- single phases ---------------------------------------------------------------------------------


def test_a_release_is_prepared_now_and_put_live_later(shop: Shop) -> None:
    before = shop.live()
    revision = shop.commit(quality=0.82)

    staged = shop.fab("step.stage")
    assert staged.status == 0, staged.text
    assert staged.text.count("(untouched)") == 1
    assert "Next  fab step.switch" in staged.text
    assert shop.live() == before
    # Making room in between does not take it away.
    assert shop.fab("step.finish").status == 0

    switched = shop.fab("step.switch")
    assert switched.status == 0, switched.text
    assert shop.live() == revision

    again = shop.fab("step.switch")
    assert again.status == 2
    assert "no release is staged on every host that is newer than what is live" in again.text
    assert shop.fab("step.watch").status == 0


@pytest.mark.parametrize(
    "phase", ["open", "fetch", "install", "test", "train", "evaluate", "distribute"]
)
def test_a_step_runs_up_to_its_phase_and_no_further(shop: Shop, phase: str) -> None:
    phases = ["open", "fetch", "install", "test", "train", "evaluate", "distribute", "stage"]
    ran = shop.fab(f"step.{phase}")
    assert ran.status == 0, ran.text
    words = {line.split()[2] for line in ran.text.splitlines() if line.startswith("[")}
    # A notice begins with the name of its host.
    begun = {word for word in words if not word.endswith(":")}
    # Nothing is distributed between hosts that all have the model: the phase is then passed over.
    expected = {f"step.{phase}", *phases[: phases.index(phase) + 1]}
    assert begun - {"distribute"} == expected - {"distribute"}


def test_a_watch_says_which_service_is_not_well_and_changes_nothing(shop: Shop) -> None:
    before = shop.live()
    sandbox = Sandbox(shop.folder / DEFAULT_FOLDER).status()
    home = sandbox.layout.home(sandbox.hosts[1].host)
    control = [str(home / "bin/supervisorctl")]
    surroundings = {**os.environ, "HOME": str(home)}
    subprocess.run([*control, "stop", "shop-live"], env=surroundings, check=True)
    try:
        ran = shop.fab("step.watch")
    finally:
        subprocess.run([*control, "start", "shop-live"], env=surroundings, check=True)
    assert ran.status == 3
    assert "host2" in ran.text.split("✗", 1)[1]
    assert eventually(lambda: _serves(shop, before))


# -- flows of their own ----------------------------------------------------------------------------


def test_a_nightly_flow_puts_live_only_what_is_good_enough(shop: Shop) -> None:
    before = shop.live()
    shop.commit(quality=0.5)
    bad_night = shop.fab("nightly")
    assert bad_night.status == 0, bad_night.text
    assert "✓ left without a rollout; nothing changed" in bad_night.text
    assert shop.live() == before

    good = shop.commit(quality=0.85)
    good_night = shop.fab("nightly")
    assert good_night.status == 0, good_night.text
    assert "is live" in good_night.text
    assert shop.live() == good
    assert {answer["auc"] for answer in shop.answers()} == {0.85}


def test_a_flow_that_fails_ends_with_its_last_word_and_no_traceback(shop: Shop) -> None:
    before = shop.live()
    shop.commit(quality=-1)
    failed = shop.fab("nightly")
    assert failed.status == 4
    assert "✗ test failed on host1; nothing was switched" in failed.text
    assert 'File "' not in failed.text.split("✗ test failed")[1].split("the last lines")[0]
    assert "fabfile.py" not in failed.text
    assert shop.live() == before
    shop.commit(quality=0.8)


def test_phases_in_an_order_that_makes_no_sense_are_refused(shop: Shop) -> None:
    before = shop.live()
    ran = shop.fab("hasty")
    assert ran.status == 2
    assert "✗ nothing was staged yet" in ran.text
    assert "Next  call stage() before this phase" in ran.text
    assert shop.live() == before


def test_a_switch_that_is_not_finished_is_taken_back(shop: Shop) -> None:
    before = shop.live()
    revision = shop.commit(quality=0.86)

    left = shop.fab("careful", "--verdict", "bad")
    assert left.status == 5
    assert "left after switch() without finish()" in left.text
    assert "host1, host2  back on" in left.text
    assert shop.live() == before

    finished = shop.fab("careful", "--verdict", "well")
    assert finished.status == 0, finished.text
    assert shop.live() == revision


def test_a_mistake_of_the_users_own_shows_as_such_after_the_hosts_are_back(shop: Shop) -> None:
    before = shop.live()
    shop.commit(quality=0.87)
    ran = shop.fab("careful", "--verdict", "crash")
    assert ran.status == 1
    word, _, traceback = ran.text.partition("Traceback")
    assert "✗ ended by RuntimeError: the check of our own crashed" in word
    assert "host1, host2  back on" in word
    assert traceback.rstrip().endswith("RuntimeError: the check of our own crashed")
    assert shop.live() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_flow_that_is_stopped_after_its_switch_goes_back(
    shop: Shop, number: signal.Signals
) -> None:
    before = shop.live()
    shop.commit(quality=0.88)
    flow = _asleep_after_the_switch(shop)
    os.killpg(flow.pid, number)
    text, _ = flow.communicate(timeout=60)
    assert flow.returncode == 130
    assert "every host that had switched is back on its previous release" in text
    assert shop.live() == before


def test_a_flow_that_is_killed_after_its_switch_goes_back_by_itself(shop: Shop) -> None:
    before = shop.live()
    shop.commit(quality=0.89)
    flow = _asleep_after_the_switch(shop)
    assert shop.live() != before
    flow.kill()
    flow.communicate(timeout=60)
    assert eventually(lambda: _serves(shop, before), within=30)
    # The locks went with it.
    assert eventually(lambda: shop.fab("step.open").status == 0, within=30)


def _asleep_after_the_switch(shop: Shop) -> subprocess.Popen[str]:
    flow = shop.start("careful", "--verdict", "sleep")
    assert flow.stdout
    said = []
    for line in flow.stdout:
        said.append(line)
        if line == "switched, and asleep\n":
            return flow
    raise AssertionError("".join(said))


def _serves(shop: Shop, revision: str) -> bool:
    try:
        return shop.live() == revision
    except (OSError, ValueError):
        return False
