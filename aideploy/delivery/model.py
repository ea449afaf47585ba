"""The model on the way of a deploy: trained or fetched, judged, and brought to the serve hosts.

Called by the story, phase by phase. The training itself, the gate, and the ways from host to host
or from elsewhere have modules of their own; which of them a deploy takes is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from aideploy.delivery.distribution import distributions
from aideploy.delivery.ganging import trainers
from aideploy.delivery.gating import ModelGate
from aideploy.delivery.participants import Participants
from aideploy.delivery.provision import Provision, provision
from aideploy.delivery.underway import Underway, too_early
from aideploy.events import Events, Notice, Phase
from aideploy.gates.model import Evaluation
from aideploy.jobs.detached import detached_job
from aideploy.phases.train import Trained
from aideploy.remote.session import Session
from aideploy.settings.hosts import Role

if TYPE_CHECKING:
    from aideploy.settings import Settings
    from aideploy.settings.train import Train


class ModelDelivery:
    """The model of one release. Where there is none, it has nothing to do.

    Args:
        settings: of the environment.
        participants: the hosts.
        underway: the release.
        events: where everything is told.
        no_gate: let a model pass that the model gate did not bless.
    """

    def __init__(
        self,
        settings: Settings,
        participants: Participants,
        underway: Underway,
        events: Events,
        *,
        no_gate: bool,
    ) -> None:
        self._settings = settings
        self._participants = participants
        self._underway = underway
        self._events = events
        self._gate = ModelGate(
            settings, participants.each, events, who=underway.who, no_gate=no_gate
        )
        self._provision: Provision | None = None

    def prepare(self, environ: Mapping[str, str]) -> None:
        """Find out, before anything is connected to, where it comes from; see `provision`."""
        self._provision = provision(self._settings, environ)

    @property
    def source(self) -> Mapping[str, str] | None:
        """What the record says of where it came from; None where it is trained here."""
        origin = self._provision.origin if self._provision else None
        return origin.record if origin else None

    def obtain(self) -> Trained | None:
        """Train it, or let a host fetch it; None where there is no model."""
        how = self._settings.train
        return self._train(how) if how else self._fetch_first()

    def evaluate(self) -> Evaluation:
        """Judge it; the verdict refuses nothing by itself.

        Raises:
            UsageError: there is no model yet.
        """
        way = self._underway
        if way.trained is None:
            raise too_early("nothing was trained yet", "train()")
        serving = self._participants.serving.values()
        way.evaluation = self._gate.evaluate(way.release, way.trained, way.trained_on, serving)
        return way.evaluation

    def require(self, evaluation: Evaluation) -> None:
        """Let it pass, or refuse it; see `ModelGate.require`."""
        self._gate.require(evaluation, self._underway.release)

    def distribute(self) -> None:
        """Put it on every serve host that has not got it; verify it where it is."""
        trained, source = self._underway.trained, self._underway.trained_on
        if trained is None:
            return
        hosts = self._participants
        targets = [name for name in hosts.names(Role.SERVE) if name != source]
        if self._provision:
            self._fetch_everywhere(self._provision, trained.model, targets)
            return
        for way in distributions(
            self._events, hosts.sessions, hosts.facts, trained.model, source, targets
        ):
            hosts.each(Phase.DISTRIBUTE, way.work, way.hosts)

    # -- inside ---------------------------------------------------------------------------------

    def _train(self, how: Train) -> Trained:
        way = self._underway
        together = trainers(self._settings, how, self._events, way.release, way.revision, way.who)
        name = together.hosts[0]
        with detached_job(name) as job:
            self._participants.each(Phase.TRAIN, job.named_by(together.work), together.hosts)
        trained = together.made
        way.make(trained, name)
        if trained.reused:
            self._events.publish(Notice(text=trained.why_reused, host=name))
        self._warn(trained, name)
        return trained

    def _fetch_first(self) -> Trained | None:
        """Let the first host that serves fetch it; the others follow in `distribute`."""
        provided = self._provision
        if provided is None or provided.origin is None:
            return None
        hosts, release = self._participants, self._underway.release
        name = [*hosts.names(Role.SERVE), *hosts.deployed][0]

        def work(session: Session) -> Trained:
            return provided.first(session, hosts.facts[name], release)

        source = self._settings.model.shown_source
        fetched = hosts.each(Phase.MODEL, work, [name], note=source)[name]
        self._underway.make(fetched, name)
        self._warn(fetched, name)
        return fetched

    def _fetch_everywhere(self, provided: Provision, model: str, targets: Sequence[str]) -> None:
        """Let every target fetch it itself; one that was trained here is stored before."""
        hosts, release = self._participants, self._underway.release

        def put(session: Session) -> str:
            return provided.put(session, hosts.facts[session.host.name], release, model)

        def fetch(session: Session) -> str:
            return provided.fetch(session, hosts.facts[session.host.name], release, model)

        if provided.origin is None:
            hosts.each(Phase.DISTRIBUTE, put, [self._underway.trained_on])
        hosts.each(Phase.DISTRIBUTE, fetch, targets)

    def _warn(self, trained: Trained, name: str) -> None:
        for notice in trained.notices:
            self._events.publish(Notice(text=notice, host=name, level="warning"))
