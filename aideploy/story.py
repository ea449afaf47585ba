"""The story of a deploy: the phases in their order, and what is known between them.

`fab deploy` is `Deployment.run`; people who compose a flow of their own call the phases one by
one. The story decides what happens next; the fleet does it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from aideploy import analysing
from aideploy.analysis.source import Source as Numbers
from aideploy.distribution import distributions
from aideploy.endings import judged
from aideploy.errors import (
    AideployError,
    HostNotReady,
    Interrupted,
    UsageError,
)
from aideploy.events import Events, HostState, Notice, Phase, ReleaseKnown
from aideploy.fetching import pull, push
from aideploy.ganging import trainers
from aideploy.gates.model import Evaluation
from aideploy.gates.review import Verdict as Reviewed
from aideploy.gates.review import Waiver
from aideploy.gates.reviewing import ReviewGate
from aideploy.gating import ModelGate, journalled, require_gate
from aideploy.golden_file import check_before
from aideploy.hooks import Hooks, hooked
from aideploy.images import ImageDelivery
from aideploy.jobs.detached import detached_job
from aideploy.jobs.gang import trainers_of
from aideploy.monitoring import windows
from aideploy.novelty import clearing, known_already
from aideploy.phases import batches, fetch, golden, gpu, install, service, test
from aideploy.phases import facts as looking
from aideploy.phases.batches import Course
from aideploy.phases.control import State
from aideploy.phases.facts import HostFacts
from aideploy.phases.fetch import Fetched
from aideploy.phases.image import Image
from aideploy.phases.install import Installed
from aideploy.phases.journal import Entry, Verdict
from aideploy.phases.service import Health, Staging, Target
from aideploy.phases.tests_output import RanTests
from aideploy.phases.train import Trained
from aideploy.provision import Provision, provision
from aideploy.records import card
from aideploy.records.making import made
from aideploy.records.record import Record
from aideploy.remote.fleet import Fleet, FleetError
from aideploy.remote.result import ScriptFailed
from aideploy.remote.session import Lock, Session
from aideploy.report.wording import host_count
from aideploy.rollout import Rollout
from aideploy.services.release import release_files
from aideploy.settings.app import Source
from aideploy.settings.hosts import Role
from aideploy.settings.secrets import resolve
from aideploy.transaction import finishing
from aideploy.transaction.standing import untouched

if TYPE_CHECKING:
    from aideploy.settings import Settings

T = TypeVar("T")


@dataclass
class Progress:
    """What is known so far of the release that is on its way."""

    fetched: Mapping[str, Fetched] = field(default_factory=dict)
    installed: Mapping[str, Installed] | None = None
    image: Image | None = None
    tested: RanTests | None = None
    trained: Trained | None = None
    trained_on: str = ""
    evaluation: Evaluation | None = None
    staged: Target | None = None


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
        self.facts: dict[str, HostFacts] = {}
        self.nothing_new = ""
        self._fleet = fleet
        self._events = events
        self._who = who
        self._no_gate = no_gate
        self._review_gate = ReviewGate(settings, waiver)
        self._gate = ModelGate(settings, self._each, events, who=who, no_gate=no_gate)
        self._progress = Progress()
        self.hooks = Hooks(settings, events, self._known)
        self._rollout: Rollout | None = None
        self._finished = False
        self._hosts = {host.name: host for host in settings.hosts}
        self._secrets: Mapping[str, str] = {}
        self._provision: Provision | None = None
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
        self._require_roles()
        if self.settings.golden:
            check_before(self.settings, self.settings.golden, wanted)
        self._notice(self.plan(wanted))
        self.open(wait_lock=wait_lock)
        self._say_the_way(self.fetch(wanted), confirm)
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
        serving = [self.facts[name] for name in self._names(Role.SERVE)]
        self.nothing_new = known_already(serving, self.revision, self._model)
        if self.nothing_new:
            work = clearing(self.settings, self.facts.__getitem__)
            self._each(Phase.FINISH, work, self._deployed_names(), note="nothing new")
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
        self._provision = provision(self.settings, os.environ)
        self._numbers = windows.prepared(self.settings, os.environ, self._events)
        try:
            results = self._fleet.open(
                Lock.HELD, looking.script(self.settings), wait_lock=wait_lock
            )
        except FleetError as error:
            raise judged(error) from error
        self.facts = {name: looking.read(name, result) for name, result in results.items()}
        refusals = [
            refusal
            for name, known in self.facts.items()
            if (refusal := looking.refusal(known, self._hosts[name]))
        ]
        if refusals:
            raise judged(FleetError(Phase.OPEN, tuple(refusals)))
        self._require_room()
        return self.facts

    def _require_room(self) -> None:
        """Two copies of the model fit on the GPUs where two have to run at once."""

        def work(session: Session) -> None:
            script = gpu.script(self.settings, self.facts[session.host.name])
            for what, next_step in gpu.obstacles(session.run(Phase.OPEN, script)[0]):
                raise HostNotReady(
                    what, next_step=next_step, host=session.host.name, phase=Phase.OPEN
                )

        tight = [host.name for host in self.settings.hosts if gpu.needs_room(self.settings, host)]
        if tight:
            self._each(Phase.OPEN, work, tight)

    @hooked(Phase.FETCH)
    def fetch(self, revision: str | None = None) -> Fetched:
        """Bring the same commit to every host that trains or serves."""
        wanted = fetch.wanted_revision(self.settings, revision)
        stamp = self._stamp()
        names = self._deployed_names()
        bring = push if self.settings.app.source is Source.PUSH else pull
        fetched = bring(self.settings, self.facts, self._each, wanted, stamp, names)
        self._progress.fetched = fetched
        first = fetched[names[0]]
        for notice in dict.fromkeys(text for one in fetched.values() for text in one.notices):
            self._notice(notice)
        self._events.publish(ReleaseKnown(release=self.release, revision=self.revision))
        return first

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
        serve = self.settings.serve
        if serve and serve.contained:
            self._progress.image = ImageDelivery(
                self.settings,
                serve,
                self._fleet,
                self._each,
                self._events,
                release=self.release,
                roots={name: self.facts[name].root for name in self._names(Role.SERVE)},
            ).deliver()
        installed = self._each(Phase.INSTALL, self._environment, self._deployed_names())
        self._progress.installed = {name: one for name, one in installed.items() if one}
        for name, one in self._progress.installed.items():
            for notice in one.notices:
                self._notice(notice, host=name)
        return self._progress.installed

    def _environment(self, session: Session) -> Installed | None:
        scripts = []
        if self.settings.golden:
            scripts.append(golden.check(self.settings, self.settings.golden, self.release))
        if not install.is_needed(self.settings):
            if scripts:
                session.run(Phase.INSTALL, *scripts)
            return None
        scripts.append(install.script(self.settings, self.release, self._fetched.tree))
        return install.read(session.run(Phase.INSTALL, *scripts)[-1])

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
        script = test.script(self.settings, tests, self.release)
        name = next(iter(self._names(Role.TRAIN)), self._deployed_names()[0])

        def work(session: Session) -> RanTests | None:
            try:
                return test.read(session.run(Phase.TEST, script)[0], name)
            except ScriptFailed as error:
                raise test.refusal(error, name) from error

        self._progress.tested = self._each(Phase.TEST, work, [name])[name]
        return self._progress.tested

    @hooked(Phase.TRAIN, Phase.MODEL)
    def train(self) -> Trained | None:
        """Train the model on the first train host, where there is a [train]; or let a host fetch
        it from [model] source."""
        how = self.settings.train
        if how is None:
            return self._fetch_model()
        together = trainers(
            self.settings, how, self._events, self.release, self.revision, self._who
        )
        name = self._progress.trained_on = together.hosts[0]
        with detached_job(name) as job:
            self._each(Phase.TRAIN, job.named_by(together.work), together.hosts)
        trained = together.made
        self._progress.trained = trained
        self._progress.evaluation = None
        if trained.reused:
            self._notice(trained.why_reused, host=name)
        for notice in trained.notices:
            self._notice(notice, host=name, level="warning")
        return trained

    @hooked(Phase.EVALUATE)
    def evaluate(self) -> Evaluation:
        """Judge the model by [[gate]]: what it has to reach, and the last good release.

        Returns:
            the verdict; `blessed` says whether every limit holds. It refuses nothing by itself.

        Raises:
            UsageError: there is no model yet.
        """
        trained = self._progress.trained
        if trained is None:
            raise _too_early("nothing was trained yet", "train()")
        serving = [self.facts[name] for name in self._names(Role.SERVE)]
        evaluation = self._gate.evaluate(self.release, trained, self._progress.trained_on, serving)
        self._progress.evaluation = evaluation
        return evaluation

    def pass_gate(self) -> None:
        """Judge the model, where there is one, unless that was done, and let it pass or refuse it.

        Raises:
            Refused: the model gate did not bless it, and nobody said --no-gate.
            UsageError: there is no [[gate]], and nobody said --no-gate.
        """
        if self._progress.trained is not None:
            evaluation = self._progress.evaluation or self.evaluate()
            self._gate.require(evaluation, self.release)

    @hooked(Phase.DISTRIBUTE)
    def distribute(self) -> None:
        """Put the model on every serve host that has not got it; verify it where it is."""
        self.pass_gate()
        trained, source = self._progress.trained, self._progress.trained_on
        if trained is None:
            return
        targets = [name for name in self._names(Role.SERVE) if name != source]
        if self._provision:
            self._distribute_from_elsewhere(self._provision, trained.model, targets)
            return
        for way in distributions(
            self._events, self._fleet.sessions, self.facts, trained.model, source, targets
        ):
            self._each(Phase.DISTRIBUTE, way.work, way.hosts)

    @hooked(Phase.STAGE)
    def stage(self) -> Mapping[str, Health]:
        """Make the release whole on every serve host and prove it beside what is live."""

        def work(session: Session) -> Health:
            name = session.host.name
            known, record = self.facts[name], self._record(name)
            scripts = (
                *card.scripts(known, record, self.settings.path.parent),
                service.stage(self.settings, session.host, known, self._staging(name, record)),
            )
            return service.read_health(session.run(Phase.STAGE, *scripts)[-1])

        if not self._review_gate.is_open:
            raise _too_early("the commit was not reviewed yet", "review()")
        if self._progress.installed is None:
            raise _too_early("nothing was installed yet", "install()")
        if self.settings.model_path and self._progress.trained is None:
            raise _too_early("nothing was trained yet", "train()")
        self.pass_gate()
        note = "" if service.proven_beside(self.settings) else "not started beside: one model a GPU"
        health = self._each(Phase.STAGE, work, self._names(Role.SERVE), note=note)
        self._progress.staged = Target(self.release, self.revision, self._model)
        return health

    def take_up(self, release: str | None = None) -> Target:
        """Go on with a release that an earlier run staged on every serve host.

        Args:
            release: its id; None for the newest that there is.

        Raises:
            UsageError: there is none that is newer than what is live, or not everywhere.
        """
        serve = [self.facts[name] for name in self._names(Role.SERVE)]
        self._progress.staged = (
            service.newest_staged(serve) if release is None else service.whole(serve, release)
        )
        self._events.publish(ReleaseKnown(release=self.release, revision=self.revision))
        return self._progress.staged

    @hooked()
    def switch(self) -> None:
        """Switch the serve hosts batch by batch and watch them; if one is not well, all go back.

        Raises:
            RolledBack, NeedsPerson, Held, Interrupted: see `Rollout.run`.
        """
        if self._progress.staged is None:
            raise _too_early("nothing was staged yet", "stage()")
        serve = self._names(Role.SERVE)
        facts = {name: self.facts[name] for name in serve}
        course = batches.course(self.settings, serve)
        self._rollout = self._begun(facts, course, self._progress.staged, self._numbers)
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
        serve = self._names(Role.SERVE)
        facts = {name: self.facts[name] for name in serve}
        switched = held.switched(facts)
        rest = tuple(name for name in serve if name not in switched)
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
            raise _too_early("nothing was switched yet", "switch()")

        def work(session: Session) -> None:
            known = self.facts[session.host.name]
            keep = service.kept(known, self.release, self.settings.app.keep_releases)
            stand_by = service.stand_by(self.settings, session.host)
            entries = (self._entry(Verdict.GOOD),)
            last = finishing.scripts(self.settings, known, keep, entries, stand_by)
            session.run(Phase.FINISH, *last)

        self._rollout.confirm()
        self._finished = True
        self.hooks.before_all_the_same(Phase.FINISH)
        failed = self._rollout.failed
        well = [name for name in self._deployed_names() if name not in failed]
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
        settings = self.settings
        names = {role: self._names(role) for role in Role}
        spread = batches.course(settings, names[Role.SERVE])
        each = " after each" if len(spread.batches) > 1 else ""
        watch = f"watch {settings.rollout.bake.total_seconds():g}s{each}"
        phases = [
            ("fetch", "review", "install") if settings.review else ("fetch", "install"),
            ("test",) if settings.test else (),
            (f"train on {' and '.join(trainers_of(settings))}",) if settings.train else (),
            ("model",) if settings.model.source else (),
            ("evaluate",) if settings.gates else (),
            ("distribute",) if settings.model_path else (),
            ("stage", spread.in_words(), watch, "finish"),
        ]
        return (
            f"plan: {revision or settings.app.branch} to {host_count(len(names[Role.SERVE]))}: "
            + ", ".join(word for words in phases for word in words)
        )

    # -- what it says of itself -----------------------------------------------------------------

    @property
    def release(self) -> str:
        """The id of the release that is on its way."""
        staged = self._progress.staged
        return staged.release if staged and staged.release else self._fetched.release

    @property
    def revision(self) -> str:
        """The full commit that is on its way."""
        staged = self._progress.staged
        return staged.revision if staged else self._fetched.commit

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
        known = {
            name: untouched(self.facts[name])
            if name in self.facts
            else HostState(host=name, state="as it was (nothing was begun)")
            for name in self._hosts
        }
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
            who=self._who,
            hooks=self.hooks,
            analyses=analysing.analyses(self.settings, numbers, self._events, self.release, course),
        )

    def _known(self) -> tuple[str, str]:
        """Return the release and its commit as far as they are known."""
        known = self._progress.staged or self._progress.fetched
        return (self.release, self.revision) if known else ("", "")

    @property
    def _model(self) -> str:
        progress = self._progress
        if progress.staged:
            return progress.staged.model
        return progress.trained.model if progress.trained else ""

    @property
    def _fetched(self) -> Fetched:
        if not self._progress.fetched:
            raise _too_early("nothing was fetched yet", "fetch()")
        return self._progress.fetched[self._deployed_names()[0]]

    def _require_roles(self) -> None:
        """The settings have a host for every role; a selection of hosts may lack one."""
        needed = {Role.TRAIN: self.settings.train, Role.SERVE: self.settings.serve}
        for role, table in needed.items():
            if table is not None and not self._names(role):
                raise UsageError(
                    f"none of the chosen hosts has the role {role}",
                    why=f"chosen: {', '.join(self._hosts)}",
                    next_step=f"add a host with the role {role} to --only, or leave --only out",
                )

    def _names(self, role: Role) -> tuple[str, ...]:
        return tuple(host.name for host in self.settings.hosts if role in host.roles)

    def _deployed_names(self) -> tuple[str, ...]:
        deployed = {Role.TRAIN, Role.SERVE}
        return tuple(host.name for host in self.settings.hosts if deployed & host.roles)

    def _stamp(self) -> str:
        """Return the time for the release's id: later than that of any release on any host."""
        now = datetime.now(UTC)
        names = (name for known in self.facts.values() for name in known.releases)
        after = (time + timedelta(seconds=1) for time in map(looking.release_time, names) if time)
        return max([now, *after]).strftime(looking.RELEASE_STAMP)

    def _fetch_model(self) -> Trained | None:
        """Let the first host that serves fetch the model; the others follow in `distribute`."""
        provided = self._provision
        if provided is None or provided.origin is None:
            return None
        name = [*self._names(Role.SERVE), *self._deployed_names()][0]

        def work(session: Session) -> Trained:
            return provided.first(session, self.facts[name], self.release)

        self._progress.trained_on = name
        fetched = self._each(Phase.MODEL, work, [name], note=self.settings.model.shown_source)[name]
        self._progress.trained = fetched
        self._progress.evaluation = None
        for notice in fetched.notices:
            self._notice(notice, host=name, level="warning")
        return fetched

    def _distribute_from_elsewhere(
        self, provided: Provision, model: str, targets: Iterable[str]
    ) -> None:
        """Let every target fetch the model itself; one that was trained here is stored before."""

        def put(session: Session) -> str:
            return provided.put(session, self.facts[session.host.name], self.release, model)

        def fetch(session: Session) -> str:
            return provided.fetch(session, self.facts[session.host.name], self.release, model)

        if provided.origin is None:
            self._each(Phase.DISTRIBUTE, put, [self._progress.trained_on])
        self._each(Phase.DISTRIBUTE, fetch, targets)

    def _staging(self, name: str, record: Record) -> Staging:
        known = self.facts[name]
        files = release_files(
            self.settings,
            root=known.root,
            release=self.release,
            revision=self.revision,
            model=self._model,
            secrets=self._secrets,
            image=self._progress.image.id if self._progress.image else "",
        )
        return Staging(
            release=self.release,
            revision=self.revision,
            model=self._model,
            environment=files.environment,
            serve=files.serve,
            record=record.document(),
            entry=replace(self._entry(Verdict.PREPARED), why=self._why_all_the_same),
        )

    @property
    def _why_all_the_same(self) -> str:
        """What the journals say of gates that did not have their way."""
        notes = (self._review_gate.note, journalled(self._progress.evaluation))
        return "; ".join(filter(None, notes))

    def _record(self, name: str) -> Record:
        progress = self._progress
        origin = self._provision.origin if self._provision else None
        return made(
            self.settings,
            self.facts[name],
            progress.fetched[name],
            release=self.release,
            at=datetime.now(UTC),
            who=self._who,
            installed=(progress.installed or {}).get(name),
            image=progress.image,
            trained=progress.trained,
            model_source=origin.record if origin else None,
            tested=progress.tested,
            evaluation=progress.evaluation,
            review=self._review_gate.record(),
        )

    def _entry(self, verdict: Verdict) -> Entry:
        return Entry(
            verdict=verdict,
            release=self.release,
            at=datetime.now(UTC),
            who=self._who,
            revision=self.revision,
            model=self._model,
        )

    def _each(
        self,
        phase: Phase,
        work: Callable[[Session], T],
        hosts: Iterable[str],
        note: str = "",
    ) -> Mapping[str, T]:
        try:
            return self._fleet.each(phase, work, hosts, note)
        except FleetError as error:
            raise judged(error) from error
        except Interrupted as error:
            raise Interrupted("interrupted; nothing was switched", phase=error.phase) from error

    def _say_the_way(self, fetched: Fetched, confirm: Callable[[str], bool]) -> None:
        """Say how far the revision is from what is live; going back is asked for."""
        if fetched.ahead is None or fetched.behind is None:
            return
        if fetched.ahead == 0 and fetched.behind > 0:
            older = _commits(fetched.behind)
            question = f"{fetched.commit[:7]} is {older} older than what is live"
            if not confirm(question):
                raise UsageError(
                    f"{question}: not deployed",
                    next_step="to go back to a release that was good: fab rollback",
                )
        elif fetched.ahead == 0:
            self._notice(f"{fetched.commit[:7]} is live already; it is deployed anew")
        else:
            self._notice(f"{_commits(fetched.ahead)} since what is live")

    def _notice(self, text: str, host: str | None = None, level: str = "info") -> None:
        self._events.publish(Notice(text=text, host=host, level=level))


def _too_early(what: str, first: str) -> UsageError:
    return UsageError(what, next_step=f"call {first} before this phase")


def _commits(number: int) -> str:
    return f"{number} commit" + "s" * (number != 1)
