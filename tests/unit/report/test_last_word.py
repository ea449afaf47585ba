from __future__ import annotations

from pathlib import Path

import pytest

from aideploy.errors import ExitStatus
from aideploy.events import Failure, HostState, RunFinished
from aideploy.report.last_word import Tone, last_word
from tests.unit.report.pretend_run import failure, names


def said(
    failures: tuple[Failure, ...] = (),
    hosts: tuple[HostState, ...] = (),
    status: int = 5,
    next_step: str = "fab status",
) -> str:
    finished = RunFinished(
        status=status,
        headline="it went wrong",
        seconds=75,
        failures=failures,
        hosts=hosts,
        next_step=next_step,
        log=Path("/app/.aideploy/logs/x.log"),
    )
    return "\n".join(line.text for line in last_word(finished))


def serving(host: str, release: str = "r1", healthy: bool | None = True) -> HostState:
    return HostState(host=host, state="serves", release=release, healthy=healthy)


def test_it_ends_with_the_state_the_log_and_the_next_command() -> None:
    assert said(hosts=(serving("gpu1"),)) == (
        "\n✗ it went wrong\n"
        "  after 1m 15s, exit status 5\n"
        "\n"
        "  Now   gpu1  serves, r1, healthy\n"
        "  Log   /app/.aideploy/logs/x.log\n"
        "  Next  fab status"
    )


def test_two_hundred_hosts_with_one_reason_are_one_failure() -> None:
    text = said(tuple(failure(host) for host in names(200)))
    assert text.count("the service did not answer") == 1
    assert "stage on gpu1, gpu2, " in text
    assert "gpu10 and 190 more: the service did not answer" in text
    assert "ranker@green on gpu1 exited with 1" in text
    assert text.count("\n") < 12


def test_different_reasons_stay_apart() -> None:
    text = said(
        (
            Failure(what="no space left on a", host="a", phase="fetch"),
            Failure(what="no space left on b", host="b", phase="fetch"),
            Failure(what="no space left on c", host="c", phase="install"),
            Failure(what="no git on d", host="d", phase="fetch"),
        )
    )
    assert "fetch on a, b: no space left on a" in text
    assert "install on c: no space left on c" in text
    assert "fetch on d: no git on d" in text


def test_two_hundred_reasons_still_end_with_the_next_command_on_one_screen() -> None:
    failures = tuple(
        Failure(what=f"reason {number}", host=host, why="because", tail=("line",))
        for number, host in enumerate(names(200))
    )
    lines = said(failures).split("\n")
    assert "  … and 180 more failures; the log has all of them" in lines
    assert lines[-1] == "  Next  fab status"
    assert len(lines) < 60


def test_a_failure_on_the_controller_needs_no_host() -> None:
    assert "\n  ✗ open: the key cannot be read\n" in said(
        (Failure(what="the key cannot be read", phase="open"),)
    )


def test_the_last_lines_are_shown_under_their_reason_and_harmless() -> None:
    text = said((Failure(what="exit 1", host="a", why="one\n\x1b[31mtwo", tail=("\x1b[2Jend",)),))
    assert "\n  ✗ a: exit 1\n    one\n    two\n    the last lines:\n    │ end\n" in text


def test_hosts_in_one_state_share_a_line() -> None:
    assert "  Now   all 200 hosts  serves, r1, healthy" in said(
        hosts=tuple(map(serving, names(200)))
    )


def test_when_a_person_is_needed_every_unusual_host_is_named_and_stands_out() -> None:
    broken = tuple(serving(host, "r2", healthy=False) for host in names(30))
    fine = tuple(serving(f"cpu{number}") for number in range(170))
    text = said(hosts=broken + fine, status=ExitStatus.NEEDS_PERSON)
    assert all(f"gpu{number}" in text for number in range(1, 31))
    assert "serves, r2, not healthy\n" in text
    assert "        the other 170 hosts       serves, r1, healthy" in text
    finished = RunFinished(status=6, headline="x", seconds=1, hosts=broken + fine)
    bad = [line.text for line in last_word(finished) if line.tone is Tone.BAD]
    assert any("not healthy" in line for line in bad)


@pytest.mark.parametrize(("status", "mark"), [(0, "✓"), (8, "!"), (3, "✗"), (130, "✗"), (1, "✗")])
def test_the_mark_tells_good_from_bad(status: int, mark: str) -> None:
    assert said(status=status).startswith(f"\n{mark} it went wrong\n")


def test_several_next_steps_stand_below_each_other() -> None:
    assert said(next_step="fab logs\nfab deploy").endswith("\n  Next  fab logs\n        fab deploy")
