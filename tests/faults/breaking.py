"""How each fault of the matrix is done to real hosts, and how it is mended.

A commit that makes the deploy stay in the phase, or that is ill by itself; a strike in the right
moment; mending, after which the host and its line are as they were. Used by `bench`.
"""

from __future__ import annotations

import signal
import time

from aideploy.events import Phase
from tests.faults.matrix import OF_THE_CONTROLLER, Cell, Fault, Where
from tests.fleet.project import Command, Project, eventually
from tests.lab.hosts import SSH_PORT, Host

MEGABYTE = 1 << 20
# What a host of the bench may use beyond what it uses now, and what then asks for more.
MEMORY = 150 * MEGABYTE
TOO_MUCH_MEGABYTES = 400
# Silence ends a session after 30 s; what ran there needs a moment to end.
SILENCE_SECONDS = 45
# How long the deploy is in the phase already when it is struck; the others are over at once.
_INTO = {
    Phase.FETCH: 0.7,
    Phase.INSTALL: 0.5,
    Phase.TEST: 0.7,
    Phase.TRAIN: 0.7,
    Phase.DISTRIBUTE: 0.1,
    Phase.STAGE: 0.7,
    Phase.WATCH: 0.7,
}
_STAYS_SECONDS = 3


class Breaking:
    """One fault in one deploy.

    Args:
        project: on whose hosts; canary 1, the others in the second batch.
        cell: which fault, where and when.
    """

    def __init__(self, project: Project, cell: Cell) -> None:
        self._project = project
        self._cell = cell
        self.host: Host = project.hosts[0 if cell.where is Where.FIRST else -1]
        self.struck_at = 0.0

    def commit(self) -> str:
        """Push what is deployed when it happens; its full hash."""
        for host in self._project.hosts:
            slow = self._cell.phase is Phase.FETCH
            self._project.slow_git(host, seconds=_STAYS_SECONDS if slow else 0)
        return self._project.commit(**self._behaviour())

    def settings(self) -> dict[str, str]:
        """What hosts.toml has to say for it."""
        bake = "2s"
        if self._cell.fault in (Fault.DIES_LATER, Fault.HANGS, Fault.OUT_OF_MEMORY):
            bake = "15s"
        elif self._cell.phase is Phase.WATCH:
            bake = "4s"
        tests = f"[test]\ncommand = 'sleep {_STAYS_SECONDS}'" * (self._cell.phase is Phase.TEST)
        return {"bake": bake, "more": tests}

    def strike(self, command: Command) -> None:
        """Wait for the moment, and do it."""
        if self._cell.fault is Fault.OUT_OF_MEMORY:
            self.host.limit_memory(MEMORY)
        self._wait(command)
        self.struck_at = time.time()
        match self._cell.fault:
            case Fault.CONTROLLER_KILLED:
                command.kill()
            case Fault.CONTROLLER_FROZEN:
                command.signal(signal.SIGSTOP)
                eventually(self._unlocked, within=SILENCE_SECONDS)
                command.signal(signal.SIGCONT)
            case Fault.LINE_CUT:
                self.host.drop(SSH_PORT)
            case Fault.SSHD_KILLED:
                self.host.exec("pkill -KILL -x sshd", check=False)
            case Fault.HOST_OFF:
                # First the cable: a host without power does not say goodbye.
                self.host.cut()
                self.host.power_off()
                self.host.mend()
                self.host.boot()
            case Fault.HAPROXY_KILLED:
                unit = f"{self._project.app}-haproxy.service"
                self.host.exec(f"systemctl kill --signal=KILL {unit}")

    def mend(self) -> None:
        """All is as it was before, but for what the app and aideploy made of it."""
        match self._cell.fault:
            case Fault.LINE_CUT:
                self.host.undrop()
            case Fault.SSHD_KILLED:
                self.host.exec("systemctl reset-failed ssh; systemctl start ssh", check=False)
            case Fault.OUT_OF_MEMORY:
                self.host.free_memory()
        for host in self._project.hosts:
            self._project.slow_git(host, seconds=0)
            # Whoever restarts as often as a bench does is taken for a crash loop.
            host.exec(f"systemctl reset-failed '{self._project.app}*'", check=False)

    def _unlocked(self) -> bool:
        return not any(map(self._project.is_locked, self._project.hosts))

    def _behaviour(self) -> dict[str, object]:
        name = self.host.name
        match self._cell.fault, self._cell.phase:
            case Fault.CANNOT_START, _:
                return {"cannot_start_on": [name]}
            case Fault.WRONG_REVISION, _:
                return {"claims_revision": {name: "f" * 40}}
            case Fault.DIES_LATER, _:
                return {"dies_on": [name], "ill_after": 12}
            case Fault.HANGS, _:
                return {"hangs_on": [name], "ill_after": 8}
            case Fault.OUT_OF_MEMORY, Phase.TRAIN:
                return {"hoards": True}
            case Fault.OUT_OF_MEMORY, Phase.STAGE:
                return {"eats_at_start": {name: TOO_MUCH_MEGABYTES}}
            case Fault.OUT_OF_MEMORY, _:
                return {"eats_later": {name: TOO_MUCH_MEGABYTES}, "ill_after": 8}
            case _, Phase.INSTALL:
                return {"another_environment": True}
            case _, Phase.TRAIN:
                return {"trains_for": _STAYS_SECONDS}
            case _, Phase.DISTRIBUTE:
                return {"model_megabytes": 64}
            case _, Phase.STAGE:
                everywhere = {host.name: _STAYS_SECONDS for host in self._project.hosts}
                return {"blue_starts_after": everywhere, "green_starts_after": everywhere}
        return {}

    def _wait(self, command: Command) -> None:
        phase = self._cell.phase
        if phase in (Phase.SWITCH, Phase.WATCH) and self._of_a_moment:
            batch = 1 if self._cell.where is Where.FIRST else 2
            command.wait_for(rf"{phase} +\w+( hosts)? +batch {batch} of 2")
        elif self._of_a_moment:
            command.wait_for_phase(phase)
        if self._of_a_moment:
            time.sleep(_INTO.get(phase, 0))

    @property
    def _of_a_moment(self) -> bool:
        """Whether somebody has to strike; otherwise the release itself is ill."""
        return self._cell.fault in (
            *OF_THE_CONTROLLER,
            Fault.LINE_CUT,
            Fault.SSHD_KILLED,
            Fault.HOST_OFF,
            Fault.HAPROXY_KILLED,
        )
