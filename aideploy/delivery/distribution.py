"""The distribute phase as it happens: one host has the model, the others verify theirs or get it.

The story gives the work of this module to the fleet, which does it on all hosts at once; where the
hosts need something of each other, their threads meet. What is sent is decided here, by what the
hosts say; `remote.transfer` sends it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from aideploy.errors import AideployError
from aideploy.events import Events, Notice, Phase, StepStarted
from aideploy.phases import distribute
from aideploy.phases.distribute import Artifact, Stock
from aideploy.phases.facts import HostFacts
from aideploy.remote import transfer
from aideploy.remote.fleet import MOST_THREADS, cancellation
from aideploy.remote.session import Session
from aideploy.report.wording import bytes_count

_PHASE = Phase.DISTRIBUTE
_LOOK_SECONDS = 0.1
_PROGRESS_SECONDS = 5.0
# All of them meet, so that each needs a thread of the fleet's at the same time.
_MOST_AT_ONCE = MOST_THREADS - 2


def distributions(
    events: Events,
    sessions: Mapping[str, Session],
    facts: Mapping[str, HostFacts],
    model: str,
    source: str,
    targets: Sequence[str],
) -> Iterator[Distribution]:
    """Yield what brings a model to all targets, as many of them at a time as can be."""
    for first in range(0, len(targets), _MOST_AT_ONCE):
        some = targets[first : first + _MOST_AT_ONCE]
        yield Distribution(events, sessions, facts, model, source=source, targets=some)


class Distribution:
    """A model on its way from one host to others.

    Args:
        events: where it is told.
        sessions, facts: of every host that takes part, by name.
        model: the sha256 over its files.
        source: the name of the host that has it.
        targets: the names of those that shall have it; not the source.
    """

    def __init__(
        self,
        events: Events,
        sessions: Mapping[str, Session],
        facts: Mapping[str, HostFacts],
        model: str,
        *,
        source: str,
        targets: Iterable[str],
    ) -> None:
        self._events = events
        self._sessions = sessions
        self._facts = facts
        self._model = model
        self._source = source
        self._targets = tuple(targets)
        self._lacking = {name for name in self._targets if model not in facts[name].models}
        self._artifact: Artifact | None = None
        self._stocks: dict[str, Stock] = {}
        self._errors: Mapping[str, AideployError] = {}
        everybody = len(self._targets) + 1
        self._all_looked = Meeting(everybody)
        self._described = Meeting(everybody)
        self._all_sent = Meeting(everybody, self._send)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of all that take part; the source is the first, so that it always begins."""
        return (self._source, *self._targets)

    def work(self, session: Session) -> str:
        """Do one host's part; called for all of them at the same time. Returns what came of it.

        Raises:
            AideployError: it did not succeed on this host, or ended because of another.
        """
        if session.host.name == self._source:
            return self._hand_over(session)
        return self._receive(session)

    def _hand_over(self, session: Session) -> str:
        if self._lacking:
            self._describe(session)
        self._all_looked.meet(session)
        if self._lacking and self._artifact is None:
            self._describe(session)
        self._described.meet(session)
        self._all_sent.meet(session)
        self._raise_of(session)
        return f"sent to {len(self._lacking)}" if self._lacking else "nobody needs it"

    def _receive(self, session: Session) -> str:
        name = session.host.name
        if name not in self._lacking:
            self._stocks[name] = self._write(session, Artifact())
            if not self._stocks[name].is_whole:
                text = f"the model here is damaged and is replaced: {self._stocks[name].damaged}"
                self._events.publish(Notice(text=text, host=name, level="warning"))
                self._lacking.add(name)
        self._all_looked.meet(session)
        self._described.meet(session)
        if name in self._lacking:
            self._stocks[name] = self._write(session, self._artifact or Artifact())
        self._all_sent.meet(session)
        self._raise_of(session)
        if not self._stocks[name].is_whole:
            script = distribute.publish_model(self._facts[name], self._model)
            self._stocks[name] = distribute.stock(session.run(_PHASE, script)[0])
        return self._stocks[name].words

    def _describe(self, session: Session) -> None:
        script = distribute.read_model(self._facts[self._source], self._model)
        self._artifact = distribute.artifact(session.run(_PHASE, script)[0])

    def _write(self, session: Session, artifact: Artifact) -> Stock:
        facts = self._facts[session.host.name]
        script = distribute.write_model(facts, self._model, artifact)
        return distribute.stock(session.run(_PHASE, script)[0])

    def _send(self) -> None:
        """Stream the model to every host that has not all of it, each from where it stands."""
        waiting = {name: stock for name, stock in self._stocks.items() if not stock.is_whole}
        if not waiting:
            return
        facts, sessions = self._facts, self._sessions
        offset = min(stock.have for stock in waiting.values())
        size = max(stock.size for stock in waiting.values())
        outlet = transfer.Outlet(
            distribute.send_stream(facts[self._source], self._model, offset), offset, size
        )
        inlets = {
            sessions[name]: transfer.Inlet(
                distribute.take_stream(facts[name], self._model, stock.have), stock.have
            )
            for name, stock in waiting.items()
        }
        progress = self._progress(waiting, size)
        self._errors = transfer.relay(_PHASE, sessions[self._source], outlet, inlets, progress)

    def _progress(self, waiting: Mapping[str, Stock], size: int) -> Callable[[int], None]:
        told = 0.0

        def tell(position: int) -> None:
            nonlocal told
            if time.monotonic() - told < _PROGRESS_SECONDS:
                return
            told = time.monotonic()
            for name, stock in waiting.items():
                done = max(position, stock.have) * 100 // max(size, 1)
                text = f"receive the model: {done} % of {bytes_count(size)}"
                self._events.publish(StepStarted(phase=_PHASE, host=name, text=text))

        tell(0)
        return tell

    def _raise_of(self, session: Session) -> None:
        """Raise what went wrong while sending, on the host that it went wrong on."""
        if error := self._errors.get(session.host.name):
            raise error
        if self._errors or session.is_cancelled:
            raise cancellation(session, _PHASE)


class Meeting:
    """Where the threads of several hosts wait until all of them have come.

    Args:
        parties: how many they are.
        work: what the last one does before they all go on.
    """

    def __init__(self, parties: int, work: Callable[[], None] = lambda: None) -> None:
        self._missing = parties
        self._work = work
        self._changed = threading.Condition()
        self._over = False

    def meet(self, session: Session) -> None:
        """Wait for the others. One that failed never comes: then the fleet cancels all sessions.

        Raises:
            ScriptFailed: the session was cancelled.
        """
        with self._changed:
            self._missing -= 1
            is_last = self._missing == 0
        if is_last:
            try:
                self._work()
            finally:
                with self._changed:
                    self._over = True
                    self._changed.notify_all()
        with self._changed:
            while not self._over:
                if session.is_cancelled:
                    raise cancellation(session, _PHASE)
                self._changed.wait(_LOOK_SECONDS)
