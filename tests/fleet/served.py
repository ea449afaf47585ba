"""One app on one host of a lab, with nothing but setup and the functions of its service manager:
what the tests of setup and of services share. Releases are put there as a deploy would do it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self

import fabric

from aideploy.errors import AideployError
from aideploy.events import Events, Phase
from aideploy.phases.setup import SetUp, set_up, setup
from aideploy.remote.result import Result
from aideploy.remote.script import Script
from aideploy.remote.session import Lock, Session
from aideploy.services.manager import libraries
from aideploy.services.release import release_files
from aideploy.settings import Settings, load
from tests.lab.hosts import Host, Lab
from tests.scripts.calls import Calls

SERVICE = Path(__file__).with_name("little_service.py")
COMMAND = "/usr/bin/python3 little_service.py"
REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Answer:
    """What the little service says of the place it runs in."""

    environment: dict[str, str]
    pid: int
    uid: int
    folder: str
    activated: bool
    writes: dict[str, bool]
    reads: dict[str, bool]


class Served:
    """An app on a host. A context manager: the session to the host.

    Args:
        lab, host: where.
        folder: of this test, on this machine.
        app: its name.
        serve: lines of its [serve] table, without the command.
        user: who logs in.
        top: lines of its [app] table.
    """

    def __init__(
        self,
        lab: Lab,
        host: Host,
        folder: Path,
        *,
        app: str,
        serve: str = "",
        user: str = "deploy",
        top: str = "",
    ) -> None:
        self.lab, self.host, self.folder, self.app, self.user, self.top = (
            lab, host, folder, app, user, top,
        )  # fmt: skip
        self.settings = self.configure(serve)

    def configure(self, serve: str) -> Settings:
        """Write other settings; they count from now on."""
        file = self.folder / "hosts.toml"
        file.write_text(
            f"[app]\nname = '{self.app}'\nrepository = '/unused'\n{self.top}\n"
            f"[ssh]\nuser = '{self.user}'\nkey = '{self.lab.key}'\n"
            f"known_hosts = '{self.lab.known_hosts}'\n"
            f"[serve]\ncommand = '{COMMAND}'\n{serve}\n"
            f"[environments.test.hosts.{self.host.name}]\n"
            f"address = '{self.host.address}'\nroles = ['serve']\n"
        )
        self.settings = load(file, "test")
        return self.settings

    def __enter__(self) -> Self:
        root = str(self.settings.app.deploy_to)
        self.session = Session(self.settings.hosts[0], root, "a test", Events(), fabric.Config())
        facts = self.session.open(Lock.NONE, Script("open", (root, "python3", "1")))
        self.root = PurePosixPath(facts.text("root"))
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def set_up(self) -> SetUp:
        script = setup(self.settings, self.settings.hosts[0], root=self.root, user=self.user)
        return set_up(self.session.run(Phase.SETUP, script)[0])

    def call(self, body: str) -> Result:
        """Run shell with the functions of the service manager; its output is the result's tail."""
        serve = self.settings.serve
        assert serve is not None
        script = Calls(
            "calls",
            libraries=libraries(serve.manager),
            body=f"root={self.root} app={self.app}\n{body}",
        )
        return self.session.run(Phase.STAGE, script)[0]

    def put(
        self, release: str, *, slot: str = "live", command: str = COMMAND, **secrets: str
    ) -> None:
        """Put a release there, and let the slot point to it."""
        serve = self.settings.serve
        assert serve is not None
        settings = self.settings
        files = release_files(
            settings.__class__(
                **{**vars(settings), "serve": serve.model_copy(update={"command": command})}
            ),
            root=self.root,
            release=release,
            revision=REVISION,
            model="",
            secrets=secrets,
        )
        link = (
            f'replace_link "releases/{release}" "$root/current"'
            if slot == "live"
            else f'replace_link "../../releases/{release}" "$root/slots/{slot}/release"'
        )
        self.call(
            f"""
            place=$root/releases/{release}
            mkdir -p "$place/.aideploy"
            base64 -d <<<{_packed(SERVICE.read_text())} >"$place/little_service.py"
            base64 -d <<<{_packed(files.environment)} | replace_file "$place/.aideploy/env" 640
            base64 -d <<<{_packed(files.serve)} | replace_file "$place/.aideploy/serve" 755
            {link}
            """
        )

    def state(self, slot: str = "live") -> str:
        return self.call(f"service_state {slot}").tail[-1]

    def ask(self, port: int = 8000, path: str = "/") -> Answer:
        """Ask the service; waits up to ten seconds until it listens."""
        url = f"http://127.0.0.1:{port}{path}"
        said: Any = json.loads(
            self.host.exec(f"curl -sS --retry 40 --retry-connrefused --retry-delay 0 "
                           f"--retry-max-time 10 --max-time 10 {url}").stdout
        )  # fmt: skip
        return Answer(**said)


def failure(error: AideployError) -> tuple[str, str]:
    """What happened and what to do, as the last words on the screen have it."""
    return error.what, error.next_step


def _packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
