"""The tasks: arguments in, one call, an exit status out. `fab --list` shows them."""

from aideploy.tasks.deploying import deploy, rollback
from aideploy.tasks.preparing import init, schema, setup

__all__ = ["deploy", "init", "rollback", "schema", "setup"]
