"""Shows a deploy on GitHub: a deployment of the commit, and its statuses as the deploy goes.

A reader of events. Whatever goes wrong with it is a notice and never stops a deploy. It speaks
while nothing runs on a host: before the release is installed, or before a switch begins, and when
all is over. Source: GitHub's REST documentation, "REST API endpoints for deployments" and
"… for deployment statuses".
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import BaseModel, TypeAdapter

from aideploy.errors import AideployError, ExitStatus
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

if TYPE_CHECKING:
    from aideploy.gates.github_http import Api
    from aideploy.running import Run

_LONGEST_DESCRIPTION = 140  # GitHub takes no more


class _Made(BaseModel):
    id: int


def show_on_github(run: Run) -> None:
    """Let GitHub follow a command, where there is a [review]."""
    how = run.settings.review
    if how is None:
        return
    settings, events = run.settings, run.events

    def connect() -> Api:
        from aideploy.gates.github_http import OF_A_NOTE, Api
        from aideploy.gates.reviewing import token_of

        token = token_of(settings, os.environ)
        return Api(how.api, how.repository, token, how.token, OF_A_NOTE, lambda _: None)

    events.subscribe_first(
        GitHubDeployment(connect, settings.app.name, settings.environment, events)
    )


class GitHubDeployment:
    """Makes the deployment when the commit passed review, and says how it ended.

    Args:
        connect: opens the line to GitHub.
        app: the name of the application.
        environment: that is deployed to.
        events: where notices go.
    """

    def __init__(
        self, connect: Callable[[], Api], app: str, environment: str, events: Events
    ) -> None:
        self._connect = connect
        self._app = app
        self._environment = environment
        self._events = events
        self._release: ReleaseKnown | None = None
        self._deployment: int | None = None
        self._gave_up = False
        self._is_live = False

    def __call__(self, event: Event) -> None:
        match event:
            case ReleaseKnown():
                self._release = event
            case PhaseFinished(phase=Phase.REVIEW, outcome=Outcome.DONE | Outcome.SKIPPED):
                self._begin()
            case PhaseStarted(phase=Phase.SWITCH):
                # A release that was reviewed and staged before.
                self._begin()
            case PhaseFinished(phase=Phase.CONFIRM, outcome=Outcome.DONE):
                self._is_live = True
            case RunFinished():
                self._end(event)

    def _begin(self) -> None:
        release = self._release
        if release is None or self._deployment is not None or self._gave_up:
            return

        def tell(api: Api) -> None:
            made = api.post(
                "deployments",
                {
                    "ref": release.revision,
                    "task": "deploy",
                    "auto_merge": False,
                    # The review gate looked at them.
                    "required_contexts": [],
                    "environment": self._environment,
                    "production_environment": self._environment == "production",
                    "description": f"{self._app} {release.release}"[:_LONGEST_DESCRIPTION],
                    "payload": {"app": self._app, "release": release.release},
                },
                TypeAdapter(_Made),
                what="a deployment",
            )
            self._deployment = made.id
            self._say(api, "in_progress", f"{release.release} is on its way")

        self._attempt(tell)

    def _end(self, finished: RunFinished) -> None:
        state = _state(finished.status, self._is_live)
        try:
            if self._is_live:
                # A rollback has no time for this before it switches.
                self._begin()
            if self._deployment is not None:
                self._attempt(lambda api: self._say(api, state, finished.headline))
        except KeyboardInterrupt:
            # All else is over: the last word is still to be said.
            self._give_up("interrupted")

    def _say(self, api: Api, state: str, text: str) -> None:
        # GitHub itself marks earlier deployments to the environment as inactive after a success.
        api.post(
            f"deployments/{self._deployment}/statuses",
            {
                "state": state,
                "environment": self._environment,
                "description": text[:_LONGEST_DESCRIPTION],
            },
            TypeAdapter(_Made),
            what="a deployment status",
        )

    def _attempt(self, tell: Callable[[Api], None]) -> None:
        try:
            with self._connect() as api:
                tell(api)
        except AideployError as error:
            self._give_up(f"{error.what}: {error.why}" if error.why else error.what)

    def _give_up(self, why: str) -> None:
        self._gave_up = True
        text = f"GitHub does not show this deploy as it is: {why}"
        self._events.publish(Notice(text=text, level="warning"))


def _state(status: int, is_live: bool) -> str:
    match status:
        case ExitStatus.DONE:
            return "success" if is_live else "inactive"
        case ExitStatus.HELD:
            return "pending"
        case ExitStatus.NEEDS_PERSON:
            return "error"
    return "failure"
