"""Whether a deploy would bring anything: a commit and a model that were not live here before.

Called by the story for `fab deploy --if-new`, which a timer or an alert starts. What was live and
did not stay is not tried again and again because of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from aideploy.events import Phase
from aideploy.phases import service
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Verdict
from aideploy.remote.session import Session
from aideploy.transaction import finishing

if TYPE_CHECKING:
    from aideploy.settings import Settings


def known_already(serving: Sequence[HostFacts], revision: str, model: str) -> str:
    """Return in words why this commit with this model is nothing new; empty where it is.

    Args:
        serving: the facts of the hosts that serve.
        revision: the full commit.
        model: the sha256 of the model, or empty.
    """
    found = [_release_with(facts, revision, model) for facts in serving]
    if not found or not all(found):
        return ""
    what = f"commit {revision[:7]}" + (f" with model {model[:7]}" if model else "")
    if all(facts.current == release for facts, release in zip(serving, found, strict=True)):
        return f"nothing new: {what} is live already"
    return f"nothing new: {what} was live before, and another release took its place"


def _release_with(facts: HostFacts, revision: str, model: str) -> str | None:
    """Return the last release of this commit and this model that was live on the host."""
    for entry in reversed(facts.journal.entries):
        was_live = entry.verdict in (Verdict.LIVE, Verdict.GOOD)
        if was_live and (entry.revision, facts.journal.model(entry.release)) == (revision, model):
            return entry.release
    return None


def clearing(settings: Settings, facts: Callable[[str], HostFacts]) -> Callable[[Session], object]:
    """Return the work that takes away again, on each host, what was fetched for nothing.

    Args:
        settings: of the environment.
        facts: of a host by its name, from before the fetch.
    """

    def work(session: Session) -> object:
        known = facts(session.host.name)
        keep = service.kept_now(known, settings.app.keep_releases)
        return session.run(Phase.FINISH, *finishing.scripts(settings, known, keep))

    return work
