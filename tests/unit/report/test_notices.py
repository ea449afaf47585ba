"""Promises of [notify]: whoever is named hears how it ended, and nothing of it stops a command."""

from __future__ import annotations

import socket
import time

import pytest

from aideploy.errors import ExitStatus
from aideploy.events import (
    Event,
    Events,
    Failure,
    HostFinished,
    HostState,
    Notice,
    Outcome,
    Phase,
    ReleaseKnown,
    RunFinished,
)
from aideploy.report.notices import PATIENCE_SECONDS, Notices
from aideploy.settings.notify import Occasion
from tests.webhook import Webhook

KNOWN = ReleaseKnown(release="20260101T000000Z-aaaaaaa", revision="a" * 40)
REVERTED = HostFinished(phase=Phase.REVERT, host="web1", outcome=Outcome.DONE, seconds=1)
SECRET = "very-secret-part"


def ended(status: ExitStatus, headline: str = "over") -> RunFinished:
    return RunFinished(
        status=status,
        headline=headline,
        seconds=1.25,
        failures=(Failure(what="not <healthy> & *gone*", host="web1", phase="watch"),),
        hosts=(HostState(host="web1", state="back on x", release="x", healthy=True),),
        next_step="fab logs",
    )


def tell(
    *told: Event,
    on: frozenset[Occasion] = frozenset(Occasion),
    command: str = "deploy",
    **urls: str,
) -> list[str]:
    """Tell these events; the warnings that somebody reads who reads after it."""
    heard: list[Event] = []
    events = Events(heard.append)
    about = {"command": command, "app": "ranker", "environment": "production", "who": "ada@desk"}
    events.subscribe_first(Notices(urls, on, about, events))
    for event in told:
        events.publish(event)
    # The warnings come before the last word, after which nobody listens.
    assert isinstance(heard[-1], RunFinished)
    return [event.text for event in heard if isinstance(event, Notice)]


def test_the_document_says_what_became_of_it() -> None:
    with Webhook() as hook:
        assert tell(KNOWN, REVERTED, ended(ExitStatus.ROLLED_BACK), webhook=hook.url) == []

    (got,) = hook.got
    assert got.pop("at").endswith("+00:00")
    assert got == {
        "version": 1,
        "event": "rollback",
        "command": "deploy",
        "app": "ranker",
        "environment": "production",
        "who": "ada@desk",
        "status": 5,
        "headline": "over",
        "release": KNOWN.release,
        "revision": KNOWN.revision,
        "seconds": 1.2,
        "hosts": [{"host": "web1", "state": "back on x", "release": "x", "healthy": True}],
        "failures": [{"host": "web1", "phase": "watch", "what": "not <healthy> & *gone*"}],
        "next_step": "fab logs",
    }


@pytest.mark.parametrize(
    ("command", "status", "reverted", "event"),
    [
        ("deploy", ExitStatus.DONE, False, "success"),
        ("rollback", ExitStatus.DONE, False, "rollback"),
        ("rollout.abort", ExitStatus.DONE, False, "rollback"),
        ("rollout.promote", ExitStatus.DONE, False, "success"),
        ("deploy", ExitStatus.ROLLED_BACK, True, "rollback"),
        # It failed before anything was switched.
        ("deploy", ExitStatus.ROLLED_BACK, False, "failure"),
        ("deploy", ExitStatus.HELD, False, "held"),
        ("deploy", ExitStatus.REFUSED, False, "failure"),
        ("deploy", ExitStatus.NEEDS_PERSON, True, "failure"),
        ("deploy", ExitStatus.INTERRUPTED, False, "failure"),
    ],
)
def test_each_end_is_told_as_what_it_is(
    command: str, status: ExitStatus, reverted: bool, event: str
) -> None:
    told = (REVERTED,) if reverted else ()
    with Webhook() as hook:
        tell(*told, ended(status), command=command, webhook=hook.url)
        others = frozenset(Occasion) - {Occasion(event)}
        tell(*told, ended(status), command=command, on=others, webhook=hook.url)

    assert [one["event"] for one in hook.got] == [event]


def test_slack_gets_text_in_which_nothing_is_a_command() -> None:
    with Webhook() as hook:
        tell(ended(ExitStatus.REFUSED, "<!channel> refused"), slack=hook.url)

    (got,) = hook.got
    assert got["mrkdwn"] is False
    assert "&lt;!channel&gt; refused" in got["text"]
    assert "web1 (watch): not &lt;healthy&gt; &amp; *gone*" in got["text"]
    assert "<" not in got["text"]


def test_a_bad_moment_is_tried_again_once() -> None:
    with Webhook(503) as hook:
        assert tell(ended(ExitStatus.DONE), webhook=hook.url) == []
    assert len(hook.got) == 1

    with Webhook(503, 500) as hook:
        (warning,) = tell(ended(ExitStatus.DONE), webhook=hook.url)
    assert hook.asked == 2
    assert "answered 500" in warning
    assert SECRET not in warning


def test_a_refusal_is_not_repeated_and_the_other_one_hears_it_all_the_same() -> None:
    with Webhook(404) as gone, Webhook() as well:
        (warning,) = tell(ended(ExitStatus.DONE), webhook=gone.url, slack=well.url)
    assert (gone.asked, len(well.got)) == (1, 1)
    assert "answered 404" in warning


def test_nobody_there_is_a_warning_without_the_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/{SECRET}"
        (warning,) = tell(ended(ExitStatus.DONE), webhook=url)
    assert "cannot be reached" in warning
    assert SECRET not in warning


def test_somebody_who_never_answers_delays_nothing_for_long() -> None:
    began = time.monotonic()
    with Webhook(delay=30) as hook:
        (warning,) = tell(ended(ExitStatus.DONE), webhook=hook.url)
        took = time.monotonic() - began
    assert took < PATIENCE_SECONDS + 2
    assert SECRET not in warning


@pytest.mark.parametrize("url", ["http://[::1/x", "https://", "http://host:99999/x"])
def test_a_url_that_is_none_is_a_warning(url: str) -> None:
    assert len(tell(ended(ExitStatus.DONE), webhook=url)) == 1
