"""Promises of the test gate: what pytest and unittest say is understood as they really say it.

Both are really run, on small test files with one test of every fate, and what they print is read.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aideploy.errors import Refused
from aideploy.phases import test as gate
from aideploy.phases.tests_output import FailedTest, RanTests, summarised
from aideploy.remote.result import Result, ScriptFailed

OF_PYTEST = """
import pytest, warnings

def test_good():
    warnings.warn("mind the gap")

@pytest.mark.parametrize("word", ["a - b", "c"])
def test_words(word):
    assert word == "c", "what a person has to know, in a message that is far longer than a line"

class TestRanking:
    def test_order(self):
        assert [3, 1] == sorted([3, 1])

@pytest.fixture
def broken():
    raise RuntimeError("no database")

def test_with_database(broken):
    pass

@pytest.mark.skip
def test_skipped():
    pass

@pytest.mark.xfail
def test_expected_to_fail():
    assert False
"""
OF_UNITTEST = """
import unittest

class Ranking(unittest.TestCase):
    def test_good(self):
        pass

    def test_order(self):
        \"\"\"The best come first.\"\"\"
        self.assertEqual([3, 1], sorted([3, 1]))

    def test_chain(self):
        try:
            {}["model"]
        except KeyError as error:
            raise RuntimeError("no model") from error

    def test_each(self):
        for number in (1, 2):
            with self.subTest(number=number):
                self.assertEqual(number, 1)

    @unittest.skip("not today")
    def test_skipped(self):
        pass

    @unittest.expectedFailure
    def test_expected_to_fail(self):
        self.fail()
"""


def run(folder: Path, *command: str, **files: str) -> tuple[int, tuple[str, ...]]:
    """Run a test command on these files; its status and what it printed."""
    for name, content in files.items():
        (folder / f"{name}.py").write_text(content)
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Plugins of the machine would take their time.
        env={"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        timeout=60,
    )
    return done.returncode, tuple(done.stdout.splitlines())


PYTEST = ("pytest", "-p", "no:cacheprovider", "--rootdir=.", "-c", "/dev/null")
FAILED_OF_PYTEST = {
    "test_it.py::test_words[a - b]": "AssertionError: what a person has to know, in a message "
    "that is far longer than a line",
    "test_it.py::TestRanking::test_order": "assert [3, 1] == [1, 3]",
    "test_it.py::test_with_database": "RuntimeError: no database",
}


@pytest.mark.parametrize(
    "options",
    [(), ("-q",), ("--color=yes",), ("--tb=short",), ("-pxdist", "-n2")],
    ids=lambda options: " ".join(options) or "plain",
)
def test_pytest_is_understood(tmp_path: Path, options: tuple[str, ...]) -> None:
    status, lines = run(tmp_path, *PYTEST, *options, test_it=OF_PYTEST)
    ran = summarised(lines)
    assert status == 1
    assert ran
    assert (ran.failed, ran.passed, ran.skipped) == (3, 3, 1)
    assert 0 < ran.seconds < 60
    assert {one.name: one.why for one in ran.failures} == FAILED_OF_PYTEST


def test_without_tracebacks_the_names_are_there_all_the_same(tmp_path: Path) -> None:
    _, lines = run(tmp_path, *PYTEST, "--tb=no", test_it=OF_PYTEST)
    ran = summarised(lines)
    assert ran
    assert {one.name for one in ran.failures} == set(FAILED_OF_PYTEST)


def test_tests_of_one_name_keep_their_own_reasons(tmp_path: Path) -> None:
    files = {name: f"def test_it():\n    assert '{name}' == 0\n" for name in ("test_a", "test_b")}
    _, lines = run(tmp_path, *PYTEST, **files)
    ran = summarised(lines)
    assert ran
    assert [str(one) for one in ran.failures] == [
        "test_a.py::test_it: AssertionError: assert 'test_a' == 0",
        "test_b.py::test_it: AssertionError: assert 'test_b' == 0",
    ]


def test_a_file_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    _, lines = run(tmp_path, *PYTEST, test_it="import no_such_module\n")
    ran = summarised(lines)
    assert ran
    assert ran == RanTests(
        failed=1,
        seconds=ran.seconds,
        failures=(
            FailedTest("test_it.py", "ModuleNotFoundError: No module named 'no_such_module'"),
        ),
    )


def test_unittest_is_understood(tmp_path: Path) -> None:
    status, lines = run(tmp_path, "unittest", test_it=OF_UNITTEST)
    ran = summarised(lines)
    assert status == 1
    assert ran
    assert (ran.failed, ran.passed, ran.skipped) == (3, 2, 1)
    # Python 3.11 writes the name of the method after that of the class too.
    found = {one.name.split(" ")[0]: one for one in ran.failures}
    assert found["test_order"].why == "AssertionError: Lists differ: [3, 1] != [1, 3]"
    assert found["test_chain"].why == "RuntimeError: no model"
    assert found["test_each"].name.endswith("(number=2)")
    assert found["test_each"].why == "AssertionError: 2 != 1"


def test_what_several_commands_ran_is_added_up(tmp_path: Path) -> None:
    _, first = run(tmp_path, "unittest", test_it=OF_UNITTEST)
    _, second = run(tmp_path, *PYTEST, test_it=OF_PYTEST)
    ran = summarised([*first, *second])
    assert ran
    assert (ran.failed, ran.passed, ran.skipped) == (6, 5, 2)
    assert len(ran.failures) == 6


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("all is well",),
        ("copied 3 files in 0.5s",),
        ("12 failed attempts in 0.5s",),
        ("FAILED test_ranking",),
        ("Ran 3 laps in 1.5s",),
    ],
)
def test_what_is_neither_is_not_understood(lines: tuple[str, ...]) -> None:
    assert summarised(lines) is None


def failed(lines: tuple[str, ...], status: int, code: str = "tests-failed") -> ScriptFailed:
    message = ("fail.message", f"the tests failed (exit status {status})")
    return ScriptFailed(code, Result("test", (message,), lines), host="gpu1", phase="test")


def test_a_refusal_names_the_tests_and_why_they_failed(tmp_path: Path) -> None:
    status, lines = run(tmp_path, *PYTEST, test_it=OF_PYTEST)
    error = gate.refusal(failed(lines, status), "gpu1")
    assert isinstance(error, Refused)
    assert error.what == "3 of 7 tests failed"
    assert "test_it.py::TestRanking::test_order: assert [3, 1] == [1, 3]" in error.why
    assert (error.host, error.phase) == ("gpu1", "test")
    assert len(error.tail) == 20


def test_of_very_many_failures_the_first_are_named() -> None:
    names = [f"FAILED test_it.py::test_{number} - assert 0" for number in range(50)]
    error = gate.refusal(
        failed(("== short test summary info ==", *names, "50 failed in 0.10s"), 1), "gpu1"
    )
    assert error.why.splitlines()[-1] == "… and 30 more"


def test_a_command_that_fails_though_all_tests_pass_is_refused_in_its_own_words() -> None:
    error = gate.refusal(failed(("2 passed in 0.10s", "coverage is too low"), 2), "gpu1")
    assert error.what == "the tests failed (exit status 2): 2 passed in 0.1s"


@pytest.mark.parametrize("code", ["no-space", "cancelled"])
def test_tests_are_not_blamed_for_what_the_host_lacks(code: str) -> None:
    error = failed((), 1, code)
    assert gate.refusal(error, "gpu1") is error


def test_no_tests_at_all_are_refused(tmp_path: Path) -> None:
    status, lines = run(tmp_path, *PYTEST, test_it="")
    assert status == 5
    assert gate.refusal(failed(lines, status), "gpu1").what == "no tests were found"

    status, lines = run(tmp_path, *PYTEST, "-knothing", test_it=OF_PYTEST)
    assert status == 5
    assert gate.refusal(failed(lines, status), "gpu1").what == "no tests were found"

    # Before Python 3.12 unittest calls this a success.
    _, lines = run(tmp_path, "unittest", test_it="")
    with pytest.raises(Refused, match="no tests were found"):
        gate.read(Result("test", (), lines), "gpu1")
