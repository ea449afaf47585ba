"""The install phase: the environment of the release, built once for each set of dependencies.

Pure: which script to run and what its answer means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aideploy.remote.result import Result
from aideploy.remote.script import Argument, Script, Secret

if TYPE_CHECKING:
    from aideploy.settings import Settings


@dataclass(frozen=True)
class Installed:
    """The environment of the release on one host.

    Args:
        hash: its name.
        interpreter: path and version.
        reused: whether it was there already.
        notices: what a person should know.
        packages: the names of the folders that say what is installed: `numpy-2.1.0.dist-info`.
    """

    hash: str
    interpreter: str
    reused: bool
    notices: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"environment {self.hash[:7]} {'reused' if self.reused else 'built'}"


def is_needed(settings: Settings) -> bool:
    """Whether anything runs in an environment: not a service that brings a container."""
    in_container = settings.serve is not None and settings.serve.contained
    return not in_container or settings.train is not None or settings.test is not None


def script(settings: Settings, release: str, tree: str) -> Script:
    """Return the script that finds or builds the environment.

    Args:
        settings: of the environment.
        release: the id of the release.
        tree: the hash of its files, for dependencies on its own code.
    """
    install = settings.install
    files = [str(path) for path in install.requirements]
    variables: list[Argument] = [
        Secret(f"{name}={value}") for name, value in install.environment.items()
    ]
    return Script(
        "install",
        (
            str(settings.app.deploy_to),
            release,
            tree,
            install.tool,
            install.python,
            str(install.find_links or ""),
            Secret(install.index_url or ""),
            str(len(files)),
            *files,
            *variables,
        ),
        libraries=("dependencies",),
    )


def read(result: Result) -> Installed:
    """Make a typed answer of what the script emitted."""
    return Installed(
        hash=result.text("hash"),
        interpreter=result.text("interpreter"),
        reused=result.text("reused") == "yes",
        notices=result.all("notice"),
        packages=tuple(result.data("packages").decode("utf-8", "replace").split()),
    )
