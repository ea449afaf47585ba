"""The test phase: the project's own tests, in the release's environment.

Pure: which script to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aideploy.remote.script import Script

if TYPE_CHECKING:
    from aideploy.settings import Settings
    from aideploy.settings.train import ProjectTests


def script(settings: Settings, tests: ProjectTests, release: str) -> Script:
    """Return the script that runs the tests; it fails with the code `tests-failed`."""
    return Script(
        "test",
        (str(settings.app.deploy_to), release, tests.command),
        libraries=("release",),
        limit=tests.timeout,
    )
