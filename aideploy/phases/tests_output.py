"""What a project's tests said, read from the output of pytest and unittest.

Pure: lines in, counts and the failing tests out. Both write for people and keep their format from
version to version; a command may run either, both, or either several times. Output of anything
else is not understood, which is no error: the exit status decides.

Sources: `_pytest/terminal.py` (build_summary_stats_line, short_test_summary) of pytest 5.4 to 9;
`unittest/runner.py` and `unittest/result.py` of Python 3.8 to 3.14.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

# What pytest counts, and as what it counts here; an expected failure is as it should be.
_PASSED = frozenset({"passed", "xfailed", "xpassed"})
_FAILED = frozenset({"failed", "error", "errors"})
_UNCOUNTED = frozenset({"deselected", "warning", "warnings", "rerun", "retried"})
_PYTEST_COUNTS = re.compile(
    r"=*\s*(?P<counts>no tests ran|\d+ [a-z ]+(?:, \d+ [a-z ]+)*) in (?P<seconds>\d+\.\d+)s"
    r"(?: \(\d[\d:, day]*\))?\s*=*"
)
_PYTEST_SUMMARY = re.compile(r"=+ short test summary info =+")
_PYTEST_FAILED = re.compile(
    r"(?:FAILED|ERROR) (?P<name>[^\[\s]+(?:\[.*?\](?= - |$))?)(?: - (?P<why>.*))?"
)
_PYTEST_HEADER = re.compile(
    r"_{3,} (?:ERROR (?:at (?:setup|teardown) of|collecting) )?(?P<name>.+?) _{3,}"
)
_PYTEST_ASSERTION = re.compile(r"E {3,}(?P<why>\S.*)")

_UNITTEST_RAN = re.compile(r"Ran (?P<ran>\d+) tests? in (?P<seconds>\d+\.\d+)s")
_UNITTEST_VERDICT = re.compile(r"(?:OK|FAILED|NO TESTS RAN)(?: \((?P<counts>.*)\))?")
_UNITTEST_FAILED = re.compile(r"(?:FAIL|ERROR|UNEXPECTED SUCCESS): (?P<name>.+)")
_RULE = "=" * 70
_TRACEBACK = "Traceback (most recent call last):"

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class FailedTest:
    """A test that failed, and the line that says why; empty when its output does not."""

    name: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.why}" if self.why else self.name


@dataclass(frozen=True)
class RanTests:
    """How the project's tests came out; errors count as failures.

    Args:
        seconds: how long they took, as they say themselves.
    """

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    failures: tuple[FailedTest, ...] = ()

    @property
    def ran(self) -> int:
        """How many tests there were."""
        return self.passed + self.failed + self.skipped

    def record(self) -> Mapping[str, object]:
        """Return what release.json says of them."""
        return {
            "passed": self.passed,
            "failed": self.failed,
            "skipped": self.skipped,
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        counts = {"failed": self.failed, "passed": self.passed, "skipped": self.skipped}
        words = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        return f"{words or 'no tests'} in {self.seconds:.1f}s"


def summarised(lines: Iterable[str]) -> RanTests | None:
    """Return what the tests said of themselves; None if nothing of it is understood."""
    plain = [_COLOURS.sub("", line).rstrip() for line in lines]
    runs = [*_of_pytest(plain), *_of_unittest(plain)]
    if not runs:
        return None
    failures = dict.fromkeys([*_failures_of_pytest(plain), *_failures_of_unittest(plain)])
    return RanTests(
        passed=sum(run.passed for run in runs),
        failed=sum(run.failed for run in runs),
        skipped=sum(run.skipped for run in runs),
        seconds=sum(run.seconds for run in runs),
        failures=tuple(failures),
    )


def _of_pytest(lines: Sequence[str]) -> Iterator[RanTests]:
    for line in lines:
        found = _PYTEST_COUNTS.fullmatch(line)
        if found and (run := _pytest_run(found["counts"], float(found["seconds"]))):
            yield run


def _pytest_run(counts: str, seconds: float) -> RanTests | None:
    run: RanTests | None = RanTests(seconds=seconds)
    for part in counts.split(", ") if counts != "no tests ran" else ():
        count, _, word = part.partition(" ")
        run = _counted(run, word, int(count)) if run else None
    return run


def _counted(run: RanTests, word: str, count: int) -> RanTests | None:
    """Return the run with so many more of these; None if pytest knows no such word."""
    if word in _PASSED:
        return replace(run, passed=run.passed + count)
    if word in _FAILED:
        return replace(run, failed=run.failed + count)
    if word == "skipped":
        return replace(run, skipped=run.skipped + count)
    # Subtests are counted with the test that holds them.
    return run if word in _UNCOUNTED or word.startswith("subtests ") else None


def _failures_of_pytest(lines: Sequence[str]) -> Iterator[FailedTest]:
    """Yield what the short summary names, with the assertion of its section above.

    The summary cuts a line at the width of the terminal, which a session has none of; the first
    line marked `E` in the test's section is whole.
    """
    assertions: defaultdict[str, deque[str]] = defaultdict(deque)
    header = ""
    in_summary = False
    for line in lines:
        if _PYTEST_SUMMARY.fullmatch(line):
            in_summary = True
        elif _PYTEST_COUNTS.fullmatch(line):
            in_summary = False
            assertions.clear()
        elif in_summary:
            if failed := _PYTEST_FAILED.fullmatch(line):
                said = assertions[_header_of(failed["name"])]
                yield FailedTest(failed["name"], said.popleft() if said else failed["why"] or "")
        elif found := _PYTEST_HEADER.fullmatch(line):
            header = found["name"]
        elif header and (assertion := _PYTEST_ASSERTION.fullmatch(line)):
            assertions[header].append(assertion["why"])
            header = ""


def _header_of(node: str) -> str:
    """Return what stands above the section of this test: `TestA.test_b[c]`, or a file."""
    file, _, inside = node.partition("::")
    return inside.replace("::", ".") if inside else file


def _of_unittest(lines: Sequence[str]) -> Iterator[RanTests]:
    for number, line in enumerate(lines):
        found = _UNITTEST_RAN.fullmatch(line)
        if found is None:
            continue
        following = next((text for text in lines[number + 1 : number + 4] if text), "")
        verdict = _UNITTEST_VERDICT.fullmatch(following)
        counts = _unittest_counts(verdict["counts"] or "" if verdict else "")
        failed = sum(counts[word] for word in ("failures", "errors", "unexpected successes"))
        skipped = counts["skipped"]
        # What fails in setUpClass, and each subtest, counts as a failure and not as a test.
        passed = max(int(found["ran"]) - failed - skipped, 0)
        yield RanTests(passed, failed, skipped, float(found["seconds"]))


def _unittest_counts(text: str) -> defaultdict[str, int]:
    pairs = (part.partition("=") for part in text.split(", "))
    found = {word: int(count) for word, _, count in pairs if count.isdecimal()}
    return defaultdict(int, found)


def _failures_of_unittest(lines: Sequence[str]) -> Iterator[FailedTest]:
    for number, line in enumerate(lines[:-1]):
        failed = _UNITTEST_FAILED.fullmatch(lines[number + 1]) if line == _RULE else None
        if failed:
            yield FailedTest(failed["name"], _raised(lines[number + 2 :]))


def _raised(lines: Sequence[str]) -> str:
    """Return the exception of the last traceback before the next test, in one line."""
    raised = ""
    wanted = False
    for line in lines:
        if line == _RULE or _UNITTEST_RAN.fullmatch(line):
            break
        if line == _TRACEBACK:
            wanted = True
        elif wanted and line and not line.startswith(" "):
            raised, wanted = line, False
    return raised
