"""Continuous delivery of AI systems to plain Linux servers, with Fabric.

A fabfile imports from here: `namespace`, which makes aideploy's tasks those of the fabfile, and
`deployment`, with which it composes a flow of its own. Every `fab --list` imports this, so nothing
heavy is imported at the top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aideploy.composing import deployment

if TYPE_CHECKING:
    from invoke.collection import Collection

__all__ = ["deployment", "namespace"]


def namespace(fabfile: str | None = None) -> Collection:
    """Return aideploy's tasks as the collection of a fabfile.

    A fabfile of your own has the line

        ns = aideploy.namespace(__name__)

    Args:
        fabfile: the module whose own tasks and collections stand beside aideploy's; where both
            have a name, the fabfile's wins. It does not matter where in it the line stands.
    """
    import sys

    from aideploy.tasks.collection import Tasks

    return Tasks(sys.modules[fabfile] if fabfile is not None else None)
