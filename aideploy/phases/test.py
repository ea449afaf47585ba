"""The test phase: the project's own tests, in the release's environment.

Pure: which script to run, and what its output means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aideploy.errors import AideployError, Refused
from aideploy.events import Phase
from aideploy.phases.tests_output import RanTests, summarised
from aideploy.remote.result import Result, ScriptFailed
from aideploy.remote.script import Script

if TYPE_CHECKING:
    from aideploy.settings import Settings
    from aideploy.settings.train import ProjectTests

# The counts come last, what failed before them: more than people read, little to remember.
_KEPT_LINES = 20_000
_NAMED_TESTS = 20
_REFUSING = ("tests-failed", "timeout")


def script(settings: Settings, tests: ProjectTests, release: str) -> Script:
    """Return the script that runs the tests; it fails with the code `tests-failed`."""
    return Script(
        "test",
        (str(settings.app.deploy_to), release, tests.command),
        libraries=("release",),
        limit=tests.timeout,
        kept_lines=_KEPT_LINES,
    )


def read(result: Result, host: str) -> RanTests | None:
    """Return how the tests that ended well came out; None if they do not say it.

    Raises:
        Refused: there were none, which unittest calls a success before Python 3.12.
    """
    tests = summarised(result.tail)
    if tests is not None and tests.ran == 0:
        raise _without_tests(result, host)
    return tests


def refusal(failed: ScriptFailed, host: str) -> AideployError:
    """Return what to tell of tests that did not end well: how many failed, and which.

    Args:
        failed: what the script said; given back as it is where the tests are not to blame.
        host: where they ran.
    """
    if failed.code not in _REFUSING:
        return failed
    tests = summarised(failed.result.tail)
    if tests is not None and tests.ran == 0:
        return _without_tests(failed.result, host)
    return Refused(
        _told(failed, tests),
        why="\n".join(_named(tests)) if tests else "",
        next_step=failed.next_step,
        host=host,
        phase=failed.phase,
        tail=failed.tail,
    )


def _told(failed: ScriptFailed, tests: RanTests | None) -> str:
    if tests is None:
        return failed.what
    if failed.code == "timeout" or not tests.failed:
        return f"{failed.what}: {tests}"
    return f"{tests.failed} of {tests.ran} tests failed"


def _named(tests: RanTests) -> list[str]:
    named = [str(one) for one in tests.failures[:_NAMED_TESTS]]
    rest = len(tests.failures) - len(named)
    return [*named, f"… and {rest} more"] if rest else named


def _without_tests(result: Result, host: str) -> Refused:
    return Refused(
        "no tests were found",
        why="tests that are not there would let everything pass",
        next_step="correct the command in [test], or leave [test] out",
        host=host,
        phase=Phase.TEST,
        tail=result.tail[-5:],
    )
