"""What is asked of a rollout from another terminal, and what hosts make of its state."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from aideploy.errors import Aborted
from aideploy.phases import control
from aideploy.phases.batches import Course
from aideploy.phases.control import Request, Steering, Wish
from aideploy.remote.result import Result

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def request(wish: Wish, *, rollout: str = "r1", who: str = "bob@desk") -> Request:
    return Request(rollout, wish, who, NOW)


def test_a_request_that_comes_from_every_host_is_heeded_once() -> None:
    steering = Steering("r1")
    pause = request(Wish.PAUSE)

    said = [steering.heed(pause), steering.heed(pause)]

    assert said == ["bob@desk paused the rollout; it goes on with: fab rollout.resume", ""]
    assert steering.paused_by == "bob@desk"


def test_a_request_that_was_meant_for_a_rollout_of_before_is_not_heard() -> None:
    steering = Steering("r2")

    assert steering.heed(request(Wish.ABORT, rollout="r1")) == ""


def test_who_promotes_ends_a_pause_too_and_who_aborts_is_named() -> None:
    steering = Steering("r1")
    steering.heed(request(Wish.PAUSE))
    steering.heed(request(Wish.PROMOTE, who="ana@desk"))

    assert (steering.paused_by, steering.promoted_by) == ("", "ana@desk")
    with pytest.raises(Aborted, match="bob@desk aborted the rollout"):
        steering.heed(request(Wish.ABORT))


def test_state_and_request_come_back_from_a_host_as_they_were_sent() -> None:
    course = Course((("h1",), ("h2", "h3")), has_canary=True)
    state = replace(
        control.beginning(course, "20260101T000000Z-0123456", "0123456" + "0" * 33, "ana@desk"),
        before={"h1": None},
        failed=("h2",),
        why='h2: it\'s "ill"\n$(reboot)',
    )
    pause = request(Wish.PAUSE)

    found = control.found(Result("look", (("state", state.line()), ("lock", "ana@desk"))))

    assert found.running == state
    assert control.heard(Result("hear", (("request", pause.line()),))) == pause
    assert "\n" not in state.line()


@pytest.mark.parametrize("line", ["", "{", "[]", '{"rollout": 1}', '{"wish": "explode"}', "\x00"])
def test_what_a_host_makes_up_is_nothing(line: str) -> None:
    found = control.found(Result("look", (("state", line), ("held", line))))

    assert found.running is None
    assert found.held is None
    assert control.heard(Result("hear", (("request", line),))) is None
