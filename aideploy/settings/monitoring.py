"""`[monitoring]`: what is told to monitoring."""

from __future__ import annotations

from aideploy.settings.table import Table
from aideploy.settings.values import HostFolder


class Monitoring(Table):
    """What is told to monitoring."""

    file_sd: HostFolder | None = None
    """The folder on the monitor hosts where the targets for Prometheus (file_sd) are written."""
