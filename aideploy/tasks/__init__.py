"""The tasks: arguments in, one call, an exit status out. `fab --list` shows them."""

from aideploy.tasks.deploying import deploy
from aideploy.tasks.preparing import setup

__all__ = ["deploy", "setup"]
