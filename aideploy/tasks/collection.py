"""aideploy's tasks as an Invoke collection that lets a fabfile keep its own.

Made by `aideploy.namespace`. It only puts names together; what the tasks do is in their modules.
"""

from __future__ import annotations

from types import ModuleType

from invoke.collection import Collection
from invoke.tasks import Task

from aideploy import tasks
from aideploy.tasks import analysis, golden, model, monitor, rollout, sandbox, step, train


class Tasks(Collection):
    """All tasks of aideploy; those of a fabfile stand beside them, or in their place.

    Args:
        fabfile: the module whose tasks and collections win; may still be running.
    """

    def __init__(self, fabfile: ModuleType | None) -> None:
        super().__init__()
        self._fabfile = fabfile
        for name in tasks.__all__:
            self.add_task(getattr(tasks, name))
        for group in (rollout, step, train, golden, analysis, model, monitor, sandbox):
            self.add_collection(Collection.from_module(group))
        self._ours = (*self.tasks.values(), *self.collections.values())
        self._take_in_own()

    def __bool__(self) -> bool:
        """Invoke asks this when the whole fabfile has run: only then all of its tasks are known."""
        self._take_in_own()
        return True

    def _take_in_own(self) -> None:
        known = (*self.tasks.values(), *self.collections.values())
        for variable, own in vars(self._fabfile).items() if self._fabfile else ():
            if own is self or any(own is one for one in known):
                continue
            if isinstance(own, Task):
                self._make_room(own.name, *own.aliases)
                self.add_task(own)
            elif isinstance(own, Collection) and not isinstance(own, Tasks):
                self._make_room(own.name or variable)
                self.add_collection(own, own.name or variable)

    def _make_room(self, *names: str) -> None:
        """Drop what is ours under these names."""
        for name in map(self.transform, names):
            for place in (self.tasks, self.collections):
                if any(place.get(name) is one for one in self._ours):
                    place.pop(name)
