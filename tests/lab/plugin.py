"""Pytest: labs as fixtures, and what happens to tests of real hosts where there can be none.

Loaded by `tests/conftest.py`. Every test marked `fleet` is skipped, with one line that names what
is missing, unless AIDEPLOY_REQUIRE_FLEET=1 says that this machine must be able to run them. At the
end the screen has a plain list of what could not run and why.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterator

import pytest

from tests.lab.hosts import Lab, Sudo
from tests.lab.needs import missing

REQUIRED = "AIDEPLOY_REQUIRE_FLEET"


@pytest.fixture(scope="session")
def lab3() -> Iterator[Lab]:
    """Three hosts where `deploy` may use sudo, shared by all tests of the run.

    A test leaves them running and on the network, and uses an app name of its own. One that
    would not, opens a Lab of its own: that takes about a second.
    """
    with Lab(3, sudo=Sudo.ALL) as lab:
        yield lab


def pytest_configure(config: pytest.Config) -> None:
    """Say at once what a machine lacks that must be able to run everything."""
    is_worker = hasattr(config, "workerinput")
    if os.environ.get(REQUIRED) == "1" and not is_worker and (lacking := missing()):
        raise pytest.UsageError(
            f"{REQUIRED}=1, but no real hosts here, missing: {'; '.join(lacking)}"
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    fleet = [item for item in items if item.get_closest_marker("fleet")]
    lacking = "; ".join(missing()) if fleet else ""
    if not lacking:
        return
    for item in fleet:
        item.add_marker(pytest.mark.skip(reason=f"no real hosts here, missing: {lacking}"))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where all tests must run, one that was skipped is one that failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    required = os.environ.get(REQUIRED) == "1"
    if required and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter,
) -> Generator[None, None, None]:
    """After all that others have to say, the list of what could not run."""
    yield
    skipped: list[pytest.TestReport] = terminalreporter.stats.get("skipped", [])
    reasons = Counter(_reason(report) for report in skipped)
    if reasons:
        terminalreporter.section("could not run here")
    if reasons and os.environ.get(REQUIRED) == "1":
        terminalreporter.write_line(f"{REQUIRED}=1 says that all of it must run here: failed")
    for reason, count in reasons.items():
        terminalreporter.write_line(f"{count} {'test' if count == 1 else 'tests'}: {reason}")


def _reason(report: pytest.TestReport) -> str:
    """Why it was skipped; pytest keeps that as the third part of a tuple."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)
