"""What the files of one app in one environment are called, where several apps share a folder.

A dot stands between the two: names of apps and environments have none, and both may have dashes. So
far a dash stood there, and `a-b` in `c` had the names of `a` in `b-c`; what is still called so is
removed by whoever writes the file that takes its place (`scripts/old_name.sh`; of the timer that
trains anew, `commands/retraining.py`).
"""

from __future__ import annotations

from aideploy.settings import Settings


def name_of(settings: Settings) -> str:
    """Return what the app in this environment is called, and no other."""
    return f"{settings.app.name}.{settings.environment}"


def old_name_of(settings: Settings) -> str:
    """Return what it was called in version 0.1."""
    return f"{settings.app.name}-{settings.environment}"
