"""What a deploy knows so far of the release that is on its way.

Every phase notes here what came of it, and the later ones find it. It does nothing by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aideploy.errors import UsageError
from aideploy.gates.model import Evaluation
from aideploy.phases.fetch import Fetched
from aideploy.phases.image import Image
from aideploy.phases.install import Installed
from aideploy.phases.journal import Entry, Verdict
from aideploy.phases.service import Target
from aideploy.phases.tests_output import RanTests
from aideploy.phases.train import Trained


@dataclass
class Underway:
    """The release of one deploy.

    Args:
        who: user@machine of whoever asked for it.
        fetched: of each host that trains or serves, in their order.
        installed: of the same hosts; None before the phase.
        image: where a container serves.
        tested: how the project's own tests came out.
        trained, trained_on: the model, and the host that has it first.
        evaluation: the verdict on the model.
        staged: the release that is whole on every serve host.
    """

    who: str
    fetched: Mapping[str, Fetched] = field(default_factory=dict)
    installed: Mapping[str, Installed] | None = None
    image: Image | None = None
    tested: RanTests | None = None
    trained: Trained | None = None
    trained_on: str = ""
    evaluation: Evaluation | None = None
    staged: Target | None = None

    @property
    def is_known(self) -> bool:
        """Whether it is known which release it is."""
        return bool(self.staged or self.fetched)

    @property
    def release(self) -> str:
        """The id of the release.

        Raises:
            UsageError: it is not known yet.
        """
        return self.staged.release if self.staged and self.staged.release else self.commit.release

    @property
    def revision(self) -> str:
        """The full commit.

        Raises:
            UsageError: it is not known yet.
        """
        return self.staged.revision if self.staged else self.commit.commit

    @property
    def model(self) -> str:
        """The sha256 of the model, or empty."""
        if self.staged:
            return self.staged.model
        return self.trained.model if self.trained else ""

    @property
    def commit(self) -> Fetched:
        """What the first host fetched; the others have the same commit.

        Raises:
            UsageError: nothing was fetched yet.
        """
        if not self.fetched:
            raise too_early("nothing was fetched yet", "fetch()")
        return next(iter(self.fetched.values()))

    def make(self, trained: Trained, name: str) -> None:
        """Note a model that a host has now; it was not judged yet."""
        self.trained, self.trained_on, self.evaluation = trained, name, None

    def entry(self, verdict: Verdict, why: str = "") -> Entry:
        """Return what the journals say of the release at this moment."""
        return Entry(
            verdict=verdict,
            release=self.release,
            at=datetime.now(UTC),
            who=self.who,
            why=why,
            revision=self.revision,
            model=self.model,
        )


def too_early(what: str, first: str) -> UsageError:
    """Return the error of a phase that was called before another one that it needs."""
    return UsageError(what, next_step=f"call {first} before this phase")
