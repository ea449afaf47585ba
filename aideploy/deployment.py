"""The story of a deploy: the phases in their order, and what is known between them.

`fab deploy` is `Deployment.run`; people who compose a flow of their own call the phases one by
one. The story decides what happens next; the fleet does it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from aideploy.errors import (
    AideployError,
    ExitStatus,
    HostNotReady,
    Interrupted,
    PhaseFailed,
    Refused,
    UsageError,
)
from aideploy.events import Events, HostState, Notice, Phase, StepStarted
from aideploy.monitoring.targets import targets_file
from aideploy.phases import facts as looking
from aideploy.phases import fetch, install, service, test, train
from aideploy.phases.facts import HostFacts
from aideploy.phases.fetch import Fetched
from aideploy.phases.install import Installed
from aideploy.phases.journal import Entry, Verdict
from aideploy.phases.service import Health, Staging, Target
from aideploy.phases.train import Trained
from aideploy.remote import transfer
from aideploy.remote.fleet import Fleet, FleetError
from aideploy.remote.result import ScriptFailed
from aideploy.remote.session import Lock, Session
from aideploy.repository import Repository
from aideploy.rollout import Rollout, conclude, untouched
from aideploy.services.release import release_files
from aideploy.settings.app import Source
from aideploy.settings.hosts import Role
from aideploy.settings.secrets import resolve

if TYPE_CHECKING:
    from aideploy.settings import Settings

T = TypeVar("T")

_STAMP = "%Y%m%dT%H%M%SZ"
_INLINE_PACK_BYTES = 4 * 1024 * 1024
# What a script says when the host, not the release, is the reason; otherwise the release failed.
_HOST_CODES = frozenset(
    [
        "no-space",
        "no-access",
        "no-repository",
        "no-python",
        "no-uv",
        "no-venv",
        "not-set-up",
        "no-sudo",
        "no-linked-file",
        "damaged",
    ]
)
_USAGE_CODES = frozenset(["no-revision", "no-subdirectory"])


class ReleaseFailed(PhaseFailed):
    """The release failed before anything was switched; every host serves what it served."""

    status = ExitStatus.ROLLED_BACK


@dataclass
class Progress:
    """What is known so far of the release that is on its way."""

    fetched: Mapping[str, Fetched] = field(default_factory=dict)
    installed: Mapping[str, Installed] = field(default_factory=dict)
    trained: Trained | None = None
    trained_on: str = ""
    archive: str = ""


class Deployment:
    """One deploy of one revision to the hosts of an environment.

    Args:
        settings: of the environment; only its hosts take part.
        fleet: not yet open.
        events: where everything is told.
        who: user@machine of whoever asked for it.
    """

    def __init__(self, settings: Settings, fleet: Fleet, events: Events, *, who: str) -> None:
        self.settings = settings
        self.facts: dict[str, HostFacts] = {}
        self._fleet = fleet
        self._events = events
        self._who = who
        self._progress = Progress()
        self._rollout: Rollout | None = None
        self._hosts = {host.name: host for host in settings.hosts}
        self._secrets: Mapping[str, str] = {}

    # -- the story ------------------------------------------------------------------------------

    def run(self, revision: str | None = None, *, wait_lock: bool = False) -> str:
        """Deploy a revision and return the id of the new release.

        Args:
            revision: a branch, a tag or a commit; None for [app] branch.
            wait_lock: wait for a lock that somebody else holds.

        Raises:
            AideployError: it did not succeed; `status` says how it stands.
        """
        self.open(wait_lock=wait_lock)
        self.fetch(revision)
        self.install()
        self.test()
        self.train()
        self.rollout()
        return self.release

    def open(self, *, wait_lock: bool = False) -> Mapping[str, HostFacts]:
        """Connect to every host, take the locks, look around; nobody may be unready."""
        if self.settings.serve:
            self._secrets = resolve(self.settings.serve, os.environ, self.settings.path.parent)
        results = self._fleet.open(Lock.HELD, looking.script(self.settings), wait_lock=wait_lock)
        self.facts = {name: looking.read(name, result) for name, result in results.items()}
        refusals = [
            refusal
            for name, known in self.facts.items()
            if (refusal := looking.refusal(known, self._hosts[name]))
        ]
        if refusals:
            raise FleetError(Phase.OPEN, tuple(refusals))
        return self.facts

    def fetch(self, revision: str | None = None) -> Fetched:
        """Bring the same commit to every host that trains or serves."""
        wanted = revision or self.settings.app.branch
        stamp = self._stamp()
        if self.settings.app.source is Source.PUSH:
            fetched = self._push(wanted, stamp)
        else:
            fetched = self._pull(wanted, stamp)
        self._progress.fetched = fetched
        first = fetched[self._deployed_names()[0]]
        for notice in dict.fromkeys(text for one in fetched.values() for text in one.notices):
            self._notice(notice)
        return first

    def install(self) -> Mapping[str, Installed]:
        """Find or build the release's environment on every host that trains or serves."""
        script = install.script(self.settings, self.release, self._fetched.tree)
        self._progress.installed = self._each(
            Phase.INSTALL,
            lambda session: install.read(session.run(Phase.INSTALL, script)[0]),
            self._deployed_names(),
        )
        for name, one in self._progress.installed.items():
            for notice in one.notices:
                self._notice(notice, host=name)
        return self._progress.installed

    def test(self) -> None:
        """Run the project's own tests on the first train host, where there is a [test]."""
        tests = self.settings.test
        if tests is None:
            return
        script = test.script(self.settings, tests, self.release)
        name = next(iter(self._names(Role.TRAIN)), self._deployed_names()[0])
        self._each(Phase.TEST, lambda session: session.run(Phase.TEST, script)[0], [name])

    def train(self) -> Trained | None:
        """Train the model on the first train host, where there is a [train]."""
        how = self.settings.train
        if how is None:
            return None
        name = self._names(Role.TRAIN)[0]
        scripts = [train.script(self.settings, how, self.release, self.revision)]
        others = [other for other in self._names(Role.SERVE) if other != name]
        if others:
            scripts.append(train.read_model(self.settings, how, self.release))

        def work(session: Session) -> Trained:
            results = session.run(Phase.TRAIN, *scripts)
            if others:
                self._progress.archive = results[1].text("archive")
            return train.read(results[0])

        self._progress.trained_on = name
        self._progress.trained = self._each(Phase.TRAIN, work, [name])[name]
        return self._progress.trained

    def distribute(self) -> None:
        """Put the model on every serve host that has not got it, and verify it there."""
        trained = self._progress.trained
        if trained is None:
            return
        lacking = [
            name
            for name in self._names(Role.SERVE)
            if name != self._progress.trained_on and trained.model not in self.facts[name].models
        ]
        if not lacking:
            return
        if not self._progress.archive:
            self._relay(trained.model, lacking)
        script = train.write_model(self.settings, trained.model, self._progress.archive)
        self._each(
            Phase.DISTRIBUTE, lambda session: session.run(Phase.DISTRIBUTE, script)[0], lacking
        )

    def stage(self) -> Mapping[str, Health]:
        """Make the release whole on every serve host and prove it beside what is live."""

        def work(session: Session) -> Health:
            name = session.host.name
            script = service.stage(
                self.settings, session.host, self.facts[name], self._staging(name)
            )
            return service.read_health(session.run(Phase.STAGE, script)[0])

        note = "" if service.proven_beside(self.settings) else "not started beside: one model a GPU"
        return self._each(Phase.STAGE, work, self._names(Role.SERVE), note=note)

    def switch(self) -> None:
        """Switch every serve host, watch it, and confirm; if one is not well, all go back."""
        target = Target(
            self.release,
            self.revision,
            self._progress.trained.model if self._progress.trained else "",
        )
        serve = self._names(Role.SERVE)
        self._rollout = Rollout(
            self.settings,
            self._fleet,
            {name: self.facts[name] for name in serve},
            self._events,
            who=self._who,
        )
        self._rollout.run(dict.fromkeys(serve, target), watch=True)

    def finish(self) -> None:
        """Write the last word to the journals, tell Prometheus, make room.

        Raises:
            NeedsPerson: a host did not get so far; what it serves does not change any more.
        """

        def work(session: Session) -> None:
            name = session.host.name
            known = self.facts[name]
            keep = service.kept(known, self.release, self.settings.app.keep_releases)
            session.run(
                Phase.FINISH,
                service.finish(
                    known,
                    (self._entry(Verdict.GOOD),),
                    keep,
                    targets_file(self.settings, session.host),
                ),
            )

        conclude(self._fleet, self._events, work, self._fleet.names)

    def rollout(self) -> None:
        """Distribute, stage, switch, watch and finish."""
        self.distribute()
        self.stage()
        self.switch()
        self.finish()

    # -- what it says of itself -----------------------------------------------------------------

    @property
    def release(self) -> str:
        """The id of the release that is on its way."""
        return self._fetched.release

    @property
    def revision(self) -> str:
        """The full commit that is on its way."""
        return self._fetched.commit

    @property
    def states(self) -> tuple[HostState, ...]:
        """The state of every host that was reached, as it is now."""
        known = {name: untouched(facts) for name, facts in self.facts.items()}
        if self._rollout:
            known |= self._rollout.states
        return tuple(known.values())

    # -- inside ---------------------------------------------------------------------------------

    @property
    def _fetched(self) -> Fetched:
        if not self._progress.fetched:
            raise UsageError(
                "nothing was fetched yet", next_step="call open() and fetch() before this phase"
            )
        return self._progress.fetched[self._deployed_names()[0]]

    def _names(self, role: Role) -> tuple[str, ...]:
        return tuple(host.name for host in self.settings.hosts if role in host.roles)

    def _deployed_names(self) -> tuple[str, ...]:
        deployed = {Role.TRAIN, Role.SERVE}
        return tuple(host.name for host in self.settings.hosts if deployed & host.roles)

    def _stamp(self) -> str:
        """Return the time for the release's id: later than that of any release on any host."""
        now = datetime.now(UTC)
        newest = max((name for known in self.facts.values() for name in known.releases), default="")
        if newest and newest.partition("-")[0] >= now.strftime(_STAMP):
            last = datetime.strptime(newest.partition("-")[0], _STAMP).replace(tzinfo=UTC)
            now = last + timedelta(seconds=1)
        return now.strftime(_STAMP)

    def _pull(self, revision: str, stamp: str) -> Mapping[str, Fetched]:
        def from_repository(wanted: str, hosts: Iterable[str]) -> Mapping[str, Fetched]:
            def work(session: Session) -> Fetched:
                live = self.facts[session.host.name].current_revision
                script = fetch.pull(self.settings, wanted, stamp, live)
                return fetch.read(session.run(Phase.FETCH, script)[0])

            return self._each(Phase.FETCH, work, hosts)

        fetched = dict(from_repository(revision, self._deployed_names()))
        commit = fetched[self._deployed_names()[0]].commit
        behind = [name for name, one in fetched.items() if one.commit != commit]
        if behind:
            # The branch moved while they fetched: everybody takes the commit of the first host.
            fetched |= from_repository(commit, behind)
        return fetched

    def _push(self, revision: str, stamp: str) -> Mapping[str, Fetched]:
        repository = Repository(self.settings.path.parent / str(self.settings.app.repository))
        commit = repository.commit(revision)
        packs = {
            have: repository.pack(commit, have)
            for have in {self.facts[name].have for name in self._deployed_names()}
        }

        def work(session: Session) -> Fetched:
            known = self.facts[session.host.name]
            pack = packs[known.have]
            if len(pack) > _INLINE_PACK_BYTES:
                transfer.send(Phase.FETCH, pack, {session: transfer.take_pack(str(known.root))})
                pack = b""
            script = fetch.push(self.settings, pack, commit, stamp, known.current_revision)
            return fetch.read(session.run(Phase.FETCH, script)[0])

        return self._each(Phase.FETCH, work, self._deployed_names())

    def _relay(self, model: str, names: Iterable[str]) -> None:
        source = self._fleet.sessions[self._progress.trained_on]
        targets = {
            self._fleet.sessions[name]: transfer.take_model(str(self.facts[name].root), model)
            for name in names
        }
        for name in names:
            self._events.publish(
                StepStarted(phase=Phase.DISTRIBUTE, host=name, text="receive the model")
            )
        outlet = transfer.send_model(str(self.facts[self._progress.trained_on].root), model)
        try:
            transfer.relay(Phase.DISTRIBUTE, source, outlet, targets)
        except KeyboardInterrupt as error:
            raise Interrupted(
                "interrupted; nothing was switched", phase=Phase.DISTRIBUTE
            ) from error

    def _staging(self, name: str) -> Staging:
        known = self.facts[name]
        model = self._progress.trained.model if self._progress.trained else ""
        files = release_files(
            self.settings,
            root=known.root,
            release=self.release,
            revision=self.revision,
            model=model,
            secrets=self._secrets,
        )
        return Staging(
            release=self.release,
            revision=self.revision,
            model=model,
            environment=files.environment,
            serve=files.serve,
            record=self._record(name),
            entry=self._entry(Verdict.PREPARED),
        )

    def _record(self, name: str) -> dict[str, object]:
        """Return what release.json says: where this release on this host came from."""
        fetched = self._progress.fetched[name]
        installed = self._progress.installed.get(name)
        trained = self._progress.trained
        return {
            "id": self.release,
            "app": self.settings.app.name,
            "environment": self.settings.environment,
            "host": name,
            "repository": str(self.settings.app.repository),
            "revision": fetched.commit,
            "subject": fetched.subject,
            "author": fetched.author,
            "prepared_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "who": self._who,
            "interpreter": installed.interpreter if installed else None,
            "dependencies": installed.hash if installed else None,
            "gpus": list(self.facts[name].gpus),
            "model": trained.model if trained else None,
            "metrics": dict(trained.metrics) if trained else None,
            "baseline": self.facts[name].current,
        }

    def _entry(self, verdict: Verdict) -> Entry:
        return Entry(
            verdict=verdict,
            release=self.release,
            at=datetime.now(UTC),
            who=self._who,
            revision=self.revision,
            model=self._progress.trained.model if self._progress.trained else "",
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

    def _notice(self, text: str, host: str | None = None) -> None:
        self._events.publish(Notice(text=text, host=host))


def judged(error: FleetError) -> AideployError:
    """Return the error with the class, and so the exit status, that its causes call for."""
    kind: type[AideployError] = ReleaseFailed
    next_step = error.next_step
    codes = {cause.code for cause in error.causes if isinstance(cause, ScriptFailed)}
    if any(isinstance(cause, HostNotReady) for cause in error.causes) or codes & _HOST_CODES:
        kind = HostNotReady
    elif codes & _USAGE_CODES:
        kind = UsageError
    elif "tests-failed" in codes:
        kind = Refused
    return kind(
        _headline(error),
        next_step=next_step,
        phase=error.phase,
        causes=error.causes,
    )


def _headline(error: FleetError) -> str:
    names = [cause.host for cause in error.causes if cause.host]
    who = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{error.phase} failed on {who}; nothing was switched"
