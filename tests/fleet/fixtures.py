"""Fixtures for the stories of tests/fleet and tests/faults: hosts, and the small app on them.

Loaded by tests/conftest.py. The hosts and the app are shared by all tests of a run; each test gets
them on, reachable and with one good release live everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.fleet.project import Project, repositories
from tests.lab.hosts import Bind, Lab
from tests.lab.wheels import wheelhouse

RANKER = Path(__file__).parents[2] / "examples" / "ranker"
WHEELS = PurePosixPath("/opt/wheels")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three hosts that see the repositories of the tests and the wheels of the example."""
    wheels = Bind(wheelhouse(RANKER / "requirements.txt"), WHEELS)
    folder = repositories(tmp_path_factory.mktemp("repositories"))
    with Lab(3, binds=[wheels, folder]) as lab:
        yield lab


@pytest.fixture(scope="session")
def small(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small app, set up on all three hosts; not for tests, which take `project`."""
    project = Project(lab, tmp_path_factory.mktemp("small"))
    project.set_up()
    return project


@pytest.fixture
def project(small: Project) -> Project:
    """The small app with one good release live on all three hosts."""
    small.configure(bake="1s", more="")
    live = small.all_serve()
    small.end_trainings()
    if len(live) != 1 or live == {""} or not all(map(small.current, small.hosts)):
        small.deploy()
    return small
