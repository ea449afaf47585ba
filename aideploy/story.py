"""The story of a deploy: the phases in their order, and what each of them needs before it begins.

`fab deploy` is `Deployment.run`; people who compose a flow of their own call the phases one by
one. The story decides what happens next; the fleet does it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from aideploy.analysis.source import Source as Numbers
from aideploy.delivery import testing
from aideploy.delivery.fetching import bring, say_the_way
from aideploy.delivery.gating import require_gate
from aideploy.delivery.images import ImageDelivery
from aideploy.delivery.installing import environments
from aideploy.delivery.model import ModelDelivery
from aideploy.delivery.novelty import clearing, known_already
from aideploy.delivery.participants import Participants
from aideploy.delivery.staging import Stage
from aideploy.delivery.underway import Underway, too_early
from aideploy.errors import AideployError
from aideploy.events import Events, HostState, Notice, Phase, ReleaseKnown
from aideploy.gates.model import Evaluation
from aideploy.gates.review import Verdict as Reviewed
from aideploy.gates.review import Waiver
from aideploy.gates.reviewing import ReviewGate
from aideploy.golden_file import check_before
from aideploy.hooks import Hooks, hooked
from aideploy.monitoring import windows
from aideploy.phases import batches, fetch, planning, service
from aideploy.phases.batches import Course
from aideploy.phases.control import State
from aideploy.phases.facts import HostFacts
from aideploy.phases.fetch import Fetched
from aideploy.phases.install import Installed
from aideploy.phases.journal import Verdict
from aideploy.phases.service import Health, Target
from aideploy.phases.tests_output import RanTests
from aideploy.phases.train import Trained
from aideploy.remote.fleet import Fleet
from aideploy.remote.session import Session
from aideploy.rollout import Rollout
from aideploy.settings.hosts import Role
from aideploy.settings.secrets import resolve
from aideploy.transaction import analysing, finishing

if TYPE_CHECKING:
    from aideploy.settings import Settings


class Deployment:
    """One deploy of one revision to the hosts of an environment.

    Args:
        settings: of the environment; only its hosts take part.
        fleet: not yet open.
        events: where everything is told.
        who: user@machine of whoever asked for it.
        no_gate: let a model pass that the model gate did not bless.
        waiver: leaves the review gate out.
    """

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        events: Events,
        *,
        who: str,
        no_gate: bool = False,
        waiver: Waiver | None = None,
    ) -> None:
        self.settings = settings
        self.nothing_new = ""
        self._fleet = fleet
        self._events = events
        self._no_gate = no_gate
        self._participants = Participants(settings, fleet)
        self._underway = Underway(who)
        self._review_gate = ReviewGate(settings, waiver)
        self._model = ModelDelivery(
            settings, self._participants, self._underway, events, no_gate=no_gate
        )
        self.hooks = Hooks(settings, events, self._known)
        self._rollout: Rollout | None = None
        self._finished = False
        self._secrets: Mapping[str, str] = {}
        self._numbers: Numbers | None = None

    # -- the story ------------------------------------------------------------------------------

    def run(
        self,
        revision: str | None = None,
        *,
        wait_lock: bool = False,
        only_new: bool = False,
        confirm: Callable[[str], bool] = lambda _: True,
    ) -> str:
        """Deploy a revision and return the id of the new release.

        Args:
            revision: a branch, a tag or a commit; None for [app] branch.
            wait_lock: wait for a lock that somebody else holds.
            only_new: end after the training where commit and model were live before; then
                `nothing_new` says so.
            confirm: asked whether to go on when the revision is older than what is live.

        Raises:
            AideployError: it did not succeed; `status` says how it stands.
        """
        wanted = fetch.wanted_revision(self.settings, revision)
        self.require_gate()
        self.require_review()
        self._participants.require_roles()
        if self.settings.golden:
            check_before(self.settings, self.settings.golden, wanted)
        self._notice(self.plan(wanted))
        self.open(wait_lock=wait_lock)
        say_the_way(self.fetch(wanted), self._events, confirm)
        self.review()
        self.install()
        self.test()
        self.train()
        if only_new and self._is_nothing_new():
            return self.release
        self.pass_gate()
        self.rollout()
        return self.release

    def _is_nothing_new(self) -> bool:
        hosts, way = self._participants, self._underway
        serving = tuple(hosts.serving.values())
        self.nothing_new = known_already(serving, way.revision, way.model)
        if self.nothing_new:
            work = clearing(self.settings, hosts.facts.__getitem__)
            hosts.each(Phase.FINISH, work, hosts.deployed, note="nothing new")
        return bool(self.nothing_new)

    def require_gate(self) -> None:
        """See to it, before anything is begun, that something will judge the model.

        Raises:
            UsageError: hosts.toml has a [train], no [[gate]], and nobody said --no-gate.
        """
        if not self._no_gate:
            require_gate(self.settings)

    def require_review(self) -> None:
        """See to it, before anything is begun, that the review can be asked for.

        Raises:
            UsageError: its token has no value, or there is no [review] to leave out.
        """
        self._review_gate.prepare(os.environ)

    @hooked(Phase.OPEN)
    def open(self, *, wait_lock: bool = False) -> Mapping[str, HostFacts]:
        """Connect to every host, take the locks, look around; nobody may be unready."""
        if self.settings.serve:
            self._secrets = resolve(self.settings.serve, os.environ, self.settings.path.parent)
        self._model.prepare(os.environ)
        self._numbers = windows.prepared(self.settings, os.environ, self._events)
        self._participants.open(wait_lock=wait_lock)
        return self.facts

    @hooked(Phase.FETCH)
    def fetch(self, revision: str | None = None) -> Fetched:
        """Bring the same commit to every host that trains or serves."""
        wanted = fetch.wanted_revision(self.settings, revision)
        fetched = self._underway.fetched = bring(self.settings, self._participants, wanted)
        for notice in dict.fromkeys(text for one in fetched.values() for text in one.notices):
            self._notice(notice)
        self._events.publish(ReleaseKnown(release=self.release, revision=self.revision))
        return self._underway.commit

    @hooked(Phase.REVIEW)
    def review(self) -> Reviewed | Waiver | None:
        """Ask whether the commit was approved and is green; None where there is no [review].

        Raises:
            Refused: it was not, or is not.
        """
        return self._review_gate.review(self.revision, self._events)

    @hooked(Phase.INSTALL)
    def install(self) -> Mapping[str, Installed]:
        """Find or build what the release runs in, on every host that trains or serves: its
        environment, its image, or both."""
        hosts, serve = self._participants, self.settings.serve
        if serve and serve.contained:
            image = ImageDelivery(self.settings, serve, hosts, self._events, release=self.release)
            self._underway.image = image.deliver()
        self._underway.installed = environments(self.settings, hosts, self._underway)
        for name, one in self._underway.installed.items():
            for notice in one.notices:
                self._notice(notice, host=name)
        return self._underway.installed

    @hooked(Phase.TEST)
    def test(self) -> RanTests | None:
        """Run the project's own tests on the first train host, where there is a [test].

        Returns:
            how they came out; None where there are none, or they do not say it.

        Raises:
            Refused: one failed, or none were found.
        """
        tests = self.settings.test
        if tests is None:
            return None
        self._underway.tested = testing.run(self.settings, tests, self._participants, self.release)
        return self._underway.tested

    @hooked(Phase.TRAIN, Phase.MODEL)
    def train(self) -> Trained | None:
        """Train the model on the first train host, where there is a [train]; or let a host fetch
        it from [model] source."""
        return self._model.obtain()

    @hooked(Phase.EVALUATE)
    def evaluate(self) -> Evaluation:
        """Judge the model by [[gate]]: what it has to reach, and the last good release.

        Returns:
            the verdict; `blessed` says whether every limit holds. It refuses nothing by itself.

        Raises:
            UsageError: there is no model yet.
        """
        return self._model.evaluate()

    def pass_gate(self) -> None:
        """Judge the model, where there is one, unless that was done, and let it pass or refuse it.

        Raises:
            Refused: the model gate did not bless it, and nobody said --no-gate.
            UsageError: there is no [[gate]], and nobody said --no-gate.
        """
        if self._underway.trained is not None:
            self._model.require(self._underway.evaluation or self.evaluate())

    @hooked(Phase.DISTRIBUTE)
    def distribute(self) -> None:
        """Put the model on every serve host that has not got it; verify it where it is."""
        self.pass_gate()
        self._model.distribute()

    @hooked(Phase.STAGE)
    def stage(self) -> Mapping[str, Health]:
        """Make the release whole on every serve host and prove it beside what is live."""
        if not self._review_gate.is_open:
            raise too_early("the commit was not reviewed yet", "review()")
        if self._underway.installed is None:
            raise too_early("nothing was installed yet", "install()")
        if self.settings.model_path and self._underway.trained is None:
            raise too_early("nothing was trained yet", "train()")
        self.pass_gate()
        note = "" if service.proven_beside(self.settings) else "not started beside: one model a GPU"
        hosts, way = self._participants, self._underway
        stage = Stage(
            self.settings, hosts.facts, way, self._secrets, self._review_gate, self._model.source
        )
        health = hosts.each(Phase.STAGE, stage.work, hosts.names(Role.SERVE), note=note)
        way.staged = Target(way.release, way.revision, way.model)
        return health

    def take_up(self, release: str | None = None) -> Target:
        """Go on with a release that an earlier run staged on every serve host.

        Args:
            release: its id; None for the newest that there is.

        Raises:
            UsageError: there is none that is newer than what is live, or not everywhere.
            HostNotReady: a host was set up otherwise than hosts.toml has it.
        """
        serve = tuple(self._participants.serving.values())
        staged = service.newest_staged(serve) if release is None else service.whole(serve, release)
        self._participants.require_setup()
        self._underway.staged = staged
        self._events.publish(ReleaseKnown(release=self.release, revision=self.revision))
        return staged

    @hooked()
    def switch(self) -> None:
        """Switch the serve hosts batch by batch and watch them; if one is not well, all go back.

        Raises:
            RolledBack, NeedsPerson, Held, Interrupted: see `Rollout.run`.
        """
        staged = self._underway.staged
        if staged is None:
            raise too_early("nothing was staged yet", "stage()")
        facts = self._participants.serving
        course = batches.course(self.settings, tuple(facts))
        self._rollout = self._begun(facts, course, staged, self._numbers)
        self._rollout.run()

    @hooked()
    def take_over(self, held: State) -> None:
        """Go on with a rollout that is held, without waiting between its batches.

        What it switched is ours from here on: if a host fails now, these go back as well.

        Raises:
            UsageError: its release is not on every serve host any more.
            RolledBack, NeedsPerson, Held, Interrupted: see `Rollout.run`.
        """
        staged = self.take_up(held.release)
        facts = self._participants.serving
        switched = held.switched(facts)
        rest = tuple(name for name in facts if name not in switched)
        course = batches.promoted(self.settings, rest)
        self._rollout = self._begun({**facts, **switched}, course, staged)
        self._rollout.run(adopted=tuple(switched))

    @hooked()
    def finish(self) -> None:
        """Confirm the switch, write the last word to the journals, make room.

        Raises:
            RolledBack, NeedsPerson: a host did not confirm, and so every host went back.
            NeedsPerson: a host did not get to the end, or failed and went back alone; what is
                served does not change any more.
        """
        if self._rollout is None:
            raise too_early("nothing was switched yet", "switch()")

        def work(session: Session) -> None:
            known = self.facts[session.host.name]
            keep = service.kept(known, self.release, self.settings.app.keep_releases)
            stand_by = service.stand_by(self.settings, session.host)
            entries = (self._underway.entry(Verdict.GOOD),)
            last = finishing.scripts(self.settings, known, keep, entries, stand_by)
            session.run(Phase.FINISH, *last)

        self._rollout.confirm()
        self._finished = True
        self.hooks.before_all_the_same(Phase.FINISH)
        failed = self._rollout.failed
        well = [name for name in self._participants.deployed if name not in failed]
        finishing.conclude(self._fleet, self._events, work, well)
        self.hooks.after_all_the_same(Phase.FINISH)
        if shortfall := self._rollout.shortfall():
            raise shortfall

    def withdraw(self, error: AideployError) -> AideployError:
        """Take every host back that switched and was not finished.

        Args:
            error: why.

        Returns:
            the error to raise: this one where nothing had switched, else one that says where the
            hosts are now.
        """
        if self._rollout is None or not self._rollout.unconfirmed:
            return error
        return self._rollout.go_back(error)

    def rollout(self) -> None:
        """Distribute, stage, switch, watch and finish; only a model that passes the gate."""
        self.distribute()
        self.stage()
        self.switch()
        self.finish()

    def plan(self, revision: str | None = None) -> str:
        """Return in one line what `run` is about to do."""
        return planning.in_one_line(self.settings, revision or self.settings.app.branch)

    # -- what it says of itself -----------------------------------------------------------------

    @property
    def facts(self) -> Mapping[str, HostFacts]:
        """What every host said of itself when it was opened."""
        return self._participants.facts

    @property
    def release(self) -> str:
        """The id of the release that is on its way."""
        return self._underway.release

    @property
    def revision(self) -> str:
        """The full commit that is on its way."""
        return self._underway.revision

    @property
    def is_live(self) -> bool:
        """Whether the release is live and confirmed."""
        return self._finished

    @property
    def is_unconfirmed(self) -> bool:
        """Whether a host is switched that goes back unless finish() confirms it."""
        return self._rollout is not None and self._rollout.unconfirmed

    @property
    def states(self) -> tuple[HostState, ...]:
        """The state of every host, as it is now."""
        known = self._participants.states
        if self._rollout:
            known |= self._rollout.states
        return tuple(known.values())

    # -- inside ---------------------------------------------------------------------------------

    def _begun(
        self,
        facts: Mapping[str, HostFacts],
        course: Course,
        target: Target,
        numbers: Numbers | None = None,
    ) -> Rollout:
        return Rollout(
            self.settings,
            self._fleet,
            facts,
            self._events,
            dict.fromkeys(facts, target),
            course,
            who=self._underway.who,
            hooks=self.hooks,
            analyses=analysing.analyses(self.settings, numbers, self._events, self.release, course),
        )

    def _known(self) -> tuple[str, str]:
        """Return the release and its commit as far as they are known."""
        return (self.release, self.revision) if self._underway.is_known else ("", "")

    def _notice(self, text: str, host: str | None = None, level: str = "info") -> None:
        self._events.publish(Notice(text=text, host=host, level=level))
