"""hosts.toml: read, checked as a whole, and handed on as typed frozen models.

The tasks load settings from here before anything else happens; all other rooms only read the
models. This room opens no connection. It is imported when a command runs, never when fab only
lists its tasks, because pydantic takes its time.
"""

from aideploy.settings.hosts import Host, Role
from aideploy.settings.loading import load
from aideploy.settings.model import Settings

__all__ = ["Host", "Role", "Settings", "load"]
