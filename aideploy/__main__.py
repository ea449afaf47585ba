"""`python -m aideploy TASK`: the tasks where there is no fabfile yet, as `fab init` needs it.

It is `fab` itself with aideploy's tasks alone; a project uses `fab`.
"""

from __future__ import annotations

from fabric.main import program

import aideploy

program.namespace = aideploy.namespace()
program.run()
