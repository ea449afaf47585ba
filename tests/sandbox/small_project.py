"""A small application, its hosts.toml and its sandbox hosts: what the tests of bad input break.

Nothing is replaced by a stand-in: `fab` runs as a process of its own, over real SSH, and what the
hosts hold afterwards is read from their disks. The application needs no package, so that a deploy
takes seconds.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aideploy.errors import ExitStatus
from aideploy.sandbox.layout import Host
from aideploy.sandbox.lifecycle import Sandbox, Status
from tests.git import git
from tests.typed import Ran as Ran
from tests.typed import typed

APP = "small"

_PROGRAM = """\
import http.server, itertools, json, os, time

IS = {"revision": os.environ["REVISION"]}

class Answer(http.server.BaseHTTPRequestHandler):
    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            # Who asked has given up. On a busy machine a probe does, and that is no error of ours.
            pass

    def do_GET(self):
        answer(self)

    def do_POST(self):
        answer(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def say(self, answer, status=200):
        text = isinstance(answer, str)
        body = (answer if text else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; version=0.0.4" if text else "text/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
"""
_SERVES = """
address = (os.environ["BIND"], int(os.environ["PORT"]))
http.server.ThreadingHTTPServer(address, Answer).serve_forever()
"""


def program(answer: str) -> str:
    """Return a web service whose function `answer(request, sent=None)` is this."""
    return f"{_PROGRAM}\n{answer}\n{_SERVES}"


_SERVICE = program("""\
def answer(request):
    request.say(dict(os.environ) if request.path == "/environment" else IS)
""")

_TABLES: Mapping[str, Mapping[str, Any]] = {
    "app": {"name": APP},
    "install": {"requirements": []},
    "serve": {"command": "exec python3 service.py"},
    "health": {"json": {"revision": "$REVISION"}, "timeout": "3s", "interval": "100ms"},
    "rollout": {"bake": "0s", "canary": 0, "batch": "100%"},
}


@dataclass(frozen=True)
class OnHost:
    """What one host holds of the application."""

    current: str | None
    releases: frozenset[str]
    journal: bytes


@dataclass(frozen=True)
class SmallProject:
    """A folder with a fabfile and a hosts.toml, and the git repository of the application.

    Args:
        folder: of the fabfile.
        up: the sandbox.
        port: of the service.
    """

    folder: Path
    up: Status
    port: int
    repository: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "repository", self.folder / "application")
        self.repository.mkdir(parents=True)
        (self.folder / "fabfile.py").write_text(
            "from aideploy import namespace\nns = namespace()\n"
        )
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit({"service.py": _SERVICE}, "Answer")
        self.settle()

    @property
    def hosts(self) -> tuple[Host, ...]:
        return tuple(status.host for status in self.up.hosts)

    def commit(self, files: Mapping[str, str | bytes | None], subject: str = "Change it") -> str:
        """Write these files (None: remove) on the branch that is checked out; the new commit."""
        for name, content in files.items():
            path = self.repository / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--cleanup=verbatim", "--message", subject)
        return self.git("rev-parse", "HEAD")

    def branch(self, name: str) -> None:
        """Make this branch anew, from the first commit, and check it out."""
        first = self.git("rev-list", "--max-parents=0", "main")
        self.git("checkout", "--quiet", "-B", name, first)

    def git(self, *arguments: str) -> str:
        return git(self.repository, *arguments)

    def settle(
        self,
        hosts: str | None = None,
        gates: Sequence[Mapping[str, Any]] = (),
        **changes: Mapping[str, Any],
    ) -> None:
        """Write hosts.toml: that of a small project, with these keys of these tables changed.

        Args:
            hosts: the tables of the environment; those of the sandbox if they are not given.
            gates: the [[gate]] tables.
            changes: keys and values by table; None for a value leaves its key out.
        """
        tables: dict[str, dict[str, Any]] = {name: dict(keys) for name, keys in _TABLES.items()}
        tables["app"]["repository"] = str(self.repository)
        for name, keys in changes.items():
            tables[name] = {**tables.get(name, {}), **keys}
        lines = [line for name, keys in tables.items() for line in _toml(name, keys)]
        lines += [line for keys in gates for line in _toml("[gate]", keys)]
        environment = hosts or self.up.environment_toml(app=APP, port=self.port)
        (self.folder / "hosts.toml").write_text("\n".join([*lines, environment]))

    def fab(
        self,
        *arguments: str,
        timeout: float = 60,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
    ) -> Ran:
        """Run `fab` as a person would whose output goes to a file."""
        where, variables = cwd or self.folder, self.environment(env or {})
        return typed(where, "-m", "fabric", *arguments, env=variables, timeout=timeout)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "fabric", *arguments]

    def environment(self, changes: Mapping[str, str | None]) -> dict[str, str]:
        merged = {**os.environ, **changes}
        return {name: value for name, value in merged.items() if value is not None}

    def home(self, host: str = "host1") -> Path:
        return self.up.layout.home(self.host(host))

    def root(self, host: str = "host1") -> Path:
        """The folder of the application on a host."""
        return self.home(host) / APP

    def one_host(self, **changes: Any) -> str:
        """The tables of an environment with the first host alone, with these keys changed."""
        layout, host = self.up.layout, self.host("host1")
        keys = {
            "address": host.address,
            "port": host.port,
            "bind": host.address,
            "key": str(layout.client_key),
            "known_hosts": str(layout.known_hosts),
            **changes,
        }
        lines = [
            *_toml("environments.sandbox.app", {"deploy_to": f"~/{APP}"}),
            *_toml("environments.sandbox.serve", {"manager": "supervisor", "port": self.port}),
            *_toml("environments.sandbox.hosts.host1", keys),
        ]
        return "\n".join(lines)

    def host(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    def on_host(self, name: str = "host1") -> OnHost:
        root = self.root(name)
        current = root / "current"
        journal = root / "journal.jsonl"
        return OnHost(
            current=current.readlink().name if current.is_symlink() else None,
            releases=frozenset(path.parent.name for path in root.glob("releases/*/release.json")),
            journal=journal.read_bytes() if journal.exists() else b"",
        )

    def succeeds(self, *arguments: str, **options: Any) -> Ran:
        """Run `fab`, which has to end with 0."""
        ran = self.fab(*arguments, **options)
        assert ran.status == ExitStatus.DONE, ran.text
        return ran

    def refuses(self, *arguments: str, status: ExitStatus, says: str, **options: Any) -> Ran:
        """Run `fab`, which has to refuse: this status, these words, and not a trace on any host."""
        before = self.on_hosts()
        ran = self.fab(*arguments, **options)
        assert ran.status == status, ran.text
        assert says in ran.text, ran.text
        assert ran.shows_no_traceback, ran.text
        assert self.on_hosts() == before
        assert self.frees_the_locks()
        return ran

    def frees_the_locks(self) -> bool:
        """Whether no host stays locked; a host notices the end of a session a moment later."""
        locks = [self.root(host.name) / "lock" for host in self.hosts]
        for _ in range(100):
            if all(_is_free(lock) for lock in locks):
                return True
            time.sleep(0.1)
        return False

    def on_hosts(self) -> tuple[OnHost, ...]:
        return tuple(self.on_host(host.name) for host in self.hosts)


@contextmanager
def small_project(folder: Path, hosts: int) -> Iterator[SmallProject]:
    """A project in this folder, with so many hosts of its own."""
    # supervisor takes no paths with spaces on a host; the project's own folder has one.
    with Sandbox(folder / "sandbox") as sandbox:
        up = sandbox.up(hosts)
        yield SmallProject(folder / "pro ject", up, up.free_port())


def _toml(name: str, keys: Mapping[str, Any]) -> list[str]:
    values = [f"{key} = {_value(value)}" for key, value in keys.items() if value is not None]
    return [f"[{name}]", *values, ""]


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(k)} = {_value(v)}" for k, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def _is_free(lock: Path) -> bool:
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
