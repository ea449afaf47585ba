"""Runs the review gate as a phase of a deploy: asks, judges, and tells how it came out.

Called by the story. The forge takes the place of a host in the events.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aideploy.errors import AideployError, Interrupted, Refused
from aideploy.events import (
    Events,
    HostFinished,
    Notice,
    Outcome,
    Phase,
    PhaseFinished,
    PhaseStarted,
    StepStarted,
)
from aideploy.gates.review import Verdict, Waiver, judge
from aideploy.settings.secrets import find

if TYPE_CHECKING:
    from aideploy.settings import Settings
    from aideploy.settings.review import Review


class NotReviewed(AideployError):
    """The forge could not be asked. Its status is that of the reason."""

    def __init__(self, cause: AideployError) -> None:
        super().__init__(
            "the commit could not be reviewed; nothing was switched",
            next_step=cause.next_step,
            phase=Phase.REVIEW,
            causes=(cause,),
        )
        self.status = cause.status


def token_of(settings: Settings, environ: Mapping[str, str]) -> str:
    """Return the value of the token; empty where there is no [review].

    Raises:
        SettingsError: it has none.
    """
    if settings.review is None:
        return ""
    name = settings.review.token
    return find([name], settings.serve, environ, settings.path.parent)[name]


def review(how: Review, token: str, revision: str, branch: str, events: Events) -> Verdict:
    """Ask whether the commit may be deployed.

    Args:
        how: what is asked for.
        token: its value.
        revision: the full commit.
        branch: that it has to be on.
        events: where it is told.

    Raises:
        Refused: it may not; the reasons are in the cause.
        NotReviewed: the forge could not be asked.
        Interrupted: Ctrl-C.
    """
    from aideploy.gates import github
    from aideploy.gates.github_http import OF_A_GATE, Api

    place = place_of(how)

    def say(text: str) -> None:
        events.publish(StepStarted(phase=Phase.REVIEW, host=place, text=text))

    def work() -> Verdict:
        with Api(how.api, how.repository, token, how.token, OF_A_GATE, say) as api:
            facts = github.facts(api, revision, branch, how.require_checks, say)
        verdict = judge(facts, how.approvals)
        if verdict.lacking:
            raise _refusal(revision, verdict)
        return verdict

    return _as_phase(place, work, events)


def leave_out(how: Review, waiver: Waiver, events: Events) -> None:
    """Tell that the gate was left out on purpose, so that nobody overlooks it."""
    place = place_of(how)
    events.publish(PhaseStarted(phase=Phase.REVIEW, hosts=(place,)))
    _finished(place, Outcome.SKIPPED, str(waiver), time.monotonic(), events)
    events.publish(Notice(text=f"{waiver} (the journals will say so)", level="warning"))


def place_of(how: Review) -> str:
    """Return the name of the forge."""
    return urlsplit(how.api).hostname or how.api


def _as_phase(place: str, work: Callable[[], Verdict], events: Events) -> Verdict:
    began = time.monotonic()
    events.publish(PhaseStarted(phase=Phase.REVIEW, hosts=(place,)))
    try:
        verdict = work()
    except Refused as error:
        _finished(place, Outcome.FAILED, error.causes[0].what, began, events)
        raise
    except AideployError as error:
        _finished(place, Outcome.FAILED, error.what, began, events)
        raise NotReviewed(error) from error
    except KeyboardInterrupt:
        _finished(place, Outcome.CANCELLED, "", began, events)
        raise Interrupted("interrupted; nothing was switched", phase=Phase.REVIEW) from None
    _finished(place, Outcome.DONE, str(verdict), began, events)
    return verdict


def _finished(place: str, outcome: Outcome, message: str, began: float, events: Events) -> None:
    seconds = time.monotonic() - began
    events.publish(
        HostFinished(
            phase=Phase.REVIEW, host=place, outcome=outcome, seconds=seconds, message=message
        )
    )
    events.publish(PhaseFinished(phase=Phase.REVIEW, outcome=outcome, seconds=seconds))


def _refusal(revision: str, verdict: Verdict) -> Refused:
    lacking = verdict.lacking
    count = "one thing" if len(lacking) == 1 else f"{len(lacking)} things"
    where = f"complete {verdict.pull.url}" if verdict.pull else "bring it by a pull request"
    return Refused(
        f"the review gate refused {revision[:7]}; nothing was switched",
        next_step=f"{where}, then fab deploy; in an emergency: fab deploy --no-review REASON",
        phase=Phase.REVIEW,
        causes=(
            Refused(
                f"{revision[:7]} lacks {count}" + (f": {lacking[0]}" if len(lacking) == 1 else ""),
                why="\n".join(lacking) if len(lacking) > 1 else "",
                phase=Phase.REVIEW,
            ),
        ),
    )
