"""A project as a user has it, on the hosts of a lab: a repository, a hosts.toml, and `fab`.

The stories in tests/fleet and tests/faults type the commands that a user would type and look at
the hosts as an administrator would. The app is small_app: seconds to deploy, ill on demand.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from aideploy.errors import ExitStatus
from tests.git import git, without_settings
from tests.lab.hosts import Bind, Host, Lab, Sudo
from tests.waiting import eventually as eventually

APP = "small"
ROOT = PurePosixPath("/srv", APP)
PORT = 8000
REPOSITORIES = PurePosixPath("/opt/repositories")
SMALL_APP = Path(__file__).with_name("small_app")
PATIENCE_SECONDS = 120.0

# Such an environment is made in no time, on all hosts of all projects.
NO_PACKAGES = "requirements = []"
ALL_AT_ONCE = 'canary = 0\nbatch = "100%"'

SETTINGS = """
[app]
name = "{app}"
repository = "{repository}"
keep_releases = {keep_releases}
{app_table}
[ssh]
user = "deploy"
key = "{key}"
known_hosts = "{known_hosts}"
[install]
tool = "pip"
environment = {{ PIP_NO_INDEX = "1" }}
{tables}
[train]
command = "{train}"
environment = {train_environment}
{train_table}
[[gate]]
metric = "auc"
min = 0.55
max_drop = 0.2
[serve]
command = "{command}"
port = {port}
strategy = "{strategy}"
{serve}
[health]
json = {{ revision = "$REVISION" }}
timeout = "8s"
interval = "200ms"
{health}
[rollout]
bake = "{bake}"
{rollout}
{more}
{hosts}
"""


@dataclass(frozen=True)
class Cost:
    """What the log says that the session with one host cost."""

    connections: int
    channels: int
    round_trips: int


@dataclass(frozen=True)
class Finished:
    """A command that has ended: its exit status and all that it printed."""

    status: int
    output: str

    @property
    def last_words(self) -> str:
        """What stands behind the last phase: the headline and everything below it."""
        return re.split(r"\n[✓✗!] ", self.output)[-1]


class Command:
    """`fab …` under way, in a process group of its own as a shell makes it."""

    def __init__(self, arguments: Sequence[str], folder: Path, number: int) -> None:
        self._file = folder / f"output.{number}"
        with self._file.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fabric", *arguments],
                cwd=folder,
                env={**_surroundings(), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._file.read_text(errors="replace")

    def wait_for(self, pattern: str, within: float = PATIENCE_SECONDS) -> None:
        """Return as soon as the output has this (a regular expression, at the start of a line)."""
        wanted = re.compile(rf"^(\[ *[\d.]+s\] )?{pattern}", re.MULTILINE)
        end = time.monotonic() + within
        while not wanted.search(self.output):
            ended = self.process.poll() is not None
            if (ended or time.monotonic() > end) and not wanted.search(self.output):
                raise AssertionError(f"never said {pattern!r}:\n{self.output}")
            time.sleep(0.01)

    def wait_for_phase(self, phase: str) -> None:
        self.wait_for(rf"{phase} +\w+( hosts?)?( |$)")

    def signal(self, number: signal.Signals) -> None:
        """Send it to the whole process group, as a terminal does."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """Pull the plug: SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def finish(self, within: float = PATIENCE_SECONDS) -> Finished:
        try:
            status = self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end within {within} s:\n{self.output}") from None
        return Finished(status, self.output)


class Project:
    """The small app on these hosts of a lab.

    Args:
        lab: where.
        folder: an empty folder for hosts.toml, fabfile.py and the repository.
        hosts: the hosts that take part; all by default.
        roles: of hosts that have not both the roles train and serve.
        strategy: of [serve].
        serve, app_table, tables: more lines of [serve], of [app] and of [install].
        command, train, train_environment: of an app that is not the small one.
        more: more tables.
        repository: how the hosts reach it, when not as a folder that the lab has bound in.
        bake: how long the watch is.
        app, port, keep_releases: its name, the port that it listens on, how many releases stay.

    Attributes:
        values: what hosts.toml is written with.
    """

    def __init__(
        self,
        lab: Lab,
        folder: Path,
        *,
        hosts: Sequence[Host] = (),
        roles: Mapping[str, Sequence[str]] | None = None,
        strategy: str = "recreate",
        serve: str = "",
        app_table: str = "",
        tables: str = NO_PACKAGES,
        repository: str = "",
        bake: str = "1s",
        app: str = APP,
        port: int = PORT,
        keep_releases: int = 5,
        command: str = "exec python3 serve.py",
        train: str = "python3 train.py",
        train_environment: str = "{}",
        more: str = "",
    ) -> None:
        self.lab, self.folder, self.app, self.port = lab, folder, app, port
        self.hosts = tuple(hosts or lab.hosts)
        self.root = PurePosixPath("/srv", app)
        self.source = folder / "source"
        self._commands = 0
        folder.mkdir(parents=True, exist_ok=True)
        self.bare = bound_repositories(lab) / f"{folder.name}.git"
        self._roles = roles or {}
        self.values = {
            "app": app,
            "repository": repository or f"{REPOSITORIES}/{self.bare.name}",
            "app_table": app_table,
            "key": str(lab.key),
            "known_hosts": str(lab.known_hosts),
            "strategy": strategy,
            "serve": serve,
            "tables": tables,
            "bake": bake,
            "health": "",
            "rollout": ALL_AT_ONCE,
            "port": str(port),
            "keep_releases": str(keep_releases),
            "command": command,
            "train": train,
            "train_environment": train_environment,
            "train_table": "",
            "more": more,
        }
        self.configure()
        (folder / "fabfile.py").write_text("from aideploy import namespace\n\nns = namespace()\n")
        git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(self.bare))
        git(folder, "init", "--quiet", "--initial-branch=main", str(self.source))
        git(self.source, "remote", "add", "origin", str(self.bare))
        shutil.copytree(SMALL_APP, self.source, dirs_exist_ok=True)

    def configure(self, **values: str) -> None:
        """Write hosts.toml, with these values in place of the ones from before."""
        self.values |= values
        (self.folder / "hosts.toml").write_text(
            SETTINGS.format(**self.values, hosts="".join(map(self._host_table, self.hosts)))
        )

    def _host_table(self, host: Host) -> str:
        roles = json.dumps(list(self._roles.get(host.name, ("train", "serve"))))
        address = f"address = '{host.address}'\nroles = {roles}"
        return f"[environments.test.hosts.{host.name}]\n{address}\n"

    # -- what a user does ------------------------------------------------------------------------

    def push(self, repository: Path, revision: str) -> None:
        """Let the branch be at this revision of another repository."""
        refs = f"{revision}:refs/heads/main"
        git(repository, "push", "--quiet", "--force", str(self.bare), refs)

    def commit(self, **behaviour: object) -> str:
        """Push a commit whose service behaves like this; its full hash."""
        behaviour["commit"] = time.time_ns()
        if behaviour.get("another_environment"):
            self.configure(tables="")
            requirements = self.source / "requirements.txt"
            requirements.write_text(requirements.read_text() + "# another\n")
        (self.source / "behaviour.json").write_text(json.dumps(behaviour))
        git(self.source, "add", "--all")
        git(self.source, "commit", "--quiet", "--message=A change")
        git(self.source, "push", "--quiet", "--force", "origin", "HEAD:main")
        return git(self.source, "rev-parse", "HEAD")

    def start(self, *arguments: str) -> Command:
        """Begin `fab …`."""
        self._commands += 1
        return Command(arguments, self.folder, self._commands)

    def fab(self, *arguments: str, expected: ExitStatus = ExitStatus.DONE) -> Finished:
        """Run `fab …` to its end, which has to be the expected one."""
        finished = self.start(*arguments).finish()
        assert finished.status == expected, finished.output
        assert "Traceback" not in finished.output
        return finished

    def deploy(self, **behaviour: object) -> str:
        """Push a commit and deploy it; its full hash."""
        revision = self.commit(**behaviour)
        self.fab("deploy")
        return revision

    def set_up(self) -> None:
        """`fab setup` with all rights, which are withdrawn again."""
        for host in self.hosts:
            host.grant(Sudo.ALL)
        self.fab("setup")
        for host in self.hosts:
            host.grant(Sudo.NONE)

    def end_trainings(self) -> None:
        """No test has to wait for a training that the one before left running."""
        unfinished = f"cd {self.root}/jobs && ls -d */started | while IFS=/ read -r job _; do" + (
            " [ -e $job/status.json ] || echo $job; done"
        )
        if any(host.exec(unfinished, check=False).stdout for host in self.hosts):
            self.fab("train.cancel")

    def slow_git(self, host: Host, seconds: int) -> None:
        """Let every fetch on a host take so much longer."""
        slow = f'[ "$2" != fetch ] || sleep {seconds}; exec /usr/bin/git "$@"'
        host.path("/usr/local/bin/git").write_text(f"#!/bin/sh\n{slow}\n")
        host.path("/usr/local/bin/git").chmod(0o755)

    # -- what an administrator sees --------------------------------------------------------------

    def served(self, host: Host) -> str:
        """The revision that the live service of a host answers with; empty when none answers."""
        return _revision_at(host, self.port)

    def all_serve(self) -> set[str]:
        """The revisions that the hosts which serve answer with: one, when all is well."""
        return {self.served(host) for host in self.serving}

    def slots(self, host: Host) -> dict[str, str]:
        """The slots behind HAProxy that answer, and the revision of each."""
        ports = {"blue": self.port + 10000, "green": self.port + 10001}
        found = {slot: _revision_at(host, port) for slot, port in ports.items()}
        return {slot: revision for slot, revision in found.items() if revision}

    def addresses(self, *hosts: Host) -> dict[str, tuple[str, int]]:
        """Where users reach these hosts, by name; all of them by default."""
        return {host.name: (host.address, self.port) for host in hosts or self.hosts}

    @property
    def serving(self) -> tuple[Host, ...]:
        return tuple(h for h in self.hosts if "serve" in self._roles.get(h.name, ("serve",)))

    def current(self, host: Host) -> str:
        """The release that `current` points to; empty when nothing is live."""
        said = host.exec(f"readlink {self.root}/current", check=False).stdout.strip()
        return said.removeprefix("releases/")

    def releases(self, host: Host) -> list[str]:
        """The whole releases on a host, oldest first."""
        listed = host.exec(f"cd {self.root}/releases && ls -d */release.json").stdout.split()
        return sorted(path.removesuffix("/release.json") for path in listed)

    def journal(self, host: Host) -> list[tuple[str, str]]:
        """Every verdict with its release."""
        lines = host.exec(f"cat {self.root}/journal.jsonl").stdout.splitlines()
        return [(entry["verdict"], entry["release"]) for entry in map(json.loads, lines)]

    def is_locked(self, host: Host) -> bool:
        return host.exec(f"flock -n {self.root}/lock true", check=False).returncode != 0

    def processes(self, host: Host) -> list[str]:
        """The commands of all processes that belong to sessions of the deploy user."""
        listed = host.exec(
            "ps -u deploy -o args= --sort=pid | grep -v -e '^sshd' -e systemd -e sd-pam",
            check=False,
        )
        return listed.stdout.splitlines()

    def costs(self) -> dict[str, Cost]:
        """What the last command cost, by host, from its log."""
        newest = max((self.folder / ".aideploy" / "logs").iterdir())
        found = re.findall(
            r"(\S+)  session over: (\d+) connections, (\d+) channels, (\d+) round trips",
            newest.read_text(),
        )
        return {host: Cost(*map(int, numbers)) for host, *numbers in found}


def _revision_at(host: Host, port: int) -> str:
    said = host.exec(f"curl -sS --max-time 5 http://127.0.0.1:{port}/healthz", check=False)
    try:
        return str(json.loads(said.stdout)["revision"])
    except ValueError:
        return ""


def bound_repositories(lab: Lab) -> Path:
    """The folder of this machine that the hosts of a lab see as /opt/repositories."""
    return next(bind.source for bind in lab.binds if bind.target == REPOSITORIES)


def repositories(folder: Path) -> Bind:
    """The bind to make a lab with."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # Other users read it, on the hosts.
    return Bind(folder, REPOSITORIES)


@contextmanager
def watched(project: Project, hosts: Sequence[Host] = ()) -> Iterator[None]:
    """While this lasts, `current` of each host always points to a whole release.

    A process on each host looks every few milliseconds.
    """
    program = (
        "import os, sys, time\n"
        f"link = '{project.root}/current'\n"
        "while True:\n"
        "    if not os.path.exists(link + '/release.json'):\n"
        "        print('not whole:', os.path.realpath(link), time.time(), flush=True)\n"
        "    time.sleep(0.003)\n"
    )
    hosts = hosts or project.serving
    unit = "watches-current"
    for host in hosts:
        host.path("/opt/watch.py").write_text(program)
        host.exec(
            f"rm -f /run/seen; systemd-run --quiet --unit={unit}"
            " --property=StandardOutput=file:/run/seen python3 /opt/watch.py"
        )
    try:
        yield
    finally:
        for host in hosts:
            host.exec(f"systemctl stop {unit}")
    for host in hosts:
        assert host.exec("cat /run/seen").stdout == "", host.name


def _surroundings() -> dict[str, str]:
    """Our environment, with no settings of this user's git and nobody's CI in it."""
    theirs = ("GITHUB_", "GITLAB_", "CI")
    return {k: v for k, v in without_settings().items() if not k.startswith(theirs)}
