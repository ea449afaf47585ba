"""A model that comes from elsewhere, or goes through a store: what the story needs of `[model]`.

It is made before the first connection: secrets are resolved and a registry is asked once, so that
every host fetches the same. The sessions do the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aideploy.events import Phase
from aideploy.phases import model as phase
from aideploy.phases.facts import HostFacts
from aideploy.phases.model import Origin
from aideploy.phases.train import Trained
from aideploy.remote.session import Session
from aideploy.settings.secrets import find

if TYPE_CHECKING:
    from aideploy.settings import Settings
    from aideploy.settings.source import Model


@dataclass(frozen=True)
class Provision:
    """Where a model comes from, or the store that it goes through.

    Args:
        settings: the table [model].
        secrets: the values of its token and secrets.
        origin: where the model lies; None where it is trained here and goes through the store.
    """

    settings: Model
    secrets: Mapping[str, str] = field(repr=False)
    origin: Origin | None

    def first(self, session: Session, facts: HostFacts, release: str) -> Trained:
        """Let one host fetch the model and its metrics: then its name is known."""
        assert self.origin is not None, "the model is trained here"
        script = phase.fetch(
            facts,
            release,
            self.origin,
            self.settings,
            self.secrets,
            metrics=self.settings.metrics or "",
        )
        return phase.read(session.run(Phase.MODEL, script)[0], self.origin)

    def put(self, session: Session, facts: HostFacts, release: str, model: str) -> str:
        """Let the train host put its model into the store."""
        script = phase.store(facts, release, model, self.settings, self.secrets)
        return session.run(Phase.DISTRIBUTE, script)[0].text("words")

    def fetch(self, session: Session, facts: HostFacts, release: str, model: str) -> str:
        """Let a host fetch the model whose name is known, from where it lies or from the store."""
        origin = self.origin or phase.in_store(str(self.settings.store), model)
        script = phase.fetch(
            facts, release, phase.known(origin, model), self.settings, self.secrets
        )
        found = phase.read(session.run(Phase.DISTRIBUTE, script)[0], origin)
        return " ".join(["fetched, verified", *found.notices])


def provision(settings: Settings, environ: Mapping[str, str]) -> Provision | None:
    """Find out where the model comes from; None where it is trained here and there is no store.

    Args:
        settings: of the environment.
        environ: the environment variables of this machine.

    Raises:
        SettingsError: a secret has no value.
        UsageError: the registry knows no such model.
        HostNotReady: the registry does not answer.
    """
    table = settings.model
    if not (table.source or table.store):
        return None
    secrets = find(table.variables, settings.serve, environ, settings.path.parent)
    if table.registered:
        from aideploy.registry import look_up

        return Provision(table, secrets, phase.registered(table, look_up(table, secrets)))
    return Provision(table, secrets, phase.at_url(table) if table.source else None)
