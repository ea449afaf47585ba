"""The same hosts, app and commits for every contender.

Each contender deploys a copy of the example app of its own, under a name and a port of its own, so
that none meets what another left; `fab setup` has made the folders, units and rights for all of
them. Used by `__main__` and by the test of the contenders; measures nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path, PurePosixPath

import uv

from tests.git import git
from tests.lab.hosts import Bind, Host, Lab, Sudo
from tests.lab.wheels import wheelhouse

APPLICATION = Path(__file__).parents[1] / "examples" / "ranker"
WHEELS = PurePosixPath("/opt/wheels")
REPOSITORIES = PurePosixPath("/opt/repositories")
REPOSITORY = REPOSITORIES / "ranker.git"
# Training takes about a second.
ROWS = 60_000
KEPT_RELEASES = 5


class Tool(StrEnum):
    """What builds an environment."""

    PIP = "pip"
    UV = "uv"


@dataclass(frozen=True)
class App:
    """A contender's own copy of the app, proven on port + 10000; `serve` are lines of [serve]."""

    name: str
    port: int
    serve: str = 'strategy = "recreate"'

    @property
    def root(self) -> PurePosixPath:
        return PurePosixPath("/srv") / self.name


@dataclass(frozen=True)
class Order:
    """What a contender is asked to do.

    Args:
        revision: the whole commit to deploy.
        release: the id that the release gets, where the contender does not choose one.
        tool: what builds the environment.
        hosts: where to.
    """

    revision: str
    release: str
    tool: Tool
    hosts: tuple[Host, ...]


class Scene:
    """Hosts that are ready, and a repository that gets new commits.

    Args:
        lab: hosts that see WHEELS and REPOSITORIES.
        folder: on this machine, for the projects of the contenders.
    """

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self._clone = folder / "clone"
        self._commits = 0
        shutil.copytree(
            APPLICATION, self._clone, ignore=shutil.ignore_patterns("__pycache__", "model", ".*")
        )
        git(self._clone, "init", "--quiet", "--initial-branch=main")
        for host in lab.hosts:
            # As on a host whose owner has installed it.
            shutil.copy(uv.find_uv_bin(), host.path("/usr/local/bin/uv"))

    def commit(self, *, new_dependencies: bool) -> str:
        """Make a commit and return it: either way new code, and so a new release.

        Args:
            new_dependencies: its environment is another one, with the same packages in it.
        """
        self._commits += 1
        (self._clone / "VERSION").write_text(f"{self._commits}\n")
        if new_dependencies:
            with (self._clone / "requirements.txt").open("a") as file:
                file.write(f"# {self._commits}\n")
        git(self._clone, "add", "--all")
        git(self._clone, "commit", "--quiet", f"--message=Version {self._commits}")
        origin = self.folder / "repositories" / REPOSITORY.name
        git(self._clone, "push", "--quiet", str(origin), "main")
        return git(self._clone, "rev-parse", "HEAD")

    def order(self, tool: Tool, hosts: int, *, new_dependencies: bool) -> Order:
        """Make a commit and the order to deploy it to the first so many hosts."""
        for host in self.lab.hosts:
            # Whoever restarts as often as a benchmark does is taken for a crash loop.
            host.exec("systemctl reset-failed 'bench-*'")
        revision = self.commit(new_dependencies=new_dependencies)
        release = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{revision[:7]}"
        return Order(revision, release, tool, self.lab.hosts[:hosts])

    def project(self, app: App, tool: Tool, hosts: Sequence[Host]) -> Path:
        """Write the project that deploys this copy of the app with aideploy; return its folder."""
        folder = self.folder / app.name
        folder.mkdir(exist_ok=True)
        (folder / "fabfile.py").write_text("from aideploy import namespace\n\nns = namespace()\n")
        (folder / "hosts.toml").write_text(self._hosts_toml(app, tool, hosts))
        return folder

    def set_up(self, app: App) -> None:
        """Make every host of the lab ready for this copy of the app."""
        run([*FAB, "setup"], self.project(app, Tool.UV, self.lab.hosts))

    def _hosts_toml(self, app: App, tool: Tool, hosts: Sequence[Host]) -> str:
        tables = f"""
            [app]
            name = "{app.name}"
            repository = "{REPOSITORY}"
            keep_releases = {KEPT_RELEASES}
            [ssh]
            user = "deploy"
            key = "{self.lab.key}"
            known_hosts = "{self.lab.known_hosts}"
            [install]
            tool = "{tool}"
            find_links = "{WHEELS}"
            environment = {{ PIP_NO_INDEX = "1", UV_OFFLINE = "1" }}
            [test]
            command = "python -m unittest"
            [train]
            command = "python train.py"
            environment = {{ RANKER_ROWS = "{ROWS}" }}
            [[gate]]
            metric = "auc"
            min = 0.55
            [serve]
            command = "gunicorn app:app --bind $BIND:$PORT --workers 1 --threads 4"
            port = {app.port}
            {app.serve}
            [health]
            json = {{ revision = "$REVISION" }}
            [rollout]
            bake = "0s"
            canary = 0
            batch = "100%"
            """
        named = [
            f'[environments.bench.hosts.{host.name}]\naddress = "{host.address}"\n'
            for host in hosts
        ]
        return "\n".join([*(line.strip() for line in tables.splitlines()), *named])


@contextmanager
def scene(hosts: int, folder: Path) -> Iterator[Scene]:
    """A scene with so many hosts, for the length of a `with` block. Needs root; see tests/lab."""
    repositories = folder / "repositories"
    repositories.mkdir()
    git(repositories, "init", "--quiet", "--bare", REPOSITORY.name)
    binds = [
        Bind(wheelhouse(APPLICATION / "requirements.txt"), WHEELS),
        Bind(repositories, REPOSITORIES),
    ]
    with Lab(hosts, sudo=Sudo.ALL, binds=binds) as lab:
        yield Scene(lab, folder)


FAB = (sys.executable, "-m", "fabric")


def run(command: Sequence[str], folder: Path) -> str:
    """Run a program to its end and return what it wrote.

    Raises:
        RuntimeError: it ended badly; with its last lines.
    """
    ran = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        tail = "\n".join(ran.stdout.splitlines()[-40:])
        raise RuntimeError(f"{' '.join(command)[:200]} ended with {ran.returncode}:\n{tail}")
    return ran.stdout
