"""A training on one host or on several together: they begin it, and end it when one fails.

The story and `fab train.*` give the work of this module to the fleet, which does it on all hosts at
once. What torchrun does between the hosts is not known here; what holds is that the job of the
first host has the model, and that no part goes on when another one has failed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import TYPE_CHECKING, Generic, TypeVar

from aideploy.events import Events, Notice, Phase
from aideploy.jobs import gang as telling
from aideploy.jobs import scripts as jobs
from aideploy.jobs.job import State
from aideploy.phases import train as training
from aideploy.phases.train import Trained
from aideploy.remote.fleet import cancellation
from aideploy.remote.result import Result, ScriptFailed
from aideploy.remote.script import Script
from aideploy.remote.session import Session

if TYPE_CHECKING:
    from aideploy.settings import Settings
    from aideploy.settings.train import Train

T = TypeVar("T")
Tell = Callable[[telling.Gang | None], None]

_PHASE = Phase.TRAIN
_LOOK_SECONDS = 0.1
# What became of a part that is worth telling beside the failure that was noticed first: the other
# parts fail when one is gone, and may be quicker to say so.
_CAUSES = (State.LOST, State.OUT_OF_MEMORY)


class Together(Generic[T]):
    """One training, on one host or on several.

    Args:
        settings: of the environment.
        events: where it is told.
        names: the hosts that train, the first of them first.
        lead: what the first host does; it calls what it is given with what it told the others.
        follow: what another host does, with that; not called where there is nothing to do.
    """

    def __init__(
        self,
        settings: Settings,
        events: Events,
        names: Sequence[str],
        lead: Callable[[Session, Tell], T],
        follow: Callable[[Session, telling.Gang], None],
    ) -> None:
        self._settings = settings
        self._events = events
        self._lead = lead
        self._follow = follow
        self.hosts = tuple(names)
        self._gang: Future[telling.Gang | None] = Future()
        self._failed = threading.Event()
        self._succeeded = threading.Event()
        self._first = ""
        self._made: T | None = None

    @property
    def made(self) -> T:
        """What came of it, when the work is done on all hosts."""
        assert self._made is not None, "it is not done yet"
        return self._made

    def work(self, session: Session) -> str:
        """Do one host's part; called for all of them at the same time.

        Returns:
            what came of it, in words.

        Raises:
            AideployError: it did not succeed on this host, or ended because of another.
        """
        name = session.host.name
        try:
            if name == self.hosts[0]:
                self._made = self._lead(session, self._gang.set_result)
                self._succeeded.set()
                return "" if isinstance(self._made, Result) else str(self._made)
            if gang := self._told(session):
                self._follow(session, gang)
        except ScriptFailed as error:
            if error.code == "cancelled":
                self._end_with_the_others(session, error)
            if name != self.hosts[0] and self._succeeded.is_set():
                text = f"the training ended well, but not here: {error.what}"
                self._events.publish(Notice(text=text, host=name, level="warning"))
                return ""
            self._first = self._first or name
            self._failed.set()
            self._end(session)
            raise
        return ""

    def _told(self, session: Session) -> telling.Gang | None:
        """Wait for what the first host tells."""
        while True:
            try:
                return self._gang.result(_LOOK_SECONDS)
            except NotYet:
                if session.is_cancelled:
                    raise cancellation(session, _PHASE) from None

    def _end_with_the_others(self, session: Session, error: ScriptFailed) -> None:
        """End this host's part where another one failed; where the command was stopped, it goes on.

        Raises:
            ScriptFailed: always; the host's own failure where that is worth more than the first.
        """
        # A part that fails and the end of the others come in this order.
        if not self._failed.is_set():
            raise error
        session.resume()
        ended = self._end(session)
        before = ended.text("before") if ended else ""
        if before in _CAUSES:
            result = Result(
                "job_follow",
                (("fail.message", f"the training on {session.host.name} ended {before}"),),
            )
            raise ScriptFailed("job-lost", result, host=session.host.name, phase=_PHASE)
        if before == State.FAILED:
            text = f"the training failed here, too, after {self._first}"
            self._events.publish(Notice(text=text, host=session.host.name))
        raise error

    def _end(self, session: Session) -> Result | None:
        """End what is left of the job on this host, if it was begun."""
        gang = self._gang.result() if self._gang.done() else None
        if gang is None or len(self.hosts) == 1:
            return None
        script = jobs.cancel(self._settings, gang.job, f"aideploy: it failed on {self._first}")
        try:
            return session.run(_PHASE, script)[0]
        except ScriptFailed:
            # It was not begun here.
            return None


def trainers(
    settings: Settings, train: Train, events: Events, release: str, revision: str, who: str
) -> Together[Trained]:
    """Return what trains the model of a release: the hosts that take part, and their work.

    The job lives on without them: they begin it or find it, follow it, and keep its model.

    Args:
        settings: of the environment.
        train: how to train.
        events: where it is told.
        release: the id of the release.
        revision: the full commit.
        who: user@machine of whoever deploys.
    """
    names = telling.trainers_of(settings)

    def lead(session: Session, tell: Tell) -> Trained:
        scripts = training.scripts(settings, train, release, revision, who)
        if len(names) == 1:
            # Nobody waits for what the first script says: all in one round trip.
            return training.read(names[0], session.run(_PHASE, *scripts))
        submitted = session.run(_PHASE, scripts[0])[0]
        tell(telling.read(submitted))
        return training.read(names[0], [submitted, *session.run(_PHASE, *scripts[1:])])

    def part(session: Session, gang: telling.Gang) -> None:
        join = _join(settings, train, release, revision, who, session.host.name, gang)
        session.run(_PHASE, join, jobs.follow(settings, job=gang.job))

    return Together(settings, events, names, lead, part)


def submitters(
    settings: Settings, train: Train, events: Events, release: str, revision: str, who: str
) -> Together[Result]:
    """Return what begins a training, or finds it, and does not wait for its end; as `trainers`."""

    def lead(session: Session, tell: Tell) -> Result:
        submitted = session.run(_PHASE, jobs.submit(settings, train, release, revision, who))[0]
        tell(telling.read(submitted))
        return submitted

    def part(session: Session, gang: telling.Gang) -> None:
        session.run(_PHASE, _join(settings, train, release, revision, who, session.host.name, gang))

    return Together(settings, events, telling.trainers_of(settings), lead, part)


def followers(
    settings: Settings, events: Events, names: Sequence[str], job: str
) -> Together[Result]:
    """Return what follows a job on the hosts that have a part of it, until its end.

    Args:
        settings: of the environment.
        events: where it is told.
        names: those hosts, the first of them first.
        job: its id.
    """
    known = telling.Gang(job=job, meeting="", inputs="", data_version="")
    script = jobs.follow(settings, job=job)

    def lead(session: Session, tell: Tell) -> Result:
        tell(known)
        return session.run(_PHASE, script)[0]

    def part(session: Session, _: telling.Gang) -> None:
        session.run(_PHASE, script)

    return Together(settings, events, names, lead, part)


def _join(
    settings: Settings,
    train: Train,
    release: str,
    revision: str,
    who: str,
    name: str,
    gang: telling.Gang,
) -> Script:
    names = telling.trainers_of(settings)
    return jobs.join(
        settings,
        train,
        release,
        revision,
        who,
        gang=gang,
        rank=names.index(name),
        leader=names[0],
    )
