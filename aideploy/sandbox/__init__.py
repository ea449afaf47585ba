"""Embedded SSH hosts on loopback for the demo, the tests and for trying things out.

No root and no image: a host is a folder, an SSH server that asyncssh makes, and a supervisord that
starts with the first `supervisorctl`. The commands sent to it are run for real, as the invoking
user, so a sandbox protects from nothing: it is a place to try, not a jail.
`aideploy.sandbox.lifecycle.Sandbox` is what the tasks `sandbox.up`, `sandbox.status` and
`sandbox.down` call; nothing of a deploy is known here.
"""

from __future__ import annotations

from importlib.util import find_spec

from aideploy.errors import HostNotReady

# Here and not where they are used: without them no module of this room can be entered.
_missing = [name for name in ("asyncssh", "psutil", "supervisor") if find_spec(name) is None]
if _missing:
    raise HostNotReady(
        f"a sandbox needs {', '.join(_missing)}",
        next_step="pip install 'aideploy[sandbox]'",
    )
