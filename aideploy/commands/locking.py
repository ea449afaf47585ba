"""`fab lock` and `fab unlock`: keep everybody from deploying, for a reason, until it is taken back.

The lock that a running command holds is another one: it ends with that command, and nobody can
take it away.
"""

from __future__ import annotations

from datetime import UTC, datetime

from aideploy.commands.asking import ask, named
from aideploy.errors import AideployError, UsageError
from aideploy.events import HostState, Phase
from aideploy.phases import facts as looking
from aideploy.remote.result import Result
from aideploy.remote.script import Script
from aideploy.remote.session import Lock, Session
from aideploy.running import Run


def lock(run: Run, reason: str) -> None:
    """Lock every host on purpose, or none.

    Raises:
        UsageError: there is no reason.
        Locked: a host is locked already, by a running command or on purpose.
        FleetError: a host is unreachable or not set up.
    """
    why = " ".join(reason.split())
    if not why:
        raise UsageError("a lock needs a reason, for those who find it", next_step='fab lock "why"')
    root = str(run.settings.app.deploy_to)
    since = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    hold = Script("hold", (root, f"{run.who} since {since}: {why}"))
    run.fleet.open(Lock.HELD, looking.script(run.settings, journal_lines=1))
    try:
        run.fleet.each(Phase.LOCK, lambda session: session.run(Phase.LOCK, hold)[0])
    except AideployError:
        # All or none: take back what some of them did.
        run.fleet.attempt(Phase.LOCK, lambda session: _unhold(session, root), stop_at_failure=False)
        raise
    run.hosts = tuple(
        HostState(host=name, state=f"locked on purpose: {why}") for name in run.fleet.names
    )
    run.headline = f"{len(run.hosts)} hosts are locked on purpose: nobody deploys to them"
    run.next_step = "fab unlock, when the reason is gone"


def unlock(run: Run) -> None:
    """Take back what `lock` did, on every host that answers, and say what it was."""
    root = str(run.settings.app.deploy_to)
    script = Script("unhold", (root,))
    results, _ = ask(run, lambda _: (script,))
    run.hosts = tuple(_found(name, result[0]) for name, result in results.items())
    freed = tuple(name for name, result in results.items() if result[0].text("held"))
    run.headline = (
        f"unlocked: {named(freed, len(run.settings.hosts))}"
        if freed
        else "nothing to unlock: no host was locked on purpose"
    )


def _found(host: str, result: Result) -> HostState:
    if held := result.text("held"):
        return HostState(host=host, state=f"unlocked; was locked on purpose by {held}")
    if running := result.text("lock"):
        state = f"a command is running, by {running}; its lock ends with it and cannot be taken"
        return HostState(host=host, state=state)
    return HostState(host=host, state="was not locked on purpose")


def _unhold(session: Session, root: str) -> Result:
    return session.run(Phase.LOCK, Script("unhold", (root,)))[0]
