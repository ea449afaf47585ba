"""`fab logs`: what the service wrote last on all hosts, in the order of time, or what it writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from aideploy.commands.asking import Absent, ask, missing, of_serving
from aideploy.errors import Interrupted, UsageError
from aideploy.events import Phase
from aideploy.remote.result import Result
from aideploy.remote.script import Script
from aideploy.remote.session import Session
from aideploy.report.facts import Table, Text
from aideploy.running import Run
from aideploy.services.manager import Place, libraries
from aideploy.settings import Role
from aideploy.settings.serve import Serve

MOST_LINES = 1000


@dataclass(frozen=True)
class LogLine:
    """A line of a service; `at` is None where its log has no times."""

    host: str
    at: datetime | None
    line: str


@dataclass(frozen=True)
class Logs:
    """The last lines of all hosts that answered: in the order of time, or else host by host."""

    lines: tuple[LogLine, ...]
    absent: tuple[Absent, ...]

    def shown(self) -> tuple[Table | Text, ...]:
        """Return the lines."""
        width = max((len(one.host) for one in self.lines), default=0)
        return (Text("", tuple(f"{one.host:<{width}} | {one.line}" for one in self.lines)),)


def logs(run: Run, place: Place, lines: int) -> Logs:
    """Return the last so many lines of the service on every host that answers.

    Raises:
        UsageError: there is no service.
    """
    serve = _serve(run)
    script = _script(run, serve, "logs", place, lines)
    results, gone = ask(run, lambda host: (script,) if Role.SERVE in host.roles else ())
    answers = of_serving(run.settings, results)
    return Logs(
        merged({name: timed(name, _lines(result[0])) for name, result in answers.items()}), gone
    )


def follow(run: Run, place: Place, lines: int) -> None:
    """Let every host show its last so many lines and then those that come, until Ctrl-C.

    Raises:
        UsageError: there is no service.
    """
    serve = _serve(run)
    opened, _ = ask(run, lambda _: ())
    script = _script(run, serve, "follow_logs", place, lines)

    def work(session: Session) -> Result:
        return session.run(Phase.RUN, script)[0]

    try:
        outcomes = run.fleet.attempt(
            Phase.RUN, work, of_serving(run.settings, opened), stop_at_failure=False
        )
    except Interrupted:
        # That is how following ends.
        return
    if outcomes.errors:
        missing(run, outcomes.errors, "the log ended on")


def merged(lines: Mapping[str, tuple[LogLine, ...]]) -> tuple[LogLine, ...]:
    """Return the lines of all hosts in the order of time; host by host where one has no times."""
    everything = [line for host in lines.values() for line in host]
    if any(host and host[0].at is None for host in lines.values()):
        return tuple(everything)
    return tuple(sorted(everything, key=lambda line: line.at or datetime.min.replace(tzinfo=UTC)))


def timed(host: str, lines: Iterable[str]) -> tuple[LogLine, ...]:
    """Return the lines with their times; one without goes with the line before it."""
    at = None
    found = []
    for line in lines:
        at = _moment(line) or at
        found.append(LogLine(host, at, line))
    return tuple(found)


def _moment(line: str) -> datetime | None:
    """Return the time at the beginning of a line of journald (`-o short-iso`)."""
    try:
        at = datetime.fromisoformat(line.partition(" ")[0])
    except ValueError:
        return None
    return at if at.tzinfo else None


def _script(run: Run, serve: Serve, name: str, place: Place, lines: int) -> Script:
    app = run.settings.app
    return Script(
        name,
        (str(app.deploy_to), app.name, place, str(lines)),
        libraries=libraries(serve),
    )


def _lines(result: Result) -> list[str]:
    text = result.data("log").decode("utf-8", "replace").rstrip("\n")
    return text.split("\n") if text else []


def _serve(run: Run) -> Serve:
    serve = run.settings.serve
    if serve is None:
        raise UsageError(
            "there is no service whose log could be shown", next_step="write a [serve] table"
        )
    return serve
