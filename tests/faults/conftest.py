"""The fleet of the fault bench, and its tables at the end of a run."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest

from tests.faults.bench import Bench
from tests.faults.table import save, show, write_row
from tests.fleet.project import Project
from tests.lab.hosts import Lab

__all__ = ["write_row"]


def steady(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, name: str, port: int, strategy: str
) -> Iterator[Bench]:
    """The small app on all three hosts, first on one, then on the others, reached from outside."""
    project = Project(
        lab,
        tmp_path_factory.mktemp(name),
        app=name,
        port=port,
        strategy=strategy,
        serve="bind = '0.0.0.0'" + "\nkeep_old = '0s'" * (strategy == "blue_green"),
    )
    project.set_up()
    yield Bench(project)
    for host in project.hosts:
        host.exec(f"systemctl stop '{name}*'", check=False)


@pytest.fixture(scope="session")
def behind_haproxy(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from steady(lab, tmp_path_factory, "steady", 8800, "blue_green")


@pytest.fixture(scope="session")
def behind_socket(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from steady(lab, tmp_path_factory, "queued", 8810, "socket")


_reports: list[pytest.TestReport] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what is known so far: a run of hours may be stopped."""
    in_worker = "PYTEST_XDIST_WORKER" in os.environ
    if report.user_properties and report.when == "call" and not in_worker:
        _reports.append(report)
        save(_reports)


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter,
) -> Generator[None, None, None]:
    yield
    show(terminalreporter, _reports)
