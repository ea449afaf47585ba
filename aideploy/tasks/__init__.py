"""The tasks: arguments in, one call, an exit status out. `fab --list` shows them."""

from aideploy.tasks.auditing import compare, history, report
from aideploy.tasks.deploying import deploy, rollback
from aideploy.tasks.looking import check, diagnose, logs, plan, releases, status
from aideploy.tasks.operating import exec_, lock, unlock
from aideploy.tasks.preparing import init, schema, setup

__all__ = [
    "check",
    "compare",
    "deploy",
    "diagnose",
    "exec_",
    "history",
    "init",
    "lock",
    "logs",
    "plan",
    "releases",
    "report",
    "rollback",
    "schema",
    "setup",
    "status",
    "unlock",
]
