"""A task of somebody's own over aideploy's fleet: one short script on every host, without a lock.

Copied into a project and run by short.py.
"""

from dataclasses import dataclass

from fabric import task

from aideploy.tasks.common import command


@task
def trivial(c, script):
    """Run the text of a script on every host."""
    from aideploy.remote.script import Script
    from aideploy.remote.session import Lock

    @dataclass(frozen=True)
    class Given(Script):
        def text(self) -> str:
            return self.name

    with command(c, "trivial", env=None, config=None, only=None) as run:
        run.fleet.open(Lock.NONE, Given(script))
