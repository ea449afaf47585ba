"""The whole story on one machine: deploy, improve, break, roll back.

Run by a person as `python -m aideploy.sandbox.demo`, by `make demo` and by the tests. It types
the commands that a user would type and checks what a user would see; it knows nothing of how they
work. Everything that it makes is in one temporary folder, and everything that it starts has ended
when it ends, also after Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import aideploy
from aideploy.errors import AideployError, ExitStatus, Refused, RolledBack
from aideploy.sandbox import rendering
from aideploy.sandbox.layout import Host
from aideploy.sandbox.lifecycle import DEFAULT_FOLDER, Sandbox

_CHECKOUT = Path(aideploy.__file__).parents[1]
_APP = "ranker"
_HTTP_TIMEOUT = timedelta(seconds=10)

_DONE = frozenset({ExitStatus.DONE})
# A bad release is found out before it is switched to, or just after; both are right.
_RELEASE_FAILED = frozenset({Refused.status, RolledBack.status})

_QUESTION = {
    "user": {"id": "user-17", "interest": "sports", "days": 3},
    "ads": [
        {"id": "ad-1", "category": "sports"},
        {"id": "ad-2", "category": "garden"},
        {"id": "ad-3", "category": "travel"},
    ],
    "context": {"device": "mobile", "site": "site-4", "hour": 20},
}


class DemoFailed(Exception):
    """Something was not as it should be; the text says what."""


class Demo:
    """The story, told in a folder of its own.

    Args:
        folder: an empty folder.
        host_count: how many hosts it is told on.
    """

    def __init__(self, folder: Path, host_count: int) -> None:
        self._folder = folder
        self._host_count = host_count
        self.sandbox = Sandbox(folder / DEFAULT_FOLDER)
        self._hosts: tuple[Host, ...] = ()
        self._port = 0

    def tell(self) -> None:
        """From the first host to the rollback.

        Raises:
            DemoFailed: at the first thing that is not as it should be.
        """
        _say(f"{self._host_count} hosts on this machine: real SSH, with supervisor for services")
        self._bring_hosts_up()
        _say("An app with a model to train, in a git repository, and the hosts.toml for it")
        revisions = self._write_project()

        _say("The first deploy: code, environment, tests, training, service")
        self._push(revisions.first)
        self._fab("setup")
        self._fab("deploy")
        self._expect_live(revisions.first)
        self._fab("status")

        _say("A better model, deployed the same way, and a prediction by it")
        self._push(revisions.improved)
        self._fab("deploy")
        self._expect_live(revisions.improved)
        self._predict()

        _say("A mistake that only the health check shows: the deploy fails, nobody notices")
        self._push(revisions.broken)
        self._fab("deploy", expected=_RELEASE_FAILED)
        self._expect_live(revisions.improved)
        print(f"\nstill live on every host: {revisions.improved[:7]}")

        _say("And back by hand, to the first release")
        self._fab("rollback")
        self._expect_live(revisions.first)
        self._fab("status")

    def _bring_hosts_up(self) -> None:
        status = self.sandbox.up(self._host_count)
        self._hosts = tuple(each.host for each in status.hosts)
        self._port = status.free_port()
        for host in self._hosts:
            print(f"{host.name}  ssh {host.address} port {host.port}")
        if status.note:
            print(status.note)

    def _write_project(self) -> Any:
        """The app's repository and clone, hosts.toml and fabfile.py; the revisions to deploy."""
        origin, clone = self._folder / f"{_APP}.git", self._folder / _APP
        revisions = _ranker_versions().history(clone)
        _git("init", "--quiet", "--bare", "--initial-branch=main", str(origin))
        _git("-C", str(clone), "remote", "add", "origin", str(origin))
        (self._folder / "fabfile.py").write_text("import aideploy\n\nns = aideploy.namespace()\n")
        tables = rendering.hosts_toml(
            self.sandbox.layout, self._hosts, app=_APP, port=self._port, repository=origin
        )
        (self._folder / "hosts.toml").write_text(tables)
        print(tables.split("\n[environments", 1)[0].split("\n", 1)[1])
        return revisions

    def _push(self, revision: str) -> None:
        arguments = ("-C", _APP, "push", "--quiet", "origin", f"{revision[:7]}:refs/heads/main")
        self._show("git", *arguments)
        _git(*arguments, cwd=self._folder)

    def _fab(self, *arguments: str, expected: Collection[ExitStatus] = _DONE) -> None:
        self._show("fab", *arguments)
        start = time.monotonic()
        status = _wait_for([sys.executable, "-m", "fabric", *arguments], self._folder)
        print(f"(exit status {status}, {time.monotonic() - start:.1f} s)", flush=True)
        if status not in expected:
            wanted = " or ".join(str(int(each)) for each in sorted(expected))
            raise DemoFailed(
                f"`fab {shlex.join(arguments)}` ended with status {status} instead of {wanted}"
            )

    def _expect_live(self, revision: str) -> None:
        for host in self._hosts:
            live = self._ask(host, "/healthz").get("revision")
            if live != revision:
                raise DemoFailed(f"{host.name} serves revision {live} instead of {revision}")

    def _predict(self) -> None:
        host = self._hosts[0]
        question = json.dumps(_QUESTION)
        self._show("curl", self._url(host, "/predict"), "--data", question)
        answer = self._ask(host, "/predict", question)
        for place in answer["ranking"]:
            print(f"{place['ad']}  {place['probability']:.4f}")
        if len(answer["ranking"]) != len(_QUESTION["ads"]):
            raise DemoFailed(f"{host.name} did not rank every ad: {answer}")

    def _ask(self, host: Host, path: str, question: str | None = None) -> Any:
        url = self._url(host, path)
        data = question.encode() if question else None
        try:
            with urllib.request.urlopen(  # noqa: S310 - http, to a host of ours
                url, data, timeout=_HTTP_TIMEOUT.total_seconds()
            ) as answer:
                return json.load(answer)
        except (OSError, ValueError) as error:
            raise DemoFailed(f"{host.name} does not answer at {url}: {error}") from error

    def _url(self, host: Host, path: str) -> str:
        return f"http://{host.address}:{self._port}{path}"

    def _show(self, *command: str) -> None:
        print(f"\n$ {shlex.join(command)}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Tell the story, clean up; the exit status."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _leave)
    start = time.monotonic()
    try:
        with _folder(keep=options.keep) as folder:
            demo = Demo(folder, options.hosts)
            try:
                demo.tell()
            finally:
                if not options.keep:
                    _take_down(demo.sandbox)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return ExitStatus.INTERRUPTED
    except (DemoFailed, AideployError) as error:
        print(f"\nthe demo failed: {error}", file=sys.stderr)
        for line in (*getattr(error, "why", "").splitlines(), *getattr(error, "tail", ())):
            print(f"  {line}", file=sys.stderr)
        return 1
    print(f"\nAll as it should be, in {time.monotonic() - start:.0f} s. Read on:")
    print(f"  {_CHECKOUT / 'README.md'}\n  {_CHECKOUT / 'docs'}")
    return ExitStatus.DONE


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="aideploy-demo-")).resolve()
    try:
        yield folder
    finally:
        if keep:
            print(f"\nThe hosts stay up. Go on with:\n  cd {shlex.quote(str(folder))}")
            print("  fab --list\nand in the end:\n  fab sandbox.down")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _take_down(sandbox: Sandbox) -> None:
    """End what runs. It takes a few seconds at most, in which Ctrl-C shall not leave half of it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        sandbox.down()
    finally:
        signal.signal(signal.SIGINT, before)


def _wait_for(command: list[str], folder: Path) -> int:
    """Run it on this terminal; its exit status."""
    with subprocess.Popen(command, cwd=folder) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait()  # the terminal has interrupted it, too: let it say what it undid
            raise
        except SystemExit:
            process.terminate()
            raise


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _git(*arguments: str, cwd: Path | None = None) -> None:
    subprocess.run(["git", *arguments], cwd=cwd, check=True)


def _ranker_versions() -> Any:
    """The module that makes the three versions of the example; only a checkout has it."""
    examples = _CHECKOUT / "examples"
    if not (examples / "ranker_versions.py").exists():
        raise DemoFailed("the demo needs the examples of a checkout: clone the repository")
    sys.path.insert(0, str(examples))
    return importlib.import_module("ranker_versions")


def _say(caption: str) -> None:
    print(f"\n== {caption}", flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m aideploy.sandbox.demo",
        description="Deploy an app to hosts on this machine, improve it, break it, roll it back.",
    )
    parser.add_argument("--keep", action="store_true", help="leave the hosts up to go on with")
    parser.add_argument("--hosts", type=int, default=3, metavar="N", help="how many hosts (3)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
