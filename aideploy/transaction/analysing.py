"""The live analysis on the way of a rollout: asks Prometheus while the hosts watch themselves.

Used by `rollout` and `story`. In a thread of its own, so that no slow Prometheus holds up the
hosts, Ctrl-C or the way back. It decides nothing about numbers (`aideploy.analysis`
does), and nothing about hosts (`rollout` does).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aideploy.analysis.arms import Arms, arms, shared_arms
from aideploy.analysis.findings import Findings, Verdict
from aideploy.analysis.jury import Case, Jury, cases
from aideploy.analysis.queries import templates
from aideploy.analysis.source import Source
from aideploy.errors import AideployError, AnalysisFailed
from aideploy.events import Analysed, Events, Notice, Phase
from aideploy.monitoring.presets import signals
from aideploy.remote.script import Script
from aideploy.settings.rollout import OnInconclusive

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from aideploy.phases.batches import Course
    from aideploy.settings import Settings

# A look that is due is waited for a little longer: Prometheus has to answer.
_ANSWER_SECONDS = 1.0
# So often a watch is told to end, until whoever watches has heard it.
_TELL_SECONDS = 0.3


class Undecided(AideployError):
    """The analysis could neither pass the release nor fail it."""


@dataclass
class Analyses:
    """What is asked about one release, and what was found so far.

    Args:
        settings: of the environment.
        events: where findings are told.
        source: where the numbers come from; None where nothing is asked.
        release: which one it is about.
        all_cases: the checks.
    """

    settings: Settings
    events: Events
    source: Source | None = None
    release: str = ""
    all_cases: tuple[Case, ...] = ()
    begun: float = field(default_factory=time.time)
    _watches: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def watch(self, both: Arms, what: str, length: timedelta) -> Iterator[Watch]:
        """Look again and again as long as the body runs.

        Args:
            both: the two sides.
            what: which part of the rollout is watched, in words.
            length: how long it has to be looked at least.
        """
        watch = Watch(self, both, what, length)
        if self.source is None:
            yield watch
            return
        watch.start(self.source)
        try:
            yield watch
        finally:
            watch.end()
            self._conclude(watch)

    def document(self) -> str:
        """Return everything that was found, as the hosts keep it."""
        return json.dumps(
            {"version": 1, "release": self.release, "watches": self._watches}, default=str
        )

    def kept(self, root: PurePosixPath) -> tuple[Script, ...]:
        """Return the script that keeps on a host what was found; none where nothing was asked."""
        if not self._watches:
            return ()
        return (Script("keep_analysis", (str(root), self.release, self.document())),)

    def sides(self, switched: Sequence[str], others: Sequence[str], earlier: Sequence[str]) -> Arms:
        """Return the sides of a comparison from this moment on.

        Args:
            switched: the hosts that serve the release.
            others: those that serve what was before.
            earlier: those of the switched ones that served something before.
        """
        return arms(
            self.settings.app.name,
            self.settings.environment,
            switched,
            others,
            since=time.time(),
            begun=self.begun,
            before=earlier,
        )

    def shared(self, slots: Mapping[str, str]) -> Arms:
        """Return the sides while the release in these slots of hosts gets a share of requests."""
        app, environment = self.settings.app.name, self.settings.environment
        return shared_arms(app, environment, slots, since=time.time())

    def tell(self, findings: Findings, *, final: bool) -> None:
        """Publish what was found; a final one is what came of a watch."""
        self.events.publish(
            Analysed(
                app=self.settings.app.name,
                environment=self.settings.environment,
                release=self.release,
                findings=findings,
                final=final,
            )
        )

    def _conclude(self, watch: Watch) -> None:
        findings = watch.findings
        self.tell(findings, final=True)
        said = {
            **findings.record(),
            "since": datetime.fromtimestamp(watch.since, UTC),
            "until": datetime.now(UTC),
        }
        self._watches.append(said)


class Watch:
    """The looks of one watch, in a thread of their own; see `Analyses.watch`."""

    def __init__(
        self,
        analyses: Analyses,
        both: Arms,
        what: str,
        length: timedelta,
    ) -> None:
        self.since = both.since
        self._analyses = analyses
        self._jury = Jury(analyses.all_cases, both, what)
        self._length = length
        self._stop: Callable[[], None] | None = None
        self._over = threading.Event()
        self._telling = threading.Lock()

    @property
    def findings(self) -> Findings:
        """What was found so far."""
        return self._jury.findings

    def start(self, source: Source) -> None:
        """Begin to look."""
        threading.Thread(target=self._look, args=(source,), name="analysis", daemon=True).start()

    @contextmanager
    def may_end(self, stop: Callable[[], None]) -> Iterator[None]:
        """Let what runs in the body, and nothing else, be stopped when something fails.

        Args:
            stop: stops it, from the thread that looks.
        """
        with self._telling:
            self._stop = stop
        try:
            yield
        finally:
            with self._telling:
                self._stop = None

    def end(self) -> None:
        """Look no more, and stop nobody any more; an answer that is under way is not waited for."""
        with self._telling:
            self._over.set()

    def check(self) -> None:
        """See to it that nothing failed.

        Raises:
            AnalysisFailed: something did.
        """
        findings = self.findings
        if findings.verdict is not Verdict.FAIL:
            return
        self.end()
        failed = [one for one in findings.found if one.verdict is Verdict.FAIL and one.critical]
        raise AnalysisFailed(
            "the analysis failed: "
            + "; ".join(f"{one.name}: {one.why}" for one in failed if not one.dry_run),
            why="\n".join(
                f"{asked.side}: {asked.query}"
                for one in failed
                if not one.dry_run
                for asked in one.asked
            ),
            phase=Phase.WATCH,
        )

    def more(self) -> timedelta:
        """Return how long it is worth to go on watching after the time is over: nothing where all
        is decided, or nothing more can be hoped for."""
        nothing = timedelta(0)
        if not self._analyses.all_cases or self._jury.passes(self._length):
            return nothing
        now = time.time()
        wait = self._analyses.settings.rollout.max_wait
        latest = self.since + (self._length + wait).total_seconds()
        if now >= latest:
            return nothing
        _, due = self._jury.next()
        return timedelta(seconds=max(min(due, latest) - now, 0) + _ANSWER_SECONDS)

    def decide(self) -> None:
        """Let the release pass.

        Raises:
            Undecided: nobody knows whether it may.
        """
        if not self._analyses.all_cases or self._jury.passes(self._length):
            return
        findings = self.findings
        on = self._analyses.settings.rollout.on_inconclusive
        waited = self._analyses.settings.rollout.max_wait.total_seconds()
        text = "; ".join(findings.reasons) or "too few looks"
        what = f"the analysis cannot decide, {waited:g}s after the watch: {text}"
        if findings.verdict is not Verdict.ERROR and on is OnInconclusive.PROMOTE:
            notice = f"{what}; it goes on, as [rollout] on_inconclusive says"
            self._analyses.events.publish(Notice(text=notice, level="warning"))
            return
        raise Undecided(what, phase=Phase.WATCH)

    @property
    def holds(self) -> bool:
        """Whether a release that is undecided waits for a person."""
        on = self._analyses.settings.rollout.on_inconclusive
        return self.findings.verdict is Verdict.ERROR or on is not OnInconclusive.ROLLBACK

    # -- inside ---------------------------------------------------------------------------------

    def _look(self, source: Source) -> None:
        """Look at each check when it is due."""
        while True:
            case, due = self._jury.next()
            if self._over.wait(max(due - time.time(), 0)):
                return
            # No clock may say that the window is not over yet.
            self._jury.look(case, source, max(time.time(), due))
            if self._over.is_set():
                return
            findings = self.findings
            self._analyses.tell(findings, final=False)
            if findings.verdict is Verdict.FAIL:
                break
        while not self._over.is_set():
            with self._telling:
                # Who heard it goes back, which must not be stopped.
                if self._stop and not self._over.is_set():
                    self._stop()
            self._over.wait(_TELL_SECONDS)


def analyses(
    settings: Settings, source: Source | None, events: Events, release: str, course: Course
) -> Analyses | None:
    """Return what is asked about a release on this course; None where nothing is."""
    if source is None:
        return None
    steps = len(course.batches) + len(course.weights)
    watched = (course.bake + course.pause) * steps + settings.rollout.max_wait
    return Analyses(settings, events, source, release, cases_of(settings, watched))


def cases_of(settings: Settings, watched: timedelta) -> tuple[Case, ...]:
    """Return the checks of these settings; see `cases`."""
    known = signals(settings.monitoring)
    return cases([(check, templates(check, known)) for check in settings.analyses], watched)
