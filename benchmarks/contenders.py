"""Those who deploy: raw OpenSSH, a plain fabfile, and aideploy.

All do the same steps with the same installer; each is timed from outside, from the command to its
end. Called by `deploys` and by the test that all of them really deploy.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aideploy.services.release import ReleaseFiles, release_files
from aideploy.settings import load
from benchmarks.scene import FAB, REPOSITORY, ROWS, WHEELS, App, Order, Scene, run
from tests.lab.hosts import Host

RAW_SCRIPT = Path(__file__).with_name("raw_deploy.sh")
PLAIN_FABFILE = Path(__file__).with_name("plain_fabfile.py")
_COST = re.compile(r"(\d+) connections?, (\d+) channels?, (\d+) round trips?")


@dataclass(frozen=True)
class Cost:
    """What one host of a deploy cost on the line; None where it cannot be counted."""

    connections: int
    channels: int
    round_trips: int | None = None


class Contender(Protocol):
    """One who deploys; `app` is its own copy of the application."""

    name: str
    app: App

    def prepare(self, order: Order) -> None:
        """What a person does once, before the clock runs."""

    def deploy(self, order: Order) -> Cost:
        """Do it. Raises RuntimeError when it did not succeed."""


class Raw:
    """One script in one `ssh` process for each host, all at once.

    The first host trains; what it writes is piped into the others, as
    `ssh h1 … | tee >(ssh h2 …) >(ssh h3 …)` would.

    Args:
        scene: where.
        name: how it is called in tables.
        options: more options for `ssh`.
        train_everywhere: each host trains for itself, and nothing is piped.
    """

    def __init__(
        self,
        scene: Scene,
        name: str = "raw ssh",
        options: Sequence[str] = (),
        *,
        train_everywhere: bool = False,
    ) -> None:
        self.name = name
        self.app = App("bench-raw", 8001)
        self._scene = scene
        self._options = tuple(options)
        self._train_everywhere = train_everywhere

    def prepare(self, order: Order) -> None:
        self._files = _files(self._scene, self.app, order)

    def deploy(self, order: Order) -> Cost:
        first, *others = order.hosts
        if self._train_everywhere or not others:
            processes = [self._start(order, host, "keep") for host in order.hosts]
        else:
            processes = [
                self._start(order, first, "make"),
                *(self._start(order, host, "take") for host in others),
            ]
            _pipe(processes[0], processes[1:])
        with ThreadPoolExecutor(len(processes)) as pool:
            said = list(pool.map(lambda process: process.communicate()[1], processes))
        for host, process, lines in zip(order.hosts, processes, said, strict=True):
            if process.returncode != 0:
                tail = lines.decode(errors="replace").splitlines()[-20:]
                raise RuntimeError("\n".join([f"{self.name} failed on {host.name}:", *tail]))
        return Cost(connections=1, channels=1)

    def _start(self, order: Order, host: Host, model: str) -> subprocess.Popen[bytes]:
        arguments = [
            *(str(self.app.root), self.app.name, str(REPOSITORY), order.revision, order.release),
            *(order.tool, str(WHEELS), model, str(self.app.port)),
            *(self._files.environment, self._files.serve),
        ]
        script = ["bash", "-c", RAW_SCRIPT.read_text(), RAW_SCRIPT.name, *arguments]
        command = shlex.join(["env", f"RANKER_ROWS={ROWS}", *script])
        return subprocess.Popen(
            ["ssh", "-F", str(self._scene.lab.ssh_config), *self._options, host.name, command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


def _pipe(source: subprocess.Popen[bytes], targets: Sequence[subprocess.Popen[bytes]]) -> None:
    """Give the model that the source writes to all targets; it is small."""
    assert source.stdout is not None
    # "ID SIZE"; nothing when it failed before it had a model.
    title = source.stdout.readline()
    model = title + source.stdout.read(int(title.split()[1]) if title else 0)
    for target in targets:
        assert target.stdin is not None
        # A target that has failed says why in its own words.
        with suppress(BrokenPipeError):
            target.stdin.write(model)
            target.stdin.flush()


class Plain:
    """A fabfile as people write one: a ThreadingGroup, one `run` for each command."""

    name = "plain fabfile"
    app = App("bench-plain", 8002)

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._folder = scene.folder / self.name.replace(" ", "-")
        self._folder.mkdir(exist_ok=True)

    def prepare(self, order: Order) -> None:
        files = _files(self._scene, self.app, order)
        (self._folder / "fabfile.py").write_text(PLAIN_FABFILE.read_text())
        (self._folder / "env").write_text(files.environment)
        (self._folder / "serve").write_text(files.serve)

    def deploy(self, order: Order) -> Cost:
        words = {
            "hosts": ",".join(host.name for host in order.hosts),
            "app": self.app.name,
            "port": str(self.app.port),
            "repository": str(REPOSITORY),
            "revision": order.revision,
            "release": order.release,
            "tool": order.tool,
            "wheels": str(WHEELS),
            "rows": str(ROWS),
        }
        options = [f"--{name}={value}" for name, value in words.items()]
        config = f"--ssh-config={self._scene.lab.ssh_config}"
        said = run([*FAB, config, "deploy", *options], self._folder)
        return Cost(connections=1, channels=int(said.split()[-1]))


class Aideploy:
    """`fab deploy`, Python's start and all."""

    name = "aideploy"
    app = App("bench-fab", 8003)

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def prepare(self, order: Order) -> None:
        self._folder = self._scene.project(self.app, order.tool, order.hosts)

    def deploy(self, order: Order) -> Cost:
        run([*FAB, "deploy", "--revision", order.revision], self._folder)
        return cost(self._folder)


def cost(project: Path) -> Cost:
    """What the dearest host of the last command in this project cost, by its log."""
    log = max((project / ".aideploy").rglob("*.log"), key=lambda file: file.stat().st_mtime)
    found = [tuple(map(int, numbers)) for numbers in _COST.findall(log.read_text())]
    return Cost(*max(found, key=lambda numbers: numbers[2]))


def _files(scene: Scene, app: App, order: Order) -> ReleaseFiles:
    folder = scene.project(app, order.tool, order.hosts)
    return release_files(
        load(folder / "hosts.toml", "bench"),
        root=app.root,
        release=order.release,
        revision=order.revision,
        model="",
        secrets={},
    )
