"""Promises of the deployments on GitHub: they end as the deploy ended, and never stop one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from aideploy.errors import ExitStatus
from aideploy.events import (
    Event,
    Events,
    Notice,
    Outcome,
    Phase,
    PhaseFinished,
    PhaseStarted,
    ReleaseKnown,
    RunFinished,
)
from aideploy.gates.github_http import Api, Patience
from aideploy.report.github_deployment import GitHubDeployment
from tests.lab.github import REPOSITORY, TOKEN, GitHub, Repository, Trouble

COMMIT = "a" * 40
IMPATIENT = Patience(1, longest_pause=timedelta(0), timeout=timedelta(seconds=2))
KNOWN = ReleaseKnown(release="20260101T000000Z-aaaaaaa", revision=COMMIT)
REVIEWED = PhaseFinished(phase=Phase.REVIEW, outcome=Outcome.DONE, seconds=1)
CONFIRMED = PhaseFinished(phase=Phase.CONFIRM, outcome=Outcome.DONE, seconds=1)


@pytest.fixture
def forge() -> Iterator[GitHub]:
    with GitHub(Repository(history=(COMMIT,))) as server:
        yield server


def seen(forge: GitHub, *told: Event) -> list[Event]:
    """Tell these events to GitHub and to somebody who reads after it."""
    heard: list[Event] = []
    events = Events(heard.append)

    def connect() -> Api:
        return Api(forge.api, REPOSITORY, TOKEN, "GITHUB_TOKEN", IMPATIENT, lambda _: None)

    events.subscribe_first(GitHubDeployment(connect, "ranker", "production", events))
    for event in told:
        events.publish(event)
    return heard


def ended(status: ExitStatus, headline: str = "over") -> RunFinished:
    return RunFinished(status=status, headline=headline, seconds=1)


@pytest.mark.parametrize(
    ("told", "states"),
    [
        ((REVIEWED, CONFIRMED, ended(ExitStatus.DONE)), ["in_progress", "success"]),
        ((REVIEWED, ended(ExitStatus.DONE)), ["in_progress", "inactive"]),
        ((REVIEWED, ended(ExitStatus.ROLLED_BACK)), ["in_progress", "failure"]),
        ((REVIEWED, ended(ExitStatus.INTERRUPTED)), ["in_progress", "failure"]),
        ((REVIEWED, ended(ExitStatus.NEEDS_PERSON)), ["in_progress", "error"]),
        ((REVIEWED, ended(ExitStatus.HELD)), ["in_progress", "pending"]),
        # It was reviewed and staged by an earlier run.
        (
            (PhaseStarted(phase=Phase.SWITCH, hosts=("web1",)), CONFIRMED, ended(ExitStatus.DONE)),
            ["in_progress", "success"],
        ),
        # Refused by the gate: nothing was begun.
        ((ended(ExitStatus.REFUSED),), []),
    ],
)
def test_github_says_what_became_of_it(
    forge: GitHub, told: tuple[Event, ...], states: list[str]
) -> None:
    seen(forge, KNOWN, *told)
    assert forge.statuses == states
    assert len(forge.deployments) == bool(states)


def test_a_long_headline_is_cut_to_what_github_takes(forge: GitHub) -> None:
    seen(forge, KNOWN, REVIEWED, ended(ExitStatus.ROLLED_BACK, "why " * 100))
    assert forge.statuses == ["in_progress", "failure"]


def test_what_goes_wrong_is_told_once_and_before_the_last_word(forge: GitHub) -> None:
    forge.repository.troubles = [Trouble(500)]
    switch = PhaseStarted(phase=Phase.SWITCH, hosts=("web1",))
    heard = seen(forge, KNOWN, REVIEWED, switch, CONFIRMED, ended(ExitStatus.DONE))
    assert len([event for event in heard if isinstance(event, Notice)]) == 1
    assert len(forge.asked) == 1

    forge.repository.troubles = [Trouble(500, "statuses")]
    heard = seen(forge, KNOWN, REVIEWED, CONFIRMED, ended(ExitStatus.DONE))
    assert isinstance(heard[-1], RunFinished)
    assert isinstance(heard[-2], Notice)


def test_ctrl_c_while_github_is_told_the_end_does_not_cost_the_last_word(
    forge: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    begun = seen(forge, KNOWN, REVIEWED)
    assert forge.statuses == ["in_progress"]
    assert not any(isinstance(event, Notice) for event in begun)

    monkeypatch.setattr(Api, "post", interrupted)
    heard = seen(forge, KNOWN, CONFIRMED, ended(ExitStatus.DONE))
    assert isinstance(heard[-1], RunFinished)
