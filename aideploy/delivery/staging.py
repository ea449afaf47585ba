"""The stage phase as it happens: the release is made whole on a host, with its record, and proven.

Called by the story for every serve host, when everything that belongs to the release is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aideploy.delivery.gating import journalled
from aideploy.delivery.underway import Underway
from aideploy.events import Phase
from aideploy.gates.reviewing import ReviewGate
from aideploy.phases import service
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Verdict
from aideploy.phases.service import Health, Staging
from aideploy.records import card
from aideploy.records.making import made
from aideploy.records.record import Record
from aideploy.remote.session import Session
from aideploy.services.release import release_files

if TYPE_CHECKING:
    from aideploy.settings import Settings


@dataclass(frozen=True)
class Stage:
    """What every serve host makes the same release whole with.

    Args:
        settings: of the environment.
        facts: of the hosts.
        underway: the release.
        secrets: the values of [serve] secrets.
        review: the gate that its commit passed.
        model_source: where its model came from, when it was not trained here.
    """

    settings: Settings
    facts: Mapping[str, HostFacts]
    underway: Underway
    secrets: Mapping[str, str] = field(repr=False)
    review: ReviewGate
    model_source: Mapping[str, str] | None

    def work(self, session: Session) -> Health:
        """Make the release whole on one host and prove it beside what is live."""
        known = self.facts[session.host.name]
        record = self._record(known)
        scripts = (
            *card.scripts(known, record, self.settings.path.parent),
            service.stage(self.settings, session.host, known, self._staging(known, record)),
        )
        return service.read_health(session.run(Phase.STAGE, *scripts)[-1])

    def _staging(self, known: HostFacts, record: Record) -> Staging:
        way = self.underway
        files = release_files(
            self.settings,
            root=known.root,
            release=way.release,
            revision=way.revision,
            model=way.model,
            secrets=self.secrets,
            image=way.image.id if way.image else "",
        )
        # What the journals say of gates that did not have their way.
        notes = (self.review.note, journalled(way.evaluation))
        return Staging(
            release=way.release,
            revision=way.revision,
            model=way.model,
            environment=files.environment,
            serve=files.serve,
            record=record.document(),
            entry=way.entry(Verdict.PREPARED, why="; ".join(filter(None, notes))),
        )

    def _record(self, known: HostFacts) -> Record:
        way = self.underway
        return made(
            self.settings,
            known,
            way.fetched[known.host],
            release=way.release,
            at=datetime.now(UTC),
            who=way.who,
            installed=(way.installed or {}).get(known.host),
            image=way.image,
            trained=way.trained,
            model_source=self.model_source,
            tested=way.tested,
            evaluation=way.evaluation,
            review=self.review.record(),
        )
