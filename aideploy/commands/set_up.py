"""`fab setup`: make the hosts ready to be deployed to."""

from __future__ import annotations

from aideploy.events import HostState, Notice, Phase
from aideploy.phases import facts as looking
from aideploy.phases.setup import SetUp, monitoring, set_up, setup
from aideploy.remote.session import Lock, Session
from aideploy.report.next_command import typed
from aideploy.running import Run


def set_up_hosts(run: Run, *, wait_lock: bool = False) -> None:
    """Make every host ready to be deployed to, and say what was changed.

    Args:
        run: the command.
        wait_lock: wait for a lock that somebody else holds.

    Raises:
        Locked: somebody deploys to a host right now, sets it up, or locked it on purpose.
        FleetError: a host is unreachable or cannot be set up.
    """
    looked = looking.script(run.settings)
    results = run.fleet.open(Lock.HELD_WHERE_THERE, looked, wait_lock=wait_lock)
    facts = {name: looking.read(name, result) for name, result in results.items()}

    def work(session: Session) -> SetUp:
        known = facts[session.host.name]
        script = setup(run.settings, session.host, root=known.root, user=known.user)
        watched = monitoring(run.settings, session.host, user=known.user)
        # What it installs has users and folders that the rest may need.
        first = [watched] if watched else []
        return set_up(session.run(Phase.SETUP, *first, script))

    done = run.fleet.each(Phase.SETUP, work)
    for name, one in done.items():
        for notice in one.notices:
            text = typed(notice, run.settings)
            run.events.publish(Notice(text=text, level="warning", host=name))
    run.hosts = tuple(
        HostState(host=name, state="set up" if one.changed else "set up before, nothing to change")
        for name, one in done.items()
    )
    run.headline = f"{len(done)} hosts are set up"
    run.next_step = "fab deploy"
