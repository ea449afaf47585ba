"""How one commit comes to all hosts: they pull it, or it is sent to them. Called by the story.

And what is said of it there, before anything is built: how far it is from what is live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aideploy.delivery.participants import Participants
from aideploy.errors import UsageError
from aideploy.events import Events, Notice, Phase
from aideploy.phases import facts, fetch
from aideploy.phases.fetch import Fetched
from aideploy.remote import transfer
from aideploy.remote.session import Session
from aideploy.repository import Repository
from aideploy.settings.app import Source

if TYPE_CHECKING:
    from aideploy.settings import Settings

# What is larger than that travels on a channel of its own.
INLINE_PACK_BYTES = 4 * 1024 * 1024


def bring(settings: Settings, hosts: Participants, revision: str) -> Mapping[str, Fetched]:
    """Bring the same commit to every host that trains or serves.

    Args:
        settings: of the environment.
        hosts: all of them.
        revision: a branch, a tag or a commit.

    Returns:
        what each of them has, in their order.
    """
    stamp = facts.next_stamp(hosts.facts.values(), datetime.now(UTC))
    way = _push if settings.app.source is Source.PUSH else _pull
    return way(settings, hosts, revision, stamp)


def _pull(
    settings: Settings, hosts: Participants, revision: str, stamp: str
) -> Mapping[str, Fetched]:
    """Let the hosts fetch a revision from the repository; the first says which commit it is."""

    def from_repository(wanted: str, names: Iterable[str]) -> Mapping[str, Fetched]:
        def work(session: Session) -> Fetched:
            live = hosts.facts[session.host.name].current_revision
            script = fetch.pull(settings, wanted, stamp, live)
            return fetch.read(session.run(Phase.FETCH, script)[0])

        return hosts.each(Phase.FETCH, work, names)

    fetched = dict(from_repository(revision, hosts.deployed))
    commit = fetched[hosts.deployed[0]].commit
    behind = [name for name, one in fetched.items() if one.commit != commit]
    if behind:
        # The branch moved while they fetched: everybody takes the commit of the first host.
        fetched |= from_repository(commit, behind)
    return fetched


def _push(
    settings: Settings, hosts: Participants, revision: str, stamp: str
) -> Mapping[str, Fetched]:
    """Send a revision of the repository on this machine to the hosts."""
    repository = Repository(settings.path.parent / str(settings.app.repository))
    commit = repository.commit(revision)
    known_there = {hosts.facts[name].have for name in hosts.deployed}
    packs = {have: repository.pack(commit, have) for have in known_there}

    def work(session: Session) -> Fetched:
        known = hosts.facts[session.host.name]
        pack = packs[known.have]
        if len(pack) > INLINE_PACK_BYTES:
            transfer.send(Phase.FETCH, pack, session, fetch.take_pack(known))
            pack = b""
        script = fetch.push(settings, pack, commit, stamp, known.current_revision)
        return fetch.read(session.run(Phase.FETCH, script)[0])

    return hosts.each(Phase.FETCH, work, hosts.deployed)


def say_the_way(fetched: Fetched, events: Events, confirm: Callable[[str], bool]) -> None:
    """Say how far a commit is from what is live; going back is asked for.

    Args:
        fetched: the commit.
        events: where it is said.
        confirm: asked whether to go on with one that is older.

    Raises:
        UsageError: the answer was no.
    """
    if fetched.ahead is None or fetched.behind is None:
        return
    short = fetched.commit[:7]
    if fetched.ahead > 0:
        events.publish(Notice(text=f"{_commits(fetched.ahead)} since what is live"))
    elif fetched.behind == 0:
        events.publish(Notice(text=f"{short} is live already; it is deployed anew"))
    else:
        question = f"{short} is {_commits(fetched.behind)} older than what is live"
        if not confirm(question):
            raise UsageError(
                f"{question}: not deployed",
                next_step="to go back to a release that was good: fab rollback",
            )


def _commits(number: int) -> str:
    return f"{number} commit" + "s" * (number != 1)
