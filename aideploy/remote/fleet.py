"""All hosts of a command at once: one session and one thread each, bounded.

The fleet runs a piece of work on many hosts in parallel, publishes how each came out, and on the
first failure, or on Ctrl-C, ends what still runs on the others. What to do about a failure is
decided by its callers.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from aideploy.errors import AideployError, ExitStatus, Interrupted, Locked, UsageError
from aideploy.events import (
    ALL_AT_ONCE,
    Batch,
    Events,
    HostFinished,
    Notice,
    Outcome,
    Phase,
    PhaseFinished,
    PhaseStarted,
    SessionEnded,
)
from aideploy.remote.result import Result, ScriptFailed
from aideploy.remote.script import Script
from aideploy.remote.session import Lock, Session, heartbeat

if TYPE_CHECKING:
    import fabric

    from aideploy.settings import Host

T = TypeVar("T")

MOST_THREADS = 256
_INTERRUPT_SECONDS = 20.0


class FleetError(AideployError):
    """A phase failed on at least one host. `causes` holds the error of each that failed."""

    def __init__(self, phase: Phase, causes: tuple[AideployError, ...]) -> None:
        first = causes[0]
        super().__init__(
            first.what,
            why=first.why,
            next_step=first.next_step,
            host=first.host,
            phase=phase,
            tail=first.tail,
            causes=causes,
        )
        if any(isinstance(cause, Locked) for cause in causes):
            self.status = ExitStatus.LOCKED
        elif any(isinstance(cause, UsageError) for cause in causes):
            self.status = ExitStatus.USAGE


@dataclass(frozen=True)
class Outcomes(Generic[T]):
    """What came of a piece of work: a result or an error for every host that took part."""

    results: Mapping[str, T] = field(default_factory=dict)
    errors: Mapping[str, AideployError] = field(default_factory=dict)


class Fleet:
    """The open sessions of a command. Use as a context manager.

    Args:
        hosts: who takes part.
        root: the folder of the app on every host.
        owner: who we are and why, for the lock.
        events: where everything is told.
        config: Fabric's configuration.
        max_connects: how many connections may be starting at the same time.
    """

    def __init__(
        self,
        hosts: Iterable[Host],
        *,
        root: str,
        owner: str,
        events: Events,
        config: fabric.Config,
        max_connects: int,
    ) -> None:
        self._events = events
        self._sessions = {host.name: Session(host, root, owner, events, config) for host in hosts}
        self._connecting = threading.Semaphore(max_connects)
        self._pool = ThreadPoolExecutor(max_workers=min(MOST_THREADS, len(self._sessions) + 1))
        self._stop_heartbeat = threading.Event()

    def __enter__(self) -> Fleet:
        beat = threading.Thread(
            target=heartbeat,
            args=(tuple(self._sessions.values()), self._stop_heartbeat),
            daemon=True,
        )
        beat.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all hosts, in the order of hosts.toml."""
        return tuple(self._sessions)

    @property
    def sessions(self) -> Mapping[str, Session]:
        """The sessions by host name."""
        return self._sessions

    def open(self, lock: Lock, first: Script, *, wait_lock: bool = False) -> Mapping[str, Result]:
        """Open every session and run the first script on each.

        Args:
            lock: whether to take the lock.
            first: what to run; it comes back with the answer, without a round trip of its own.
            wait_lock: when somebody holds a lock, let go of all of ours (so that two who wait
                cannot wait for each other) and try again, until it is free.

        Raises:
            FleetError: a host is unreachable, locked or not ready.
        """
        outcomes = self._opened(lock, lambda _: (first,), wait_lock=wait_lock, needs_all=True)
        results = self._all_or_error(Phase.OPEN, outcomes)
        return {name: result for name, (result,) in results.items()}

    def open_reachable(
        self,
        lock: Lock,
        first: Callable[[Host], Iterable[Script]],
        *,
        wait_lock: bool = False,
    ) -> Outcomes[list[Result]]:
        """Open every session that can be opened; the others' errors come back with the results.

        Args:
            lock: whether to take the lock.
            first: what to run on a host, in turn; all of it costs no round trip of its own.
            wait_lock: as in `open`, for those that can be opened.
        """
        return self._opened(lock, first, wait_lock=wait_lock, needs_all=False)

    def each(
        self,
        phase: Phase,
        work: Callable[[Session], T],
        hosts: Iterable[str] | None = None,
        note: str = "",
    ) -> Mapping[str, T]:
        """Do the work on these hosts (or all) in parallel; the first failure ends it on the others.

        Raises:
            FleetError: it failed somewhere.
            Interrupted: Ctrl-C; what ran on the hosts is gone.
        """
        return self._all_or_error(phase, self.attempt(phase, work, hosts, note=note))

    def attempt(
        self,
        phase: Phase,
        work: Callable[[Session], T],
        hosts: Iterable[str] | None = None,
        *,
        note: str = "",
        batch: Batch = ALL_AT_ONCE,
        stop_at_failure: bool = True,
    ) -> Outcomes[T]:
        """Do the work on these hosts (or all) in parallel and return what came of it on each."""
        names = tuple(self._sessions if hosts is None else hosts)
        if not names:
            return Outcomes()
        began = time.monotonic()
        stop = threading.Event()
        self._events.publish(PhaseStarted(phase=phase, hosts=names, note=note, batch=batch))
        for name in names:
            self._sessions[name].resume()
        futures: dict[Future[T], str] = {}
        try:
            for name in names:
                futures[self._pool.submit(self._one, phase, self._sessions[name], work, stop)] = (
                    name
                )
            self._wait(futures, stop, stop_at_failure)
        except KeyboardInterrupt:
            self._cancel(futures, stop)
            wait(futures, _INTERRUPT_SECONDS)
            self._finished(phase, Outcome.CANCELLED, began)
            raise Interrupted("interrupted", phase=phase) from None
        errors = {}
        results = {}
        for future, name in futures.items():
            error = future.exception()
            if isinstance(error, AideployError):
                errors[name] = error
            elif error is not None:
                raise error
            else:
                results[name] = future.result()
        self._finished(phase, Outcome.FAILED if errors else Outcome.DONE, began)
        return Outcomes(results, errors)

    def cancel(self, hosts: Iterable[str]) -> None:
        """End what runs on these hosts, from another thread than the one that waits for it."""
        for name in hosts:
            self._sessions[name].cancel()

    def close(self) -> None:
        """End every session; the hosts free their locks."""
        self._stop_heartbeat.set()
        list(self._pool.map(Session.close, self._sessions.values()))
        for name, session in self._sessions.items():
            cost = session.traffic
            if cost.connections:
                self._events.publish(
                    SessionEnded(
                        host=name,
                        connections=cost.connections,
                        channels=cost.channels,
                        round_trips=cost.round_trips,
                    )
                )
        self._pool.shutdown(wait=False, cancel_futures=True)

    # -- inside ---------------------------------------------------------------------------------

    def _opened(
        self,
        lock: Lock,
        first: Callable[[Host], Iterable[Script]],
        *,
        wait_lock: bool,
        needs_all: bool,
    ) -> Outcomes[list[Result]]:
        def open_one(session: Session) -> list[Result]:
            with self._connecting:
                return session.open(lock, *first(session.host))

        told = ""
        while True:
            outcomes = self.attempt(
                Phase.OPEN, open_one, stop_at_failure=needs_all and not wait_lock
            )
            locked = [error for error in outcomes.errors.values() if isinstance(error, Locked)]
            # There is no use in waiting where something else is in the way, too.
            in_vain = needs_all and len(locked) < len(outcomes.errors)
            if in_vain or not (wait_lock and locked):
                return outcomes
            told = self._let_go(locked[0], told)

    def _let_go(self, error: Locked, told: str) -> str:
        """Let go of all our locks and wait a moment, because of a lock that somebody holds.

        Returns:
            what was told of it; it is told again only when it is another lock (`told`: the last).
        """
        if error.what != told:
            self._events.publish(Notice(text=f"waiting: {error.what}", host=error.host))
        for session in self._sessions.values():
            session.end()
        time.sleep(1 + random.random())  # noqa: S311  # so that two who wait take turns
        return error.what

    def _one(
        self, phase: Phase, session: Session, work: Callable[[Session], T], stop: threading.Event
    ) -> T:
        began = time.monotonic()

        def finished(outcome: Outcome, message: str) -> None:
            self._events.publish(
                HostFinished(
                    phase=phase,
                    host=session.host.name,
                    outcome=outcome,
                    seconds=time.monotonic() - began,
                    message=message,
                )
            )

        try:
            if stop.is_set():
                raise cancellation(session, phase)
            result = work(session)
        except AideployError as error:
            cancelled = isinstance(error, ScriptFailed) and error.code == "cancelled"
            finished(Outcome.CANCELLED if cancelled else Outcome.FAILED, error.what)
            raise
        untold = isinstance(result, (Result, list))
        finished(Outcome.DONE, "" if untold else str(result or ""))
        return result

    def _wait(
        self, futures: Mapping[Future[T], str], stop: threading.Event, stop_at_failure: bool
    ) -> None:
        running = set(futures)
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            failed = any(future.exception() for future in done)
            if failed and stop_at_failure and not stop.is_set():
                self._cancel({future: futures[future] for future in running}, stop)

    def _cancel(self, futures: Mapping[Future[T], str], stop: threading.Event) -> None:
        stop.set()
        for future, name in futures.items():
            if not future.done():
                self._sessions[name].cancel()

    def _finished(self, phase: Phase, outcome: Outcome, began: float) -> None:
        self._events.publish(
            PhaseFinished(phase=phase, outcome=outcome, seconds=time.monotonic() - began)
        )

    @staticmethod
    def _all_or_error(phase: Phase, outcomes: Outcomes[T]) -> Mapping[str, T]:
        causes = [
            error
            for error in outcomes.errors.values()
            if not (isinstance(error, ScriptFailed) and error.code == "cancelled")
        ]
        if outcomes.errors:
            raise FleetError(phase, tuple(causes or outcomes.errors.values()))
        return outcomes.results


def cancellation(session: Session, phase: Phase) -> ScriptFailed:
    """Return the error of a host whose work ended because of another host, or of Ctrl-C."""
    return ScriptFailed("cancelled", Result("", ()), host=session.host.name, phase=phase)
