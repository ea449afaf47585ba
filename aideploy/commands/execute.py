"""`fab exec`: a command of the user on all hosts, in the environment of the live release."""

from __future__ import annotations

from dataclasses import dataclass

from aideploy.commands.asking import Absent, absent, ask, missing
from aideploy.errors import AideployError, PhaseFailed, UsageError
from aideploy.events import Event, OutputReceived, Phase
from aideploy.remote.script import Script
from aideploy.remote.session import Session
from aideploy.report.facts import Table, Text
from aideploy.running import Run


@dataclass(frozen=True)
class Executed:
    """How the command ended on one host, and what it printed."""

    host: str
    status: int
    output: tuple[str, ...]


@dataclass(frozen=True)
class Execution:
    """How the command ended everywhere."""

    command: str
    hosts: tuple[Executed, ...]
    absent: tuple[Absent, ...]

    def shown(self) -> tuple[Table | Text, ...]:
        """Return nothing: the lines were shown as they came."""
        return ()


class Collected:
    """A reader that keeps what the command prints on each host."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case OutputReceived(phase=Phase.RUN):
                self.lines.setdefault(event.host, []).append(event.line)


def execute(run: Run, command: str) -> Execution:
    """Run the command on every host that answers; what it prints goes to the events.

    Ends with status 3 when a host does not answer or the command fails on one.

    Raises:
        UsageError: it is empty.
        Interrupted: Ctrl-C; what ran on the hosts is gone.
    """
    if not command.strip():
        raise UsageError("there is no command to run", next_step="for example: fab exec 'df -h .'")
    collected = Collected()
    run.events.subscribe(collected)
    script = Script("exec", (str(run.settings.app.deploy_to), command), libraries=("release",))
    opened, _ = ask(run, lambda _: ())
    unopened = run.failure.causes if run.failure else ()

    def work(session: Session) -> int:
        return session.run(Phase.RUN, script)[0].number("status", -1)

    outcomes = run.fleet.attempt(Phase.RUN, work, opened, stop_at_failure=False)
    errors: dict[str, AideployError] = {error.host or "": error for error in unopened}
    errors |= outcomes.errors
    failed = {
        name: PhaseFailed(
            f"the command ended with status {status}",
            host=name,
            phase=Phase.RUN,
        )
        for name, status in outcomes.results.items()
        if status != 0
    }
    missing(run, {**errors, **failed}, "it went wrong on")
    return Execution(
        command=command,
        hosts=tuple(
            Executed(name, status, tuple(collected.lines.get(name, ())))
            for name, status in outcomes.results.items()
        ),
        absent=absent(run.settings, errors),
    )
