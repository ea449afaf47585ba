"""Continuous delivery of AI systems to plain Linux servers, with Fabric."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from invoke.collection import Collection

__all__ = ["namespace"]


def namespace(fabfile: str | None = None) -> Collection:
    """Return aideploy's tasks as the collection of a fabfile.

    The last line of a fabfile of your own:

        ns = aideploy.namespace(__name__)

    Args:
        fabfile: the module whose own tasks stand beside aideploy's; where both have a name, the
            fabfile's wins.
    """
    import sys

    from invoke.collection import Collection
    from invoke.tasks import Task

    from aideploy import tasks

    ns = Collection()
    own = {}
    if fabfile is not None:
        own = {
            found.name: found
            for found in vars(sys.modules[fabfile]).values()
            if isinstance(found, Task)
        }
    for found in own.values():
        ns.add_task(found)
    for name in tasks.__all__:
        found = getattr(tasks, name)
        if found.name not in own:
            ns.add_task(found)
    return ns
