"""The open phase: what a command has to know about a host before it decides anything.

Pure: which script to run, what its answer means, and why a host cannot take part. Nothing here
    connects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
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
# More than any journal has.
ALL_LINES = 10_000_000
RELEASE_STAMP = "%Y%m%dT%H%M%SZ"
RELEASE = re.compile(r"[12]\d{7}T\d{6}Z-[0-9a-f]{7}", re.ASCII)
# Of all scripts that only look: more only takes what hangs.
LIMIT = timedelta(minutes=2)
# What scripts/probe.py needs.
OLDEST_PYTHON = (3, 8)


@dataclass(frozen=True)
class HostFacts:
    """What one host said of itself.

    Args:
        host: its name in hosts.toml.
        root: the absolute folder of the app.
        home, user, uid: of the user we are there.
        system: the name and version of the operating system.
        free: bytes free where the app lives; 0 when the folder is not there.
        writable: whether we may write there.
        due: whether it was set up to go back by itself.
        git: the version of git, empty when there is none.
        python: the path of the interpreter, empty when there is none that works.
        python_version: its version; empty when what it says of itself is none.
        gpus: one line of nvidia-smi for each.
        silent_gpus: whether nvidia-smi gave no answer in time.
        files: path -> sha256 of the configuration files asked for, or "missing" or "unreadable".
        current: the release that is live.
        releases: the whole releases on the host, oldest first.
        models: the models on the host.
        have: commits that the mirror knows.
        journal: what was said of the releases.
        odd: what lies where something of ours should, each a sentence.
    """

    host: str
    root: PurePosixPath
    home: PurePosixPath = field(default_factory=PurePosixPath)
    user: str = ""
    uid: int = -1
    system: str = ""
    free: int = 0
    writable: bool = False
    due: bool = True
    git: str = ""
    python: str = ""
    python_version: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()
    silent_gpus: bool = False
    files: Mapping[str, str] = field(default_factory=dict)
    current: str | None = None
    releases: tuple[str, ...] = ()
    models: frozenset[str] = frozenset()
    have: tuple[str, ...] = ()
    journal: Journal = field(default_factory=Journal)
    odd: tuple[str, ...] = ()

    @property
    def previous(self) -> str | None:
        """The release that a failed switch goes back to: what is live, if it is whole."""
        if self.current is None or self.current in self.releases:
            return self.current
        whole = [name for name in self.journal.good_before(None) if name in self.releases]
        return whole[0] if whole else None

    @property
    def current_revision(self) -> str:
        """The full commit of the live release, as far as the journal knows."""
        return self.journal.revision(self.current) if self.current else ""


def script(
    settings: Settings, files: Iterable[str] = (), *, journal_lines: int = JOURNAL_LINES
) -> Script:
    """Return the script that looks around.

    Args:
        settings: of the environment.
        files: configuration files whose checksums are wanted.
        journal_lines: how many of the journal's last lines are wanted; of releases that are there
            every line comes.
    """
    return Script(
        "open",
        (str(settings.app.deploy_to), settings.install.python, str(journal_lines), *files),
        libraries=("files", "journal", "patience"),
        limit=LIMIT,
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
        system=result.text("system"),
        free=result.number("free"),
        writable=result.text("writable") == "yes",
        due=result.text("due") == "yes",
        git=result.text("git"),
        python=result.text("python"),
        python_version=_version(result.text("python.version")),
        gpus=tuple(result.text("gpus").splitlines()),
        silent_gpus=result.text("gpus-silent") == "yes",
        files=files,
        current=result.text("current") or None,
        releases=tuple(sorted(name for name in result.all("release") if release_time(name))),
        models=frozenset(result.all("model")),
        have=result.all("have"),
        journal=Journal.parse(result.data("journal")),
        odd=result.all("odd"),
    )


def release_time(name: str) -> datetime | None:
    """Return the time in the name of a release; None for the name of something else."""
    if not RELEASE.fullmatch(name):
        return None
    try:
        return datetime.strptime(name.partition("-")[0], RELEASE_STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def next_stamp(facts: Iterable[HostFacts], now: datetime) -> str:
    """Return the time for the id of a new release: later than that of any release on these hosts.

    Args:
        facts: of the hosts.
        now: UTC, as the controller has it; the clock that made the others may have been wrong.
    """
    times = (release_time(name) for known in facts for name in known.releases)
    after = (time + timedelta(seconds=1) for time in times if time)
    return max([now, *after]).strftime(RELEASE_STAMP)


def unsafe(facts: HostFacts) -> HostNotReady | None:
    """Return why nothing may be switched on the host, or None when it may."""
    if not facts.writable:
        text = f"there is no folder {facts.root} that {facts.user} may write to"
        return _no(facts, text, "fab setup")
    if not facts.due:
        text = "set up by an older aideploy, it could not go back by itself when it is alone"
        return _no(facts, text, "fab setup")
    if facts.odd:
        text = "; ".join(facts.odd)
        return _no(facts, text, "look at it on the host, and move it out of the way")
    return None


def refusal(facts: HostFacts, host: Host) -> HostNotReady | None:
    """Return why a deploy cannot use the host, or None when it can."""
    return next(iter(refusals(facts, host)), None)


def refusals(facts: HostFacts, host: Host) -> Iterator[HostNotReady]:
    """Yield everything that keeps a deploy from using the host."""

    def no(what: str, next_step: str) -> HostNotReady:
        return _no(facts, what, next_step)

    if reason := unsafe(facts):
        yield reason
    # Of a folder that is not there nothing is known.
    if facts.writable and facts.free < LEAST_FREE_BYTES:
        yield no(
            f"only {facts.free // 1024 // 1024} MB free at {facts.root}, "
            f"at least {LEAST_FREE_BYTES // 1024 // 1024} MB are needed",
            "make room on the disk, or lower [app] keep_releases",
        )
    if not facts.git:
        yield no("git is not installed", "install it on the host: apt-get install git, or the like")
    if facts.python_version < OLDEST_PYTHON:
        found = f"{facts.python} is too old" if facts.python_version else "there is none that works"
        yield no(
            f"Python {_dotted(OLDEST_PYTHON)} or later is needed, and {found}",
            "install it on the host, or name another one in [install] python",
        )
    if host.gpus and facts.silent_gpus:
        yield no(
            "nvidia-smi gives no answer within 20 s",
            "the driver hangs: see journalctl -k on the host; mostly a restart of it helps",
        )
    elif len(facts.gpus) < host.gpus:
        yield no(
            f"it shows {len(facts.gpus)} GPUs, hosts.toml says {host.gpus}",
            "see what nvidia-smi says on the host",
        )


def _no(facts: HostFacts, what: str, next_step: str) -> HostNotReady:
    return HostNotReady(
        f"{facts.host}: {what}", next_step=next_step, host=facts.host, phase=Phase.OPEN
    )


def _version(text: str) -> tuple[int, ...]:
    parts = text.split(".")
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else ()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)
