"""The tasks: arguments in, one call, an exit status out. `fab --list` shows them."""

from aideploy.tasks.deploying import deploy, rollback
from aideploy.tasks.preparing import setup

__all__ = ["deploy", "rollback", "setup"]
