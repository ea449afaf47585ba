"""Runs the review gate as a phase of a deploy: asks, judges, and tells how it came out.

Called by the story. The forge takes the place of a host in the events.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aideploy.errors import AideployError, Interrupted, Refused, UsageError
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


class ReviewGate:
    """The gate of one deploy. Without a [review] it is always open.

    Args:
        settings: of the environment.
        waiver: leaves the gate out.
    """

    def __init__(self, settings: Settings, waiver: Waiver | None) -> None:
        self._settings = settings
        self._waiver = waiver
        self._token = ""
        self._judged: Verdict | Waiver | None = None

    def prepare(self, environ: Mapping[str, str]) -> None:
        """Find what is needed, before anything is connected to.

        Args:
            environ: the environment variables of this machine.

        Raises:
            SettingsError: the token has no value.
            UsageError: there is no gate to leave out.
        """
        if self._waiver is None:
            self._token = token_of(self._settings, environ)
        elif self._settings.review is None:
            raise UsageError(
                "there is no review to leave out: hosts.toml has no [review]",
                next_step="run the same command without --no-review",
            )

    def review(self, revision: str, events: Events) -> Verdict | Waiver | None:
        """Ask whether the commit may be deployed, and return the answer; None without a [review].

        Args:
            revision: the full commit.
            events: where it is told.

        Raises:
            Refused: it may not; the reasons are in the cause.
            NotReviewed: the forge could not be asked.
            Interrupted: Ctrl-C.
        """
        how = self._settings.review
        if how is None:
            return None
        if self._waiver:
            _leave_out(place_of(how), self._waiver, events)
            self._judged = self._waiver
        else:
            branch = self._settings.app.branch
            self._judged = _review(how, self._token, revision, branch, events)
        return self._judged

    @property
    def is_open(self) -> bool:
        """Whether the release may go on."""
        return self._settings.review is None or self._judged is not None

    @property
    def note(self) -> str:
        """What the journals say of it; nothing where all went its usual way."""
        return str(self._waiver or "")

    def record(self) -> Mapping[str, object] | None:
        """Return what release.json says of it."""
        return self._judged.record() if self._judged else None


def place_of(how: Review) -> str:
    """Return the name of the forge."""
    return urlsplit(how.api).hostname or how.api


def _review(how: Review, token: str, revision: str, branch: str, events: Events) -> Verdict:
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


def _leave_out(place: str, waiver: Waiver, events: Events) -> None:
    """Tell that the gate was left out on purpose, so that nobody overlooks it."""
    events.publish(PhaseStarted(phase=Phase.REVIEW, hosts=(place,)))
    _finished(place, Outcome.SKIPPED, str(waiver), time.monotonic(), events)
    events.publish(Notice(text=f"{waiver} (the journals will say so)", level="warning"))


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
