"""aideploy's tasks in a fabfile: cheap to list, readable, never in the way of the user's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from invoke.collection import Collection
from invoke.tasks import Task, task

import aideploy

# A module: anything may be written into it.
Fabfile = Any


def own(name: str, **options: object) -> Task[Any]:
    """A task as a user writes it."""

    def body(c: object) -> None:
        """One of the user's own."""

    body.__name__ = name
    made: Task[Any] = task(**options)(body)
    return made


@pytest.fixture
def fabfile() -> Iterator[Fabfile]:
    module = ModuleType("fabfile_of_a_test")
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


def loaded(fabfile: Fabfile) -> Collection:
    """What `fab` makes of a fabfile that has run."""
    return Collection.from_module(fabfile)


def test_all_tasks_are_there_and_the_phases_one_by_one(fabfile: Fabfile) -> None:
    fabfile.ns = aideploy.namespace(fabfile.__name__)
    names = set(loaded(fabfile).task_names)
    assert {"deploy", "rollback", "setup", "init", "schema"} <= names
    phases = (
        "open",
        "fetch",
        "install",
        "test",
        "train",
        "evaluate",
        "distribute",
        "stage",
        "switch",
    )
    assert {f"step.{phase}" for phase in (*phases, "watch", "finish")} <= names
    assert {"sandbox.up", "sandbox.status", "sandbox.down"} <= names


@pytest.mark.parametrize("line_stands", ["first", "last"])
def test_own_tasks_win_wherever_the_line_stands(fabfile: Fabfile, line_stands: str) -> None:
    if line_stands == "first":
        fabfile.ns = aideploy.namespace(fabfile.__name__)
    fabfile.rollback = own("rollback")
    fabfile.back = own("back", aliases=("deploy",))
    fabfile.step = own("step")
    fabfile.train_a_lot = own("train_a_lot")
    if line_stands == "last":
        fabfile.ns = aideploy.namespace(fabfile.__name__)

    found = loaded(fabfile)

    assert found["rollback"].body is fabfile.rollback.body
    assert found["deploy"].body is fabfile.back.body
    assert found["step"].body is fabfile.step.body
    assert found["train-a-lot"].body is fabfile.train_a_lot.body
    assert "step.fetch" not in found.task_names
    assert "setup" in found.task_names


def test_an_own_collection_wins(fabfile: Fabfile) -> None:
    fabfile.sandbox = Collection("sandbox", own("dig"))
    fabfile.ns = aideploy.namespace(fabfile.__name__)
    found = loaded(fabfile)
    assert "sandbox.dig" in found.task_names
    assert "sandbox.up" not in found.task_names


def test_what_is_added_to_the_namespace_by_hand_stays(fabfile: Fabfile) -> None:
    fabfile.ns = aideploy.namespace(fabfile.__name__)
    fabfile.ns.add_task(own("other"), name="setup")
    fabfile.ns.add_collection(Collection("db", own("dump")))
    fabfile.ns.configure({"keep": 9})
    found = loaded(fabfile)
    assert found["setup"].__name__ == "other"
    assert "db.dump" in found.task_names
    assert found.configuration()["keep"] == 9


def test_a_star_import_brings_tasks_and_nothing_that_hides_them(fabfile: Fabfile) -> None:
    exec("from aideploy.tasks import *", fabfile.__dict__)
    fabfile.mine = own("mine")
    names = set(loaded(fabfile).task_names)
    assert {"deploy", "rollback", "mine"} <= names
    assert not any("." in name for name in names)


def test_the_function_is_not_replaced_by_a_module_of_its_name() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import aideploy, pkgutil\n"
            "print({m.name for m in pkgutil.iter_modules(aideploy.__path__)} & "
            "set(aideploy.__all__))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set()\n"


def test_listing_the_tasks_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, fabric; before = set(sys.modules)\n"
            "import aideploy; aideploy.namespace()\n"
            "print(*sorted(set(sys.modules) - before))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    brought = {name.partition(".")[0] for name in done.stdout.split()}
    assert "aideploy" in brought
    assert not brought & {"pydantic", "pydantic_core", "jinja2", "rich", "asyncssh", "dotenv"}
    ours = [name for name in done.stdout.split() if name.startswith("aideploy.")]
    cheap = ("aideploy.tasks", "aideploy.composing", "aideploy.errors")
    assert [name for name in ours if not name.startswith(cheap)] == []


def test_every_task_says_in_one_short_line_what_it_does_and_every_option_has_help() -> None:
    for name, listed in every_task(aideploy.namespace()):
        first = (listed.__doc__ or "").strip().partition("\n")[0]
        # What a terminal of 80 columns has left beside the longest name.
        assert 0 < len(first) <= 58, name
        for argument in listed.get_arguments():
            assert argument.help, f"{name} --{argument.name}"


def every_task(collection: Collection) -> Iterator[tuple[str, Task[Any]]]:
    for name in collection.task_names:
        yield name, collection[name]
