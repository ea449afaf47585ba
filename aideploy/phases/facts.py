"""The open phase: what a command has to know about a host before it decides anything.

Pure: which script to run, what its answer means, and why a host cannot take part. Nothing here
    connects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from aideploy.errors import HostNotReady
from aideploy.events import Phase
from aideploy.phases.journal import Journal
from aideploy.remote.result import Result
from aideploy.remote.script import Script

if TYPE_CHECKING:
    from aideploy.settings import Host, Settings

LEAST_FREE_BYTES = 100 * 1024 * 1024
JOURNAL_LINES = 200


@dataclass(frozen=True)
class HostFacts:
    """What one host said of itself.

    Args:
        host: its name in hosts.toml.
        root: the absolute folder of the app.
        home, user, uid: of the user we are there.
        machine: the processor architecture.
        free: bytes free where the app lives; 0 when the folder is not there.
        writable: whether we may write there.
        git: the version of git, empty when there is none.
        python: path and version of the interpreter, empty when there is none.
        gpus: one line of nvidia-smi for each.
        files: path -> sha256 of the configuration files asked for, or "missing" or "unreadable".
        current: the release that is live.
        releases: the whole releases on the host, oldest first.
        models: the models on the host.
        have: commits that the mirror knows.
        journal: what was said of the releases.
    """

    host: str
    root: PurePosixPath
    home: PurePosixPath
    user: str = ""
    uid: int = -1
    machine: str = ""
    free: int = 0
    writable: bool = False
    git: str = ""
    python: str = ""
    gpus: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    current: str | None = None
    releases: tuple[str, ...] = ()
    models: frozenset[str] = frozenset()
    have: tuple[str, ...] = ()
    journal: Journal = field(default_factory=Journal)

    @property
    def current_revision(self) -> str:
        """The full commit of the live release, as far as the journal knows."""
        return self.journal.revision(self.current) if self.current else ""


def script(settings: Settings, files: Iterable[str] = ()) -> Script:
    """Return the script that looks around.

    Args:
        settings: of the environment.
        files: configuration files whose checksums are wanted.
    """
    return Script(
        "open",
        (str(settings.app.deploy_to), settings.install.python, str(JOURNAL_LINES), *files),
        libraries=("files",),
    )


def read(host: str, result: Result) -> HostFacts:
    """Make typed facts of what the script emitted."""
    files = {}
    for line in result.all("file"):
        checksum, _, path = line.partition(" ")
        files[path] = checksum
    return HostFacts(
        host=host,
        root=PurePosixPath(result.text("root", "/")),
        home=PurePosixPath(result.text("home", "/")),
        user=result.text("user"),
        uid=result.number("uid", -1),
        machine=result.text("machine"),
        free=result.number("free"),
        writable=result.text("writable") == "yes",
        git=result.text("git"),
        python=result.text("python"),
        gpus=tuple(result.text("gpus").splitlines()),
        files=files,
        current=result.text("current") or None,
        releases=tuple(sorted(result.all("release"))),
        models=frozenset(result.all("model")),
        have=result.all("have"),
        journal=Journal.parse(result.data("journal")),
    )


def refusal(facts: HostFacts, host: Host) -> HostNotReady | None:
    """Return why a deploy cannot use the host, or None when it can."""

    def no(what: str, next_step: str) -> HostNotReady:
        return HostNotReady(
            f"{facts.host}: {what}", next_step=next_step, host=facts.host, phase=Phase.OPEN
        )

    if not facts.writable:
        return no(f"the user {facts.user} may not write to {facts.root}", "fab setup")
    if facts.free < LEAST_FREE_BYTES:
        return no(
            f"only {facts.free // 1024 // 1024} MB free at {facts.root}, "
            f"at least {LEAST_FREE_BYTES // 1024 // 1024} MB are needed",
            "make room on the disk, or lower [app] keep_releases",
        )
    if not facts.git:
        return no(
            "git is not installed", "install it on the host: apt-get install git, or the like"
        )
    if not facts.python:
        return no("there is no Python", "install it on the host, or set [install] python")
    if len(facts.gpus) < host.gpus:
        return no(
            f"it shows {len(facts.gpus)} GPUs, hosts.toml says {host.gpus}",
            "see what nvidia-smi says on the host",
        )
    return None
