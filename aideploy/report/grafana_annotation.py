"""Marks a deploy or a rollback on Grafana's dashboards: from the first switch to the end.

A reader of events. Whatever goes wrong with it is one notice and never stops a deploy. It speaks
on a thread of its own, so that no switch waits for it; only the end of the command does, for some
seconds at most. What ends before anything was switched changed nothing that a dashboard shows, and
is not marked.
"""

from __future__ import annotations

import html
import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from aideploy.errors import AideployError, ExitStatus
from aideploy.events import (
    Event,
    Events,
    Notice,
    Phase,
    PhaseStarted,
    ReleaseKnown,
    RunFinished,
    RunStarted,
)

if TYPE_CHECKING:
    from aideploy.monitoring.grafana_api import Annotation, Grafana
    from aideploy.settings import Settings

_PATIENCE = timedelta(seconds=5)
# The commands that take back what others put live; all others are deploys.
_BACK = frozenset({"rollback", "rollout.abort"})
_RESULTS = {
    ExitStatus.DONE: "done",
    ExitStatus.ROLLED_BACK: "rolled-back",
    ExitStatus.HELD: "held",
    ExitStatus.NEEDS_PERSON: "needs-person",
    ExitStatus.INTERRUPTED: "interrupted",
}


def show_on_grafana(settings: Settings, events: Events) -> None:
    """Let Grafana follow a command, where [monitoring.grafana] says what lets us in."""
    access = settings.monitoring.grafana
    if access is None or not (access.token or access.username):
        return
    patient = access.model_copy(update={"timeout": min(access.timeout, _PATIENCE / 2)})

    def connect() -> Grafana:
        from aideploy.monitoring.grafana_api import Grafana
        from aideploy.settings.secrets import find

        base_dir = settings.path.parent
        return Grafana(
            patient, find(patient.secrets, settings.serve, os.environ, base_dir), base_dir
        )

    events.subscribe_first(GrafanaAnnotation(connect, events, _PATIENCE))


class GrafanaAnnotation:
    """Makes the annotation when the first host switches, and says how it ended.

    Args:
        connect: opens the line to Grafana.
        events: where notices go.
        patience: how long the end of a command may wait for it, all in all.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[Grafana]],
        events: Events,
        patience: timedelta,
    ) -> None:
        self._connect = connect
        self._events = events
        self._patience = patience
        self._run: RunStarted | None = None
        self._release = ""
        self._began: datetime | None = None
        self._speaking: threading.Thread | None = None
        # Written by the thread, read when it has ended.
        self._number: int | None = None
        self._trouble: AideployError | None = None

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._run = event
            case ReleaseKnown():
                self._release = event.release
            case PhaseStarted(phase=Phase.SWITCH | Phase.REVERT) if self._began is None:
                self._began = event.at
                self._speaking = self._tell(self._annotation(event.at, "under way", "", None))
            case RunFinished():
                self._end(event)

    def _end(self, finished: RunFinished) -> None:
        if self._began is None or self._speaking is None:
            return
        result = _result(finished.status)
        whole = self._annotation(self._began, finished.headline, result, finished.at)
        deadline = time.monotonic() + self._patience.total_seconds()
        try:
            if self._is_through(self._speaking, deadline) and not self._is_hopeless():
                self._trouble = None
                if self._is_through(self._tell(whole), deadline) and self._trouble is None:
                    return
        except KeyboardInterrupt:
            # All else is over: the last word is still to be said.
            pass
        why = _words(self._trouble) if self._trouble else "it takes too long to answer"
        text = f"Grafana does not show this as it is: {why}"
        self._events.publish(Notice(text=text, level="warning"))

    def _tell(self, annotation: Annotation) -> threading.Thread:
        """Say it on a thread of its own: anew where Grafana does not have it yet."""

        def speak() -> None:
            try:
                with self._connect() as grafana:
                    if self._number is None:
                        self._number = grafana.add(annotation)
                    else:
                        grafana.change(self._number, annotation)
            except AideployError as error:
                self._trouble = error

        thread = threading.Thread(target=speak, name="grafana", daemon=True)
        thread.start()
        return thread

    def _is_hopeless(self) -> bool:
        """Say whether asking again would be refused again."""
        return self._trouble is not None and self._trouble.status is ExitStatus.USAGE

    @staticmethod
    def _is_through(thread: threading.Thread, deadline: float) -> bool:
        thread.join(max(deadline - time.monotonic(), 0))
        return not thread.is_alive()

    def _annotation(
        self, began: datetime, how: str, result: str, end: datetime | None
    ) -> Annotation:
        from aideploy.monitoring.grafana_api import Annotation

        run = self._run
        command, app, environment, who = (
            (run.command, run.app, run.environment, run.who) if run else ("deploy", "", "", "")
        )
        what = " ".join(part for part in (command, self._release, f"by {who}") if part)
        tags = [
            "rollback" if command in _BACK else "deploy",
            f"app:{app}",
            f"env:{environment}",
            *([f"release:{self._release}"] if self._release else []),
            *([f"result:{result}"] if result else []),
        ]
        return Annotation(html.escape(f"{what}: {how}", quote=False), tags, began, end)


def _result(status: int) -> str:
    try:
        return _RESULTS.get(ExitStatus(status), "failed")
    except ValueError:
        return "failed"


def _words(error: AideployError) -> str:
    why = f"{error.what}: {error.why}" if error.why else error.what
    return f"{why}; {error.next_step}" if error.next_step else why
