"""One app on one host of a lab, with nothing but setup and the functions of its service manager:
what the tests of setup and of services share. Releases are put there as a deploy would do it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Self

import fabric

from aideploy.events import Events, Phase
from aideploy.phases import facts
from aideploy.phases.setup import SetUp, set_up, setup
from aideploy.remote.result import Result
from aideploy.remote.session import Lock, Session
from aideploy.services.manager import libraries
from aideploy.services.release import release_files
from aideploy.settings import Settings, load
from tests.lab.hosts import Host, Lab
from tests.scripts.running import Calls

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
        serve: lines of its [serve] table, without the command; recreate unless they say otherwise.
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
        self.host = host
        self.app = app
        self._lab = lab
        self._folder = folder
        self._user = user
        self._top = top
        self.settings = self.configure(serve)

    def configure(self, serve: str) -> Settings:
        """Write other settings; they count from now on."""
        file = self._folder / "hosts.toml"
        file.write_text(
            f"[app]\nname = '{self.app}'\nrepository = '/unused'\n{self._top}\n"
            # A busy machine boots and greets slowly; how slowly is not what is tested here.
            f"[ssh]\nconnect_timeout = '60s'\nuser = '{self._user}'\nkey = '{self._lab.key}'\n"
            f"known_hosts = '{self._lab.known_hosts}'\n"
            f"[serve]\ncommand = '{COMMAND}'\n{_with_strategy(serve)}\n"
            f"[environments.test.hosts.{self.host.name}]\n"
            f"address = '{self.host.address}'\nroles = ['serve']\n"
        )
        self.settings = load(file, "test")
        return self.settings

    def __enter__(self) -> Self:
        root = str(self.settings.app.deploy_to)
        self.session = Session(self.settings.hosts[0], root, "a test", Events(), fabric.Config())
        [said] = self.session.open(Lock.NONE, facts.script(self.settings))
        self.root = PurePosixPath(said.text("root"))
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def set_up(self) -> SetUp:
        script = setup(self.settings, self.settings.hosts[0], root=self.root, user=self._user)
        return set_up(self.session.run(Phase.SETUP, script))

    def call(self, body: str) -> Result:
        """Run shell with the functions of the service manager; its output is the result's tail."""
        serve = self.settings.serve
        assert serve is not None
        script = Calls(
            "calls",
            libraries=libraries(serve),
            body=f"root={self.root} app={self.app} python=python3\n{body}",
        )
        return self.session.run(Phase.STAGE, script)[0]

    def put(
        self, release: str, *, slot: str = "live", command: str = COMMAND, **secrets: str
    ) -> None:
        """Put a release there, and let the slot point to it."""
        serve = self.settings.serve
        assert serve is not None
        files = release_files(
            replace(self.settings, serve=serve.model_copy(update={"command": command})),
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

    def start(self, release: str, *, command: str = COMMAND, **secrets: str) -> None:
        """Put a first release there and start it."""
        self.put(release, command=command, **secrets)
        self.call("service_start live")

    def state(self, slot: str = "live") -> str:
        return self.call(f"service_state {slot}").tail[-1]

    def ask(self, port: int = 8000, path: str = "/") -> Answer:
        """Ask the service; waits up to ten seconds until it listens."""
        patient = "--retry 100 --retry-connrefused --retry-delay 0 --retry-max-time 10"
        answer = self.host.exec(f"curl -sS {patient} --max-time 10 http://127.0.0.1:{port}{path}")
        said: Any = json.loads(answer.stdout)
        return Answer(**said)


def _with_strategy(serve: str) -> str:
    return serve if "strategy" in serve else f"strategy = 'recreate'\n{serve}"


def _packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
