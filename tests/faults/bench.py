"""The fault bench: a fleet under a steady load, while something breaks in the middle of a deploy.

It sees what users see (every request, by the revision that answered), where `current` points (at
every moment, by a watcher on each host) and what is left afterwards. Used by the tests beside it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from aideploy.errors import ExitStatus
from aideploy.events import Phase
from tests.faults.breaking import Breaking
from tests.faults.footprint import footprint
from tests.faults.matrix import Cell, Check, Fault, statuses
from tests.fleet.project import Finished, Project, eventually, watched
from tests.fleet.traffic import USERS_OF_A_HOST, Answer, Users
from tests.lab.hosts import Host

KEPT_RELEASES = 5
CANARY_FIRST = "canary = 1\nbatch = '100%'"
# How long hosts may take to be back by themselves: a session ends after 30 s of silence.
BACK_SECONDS = 60.0
CLEAN_SECONDS = 20.0
# From the moment when a process of the way of a request is killed until it is back, and is seen so.
KILLED_SECONDS = 3.0


@dataclass
class Seen:
    """What one cell of the matrix showed."""

    status: int | None = None
    requests: int = 0
    failed: int = 0
    excused: int = 0
    back_seconds: float = 0.0
    problems: dict[Check, str] = field(default_factory=dict)


class Bench:
    """A project on hosts under load.

    Args:
        project: set up on all its hosts; a good release need not be live yet.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self._clean: dict[str, frozenset[str]] = {}

    @contextmanager
    def load(self, rate: float = 100.0) -> Iterator[Users]:
        """Users of all hosts, so many requests a second in all."""
        hosts = self.project.serving
        with Users(self.project.addresses(*hosts), rate) as users:
            yield users

    def be_clean(self) -> None:
        """One good release is live on all hosts, and it is known what they have then."""
        # Whoever restarts as often as a bench does is taken for a crash loop.
        for host in self.project.hosts:
            host.exec(f"systemctl reset-failed '{self.project.app}*'", check=False)
        self.project.configure(bake="0s", more="", rollout=CANARY_FIRST)
        if not self._clean:
            self.project.deploy()
            # What the deploy left to the hosts is done.
            assert eventually(lambda: not any(map(self._is_busy, self.project.hosts)))
            self._clean = {
                host.name: footprint(self.project, host, KEPT_RELEASES)
                for host in self.project.hosts
            }
        elif len(self.project.all_serve()) != 1 or self.left_over():
            self.project.deploy()
        left = self.left_over()
        assert left == "", left

    def _is_busy(self, host: Host) -> bool:
        """Whether a job is due, or was a moment ago."""
        due = f"ls {self.project.root}/due; systemctl is-active {self.project.app}-due.service"
        return host.exec(due, check=False).stdout != "inactive\n"

    def deploy_plainly(self) -> str:
        """What is wrong after one deploy of a good release; empty when nothing is."""
        self.project.configure(bake="0s", more="", rollout=CANARY_FIRST)
        revision = self.project.commit()
        finished = self.project.start("deploy").finish()
        live = self.project.all_serve()
        if finished.status != ExitStatus.DONE or live != {revision}:
            return f"{finished.status}, {live}:\n{finished.output}"
        return self.left_over()

    def left_over(self, within: float = CLEAN_SECONDS) -> str:
        """How hosts differ from when they were clean, after so many seconds; empty when not."""
        eventually(lambda: not self._differences(), within)
        return "; ".join(self._differences())

    def _differences(self) -> list[str]:
        found = []
        for host in self.project.hosts:
            now, clean = footprint(self.project, host, KEPT_RELEASES), self._clean[host.name]
            found += [f"{host.name} has {line!r}" for line in sorted(now - clean)]
            found += [f"{host.name} lacks {line!r}" for line in sorted(clean - now)]
        return found

    # -- one cell -------------------------------------------------------------------------------

    def play(self, cell: Cell) -> Seen:
        """Let it happen, then deploy plainly; what was seen of it."""
        self.be_clean()
        seen = Seen()
        [before] = self.project.all_serve()
        breaking = Breaking(self.project, cell)
        self.project.configure(**breaking.settings())
        # The watcher on a host that loses power dies with it.
        watching = [
            host
            for host in self.project.serving
            if cell.fault is not Fault.HOST_OFF or host is not breaking.host
        ]
        with self.load() as users:
            try:
                with watched(self.project, watching):
                    time.sleep(1)
                    deployed = self._broken_deploy(cell, breaking, before, seen)
                    if wrong := self.deploy_plainly():
                        seen.problems[Check.CLEAN] = wrong
            except AssertionError as error:
                seen.problems[Check.WHOLE] = str(error)
        self._judge_traffic(users, cell, breaking, seen, {before, deployed})
        return seen

    def _broken_deploy(self, cell: Cell, breaking: Breaking, before: str, seen: Seen) -> str:
        deployed = breaking.commit()
        command = self.project.start("deploy")
        try:
            breaking.strike(command)
            finished: Finished | None = None
            if cell.fault is not Fault.CONTROLLER_KILLED:
                finished = command.finish(within=240)
        finally:
            breaking.mend()
        if finished:
            seen.status = finished.status
            self._judge_status(finished, cell, seen)
        wanted = {deployed} if finished and finished.status == ExitStatus.DONE else {before}
        # From the finish on, and where the confirmation reached all, they stay.
        either = cell.phase in (Phase.CONFIRM, Phase.FINISH)
        began = time.monotonic()

        def together() -> bool:
            live = self.project.all_serve()
            return len(live) == 1 and (live == wanted or (either and live <= {before, deployed}))

        if not eventually(together, BACK_SECONDS):
            live = {host.name: self.project.served(host)[:7] for host in self.project.serving}
            seen.problems[Check.TOGETHER] = f"{live}, before {before[:7]}, then {deployed[:7]}"
        seen.back_seconds = time.monotonic() - began
        eventually(lambda: not any(map(self.project.is_locked, self.project.hosts)), BACK_SECONDS)
        # Where nobody is left to follow it, a training goes on: the next waits for its end.
        eventually(lambda: not any(map(_trains, self.project.hosts)), BACK_SECONDS)
        return deployed

    def _judge_status(self, finished: Finished, cell: Cell, seen: Seen) -> None:
        allowed = statuses(cell)
        if finished.status not in allowed or "Traceback" in finished.output:
            seen.problems[Check.STATUS] = f"{finished.status}:\n{finished.output}"

    def _judge_traffic(
        self, users: Users, cell: Cell, breaking: Breaking, seen: Seen, expected: set[str]
    ) -> None:
        excused = [one for one in users.failed if _is_excused(one, cell, breaking, users)]
        failed = [one for one in users.failed if one not in excused]
        seen.requests, seen.failed, seen.excused = len(users.answers), len(failed), len(excused)
        if failed:
            seen.problems[Check.TRAFFIC] = "\n".join(map(str, failed[:10]))
        elif cell.fault is Fault.HAPROXY_KILLED and len(excused) > 2 * USERS_OF_A_HOST:
            seen.problems[Check.TRAFFIC] = f"{len(excused)} while HAProxy restarted"


def _trains(host: Host) -> bool:
    return bool(host.exec("pgrep -f '/jobs/[0-9a-f]*/run[.]sh'", check=False).stdout)


def _is_excused(one: Answer, cell: Cell, breaking: Breaking, users: Users) -> bool:
    """Whether it went to a host without power, or was inside a process that was killed."""
    if one.host != breaking.host.name:
        return False
    match cell.fault:
        case Fault.HOST_OFF:
            answered = [a.at for a in users.answers if a.host == one.host and not a.error]
            off = max((at for at in answered if at <= breaking.struck_at), default=0)
            on = min((at for at in answered if at > breaking.struck_at + 1), default=one.at)
            return off <= one.at <= on + KILLED_SECONDS
        case Fault.HAPROXY_KILLED:
            return breaking.struck_at <= one.at <= breaking.struck_at + KILLED_SECONDS
        case Fault.DIES_LATER | Fault.HANGS | Fault.OUT_OF_MEMORY:
            return False
    return False


# -- when what happened ---------------------------------------------------------------------------

_PHASE = re.compile(r"^(\S+Z) (\w+) +- +(begins on|done|failed|cancelled)")


def windows(project: Project, phase: Phase) -> list[tuple[float, float]]:
    """When the phase began and ended in the last command, by its log, in seconds since 1970."""
    newest = max((project.folder / ".aideploy" / "logs").glob("*.log"))
    found: list[tuple[float, float]] = []
    began = 0.0
    for line in newest.read_text().splitlines():
        if (match := _PHASE.match(line)) and match[2] == phase:
            moment = datetime.fromisoformat(match[1]).timestamp()
            if match[3] == "begins on":
                began = moment
            else:
                found.append((began, moment))
    return found
