"""How one commit comes to all hosts: they pull it, or it is sent to them. Called by the story."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from aideploy.events import Phase
from aideploy.phases import fetch
from aideploy.phases.facts import HostFacts
from aideploy.phases.fetch import Fetched
from aideploy.remote import transfer
from aideploy.remote.session import Session
from aideploy.repository import Repository

if TYPE_CHECKING:
    from aideploy.settings import Settings

# What is larger than that travels on a channel of its own.
INLINE_PACK_BYTES = 4 * 1024 * 1024

Each = Callable[[Phase, Callable[[Session], Fetched], Iterable[str]], Mapping[str, Fetched]]


def pull(
    settings: Settings,
    facts: Mapping[str, HostFacts],
    each: Each,
    revision: str,
    stamp: str,
    names: Sequence[str],
) -> Mapping[str, Fetched]:
    """Let the hosts fetch a revision from the repository, the same commit everywhere.

    Args:
        settings: of the environment.
        facts: of the hosts.
        each: does the work of a phase on hosts.
        revision: a branch, a tag or a commit.
        stamp: the time in the id of the release.
        names: the hosts.
    """

    def from_repository(wanted: str, hosts: Iterable[str]) -> Mapping[str, Fetched]:
        def work(session: Session) -> Fetched:
            live = facts[session.host.name].current_revision
            script = fetch.pull(settings, wanted, stamp, live)
            return fetch.read(session.run(Phase.FETCH, script)[0])

        return each(Phase.FETCH, work, hosts)

    fetched = dict(from_repository(revision, names))
    commit = fetched[names[0]].commit
    behind = [name for name, one in fetched.items() if one.commit != commit]
    if behind:
        # The branch moved while they fetched: everybody takes the commit of the first host.
        fetched |= from_repository(commit, behind)
    return fetched


def push(
    settings: Settings,
    facts: Mapping[str, HostFacts],
    each: Each,
    revision: str,
    stamp: str,
    names: Sequence[str],
) -> Mapping[str, Fetched]:
    """Send a revision of the repository on this machine to the hosts; see `pull`."""
    repository = Repository(settings.path.parent / str(settings.app.repository))
    commit = repository.commit(revision)
    packs = {have: repository.pack(commit, have) for have in {facts[name].have for name in names}}

    def work(session: Session) -> Fetched:
        known = facts[session.host.name]
        pack = packs[known.have]
        if len(pack) > INLINE_PACK_BYTES:
            transfer.send(Phase.FETCH, pack, session, fetch.take_pack(known))
            pack = b""
        script = fetch.push(settings, pack, commit, stamp, known.current_revision)
        return fetch.read(session.run(Phase.FETCH, script)[0])

    return each(Phase.FETCH, work, names)
