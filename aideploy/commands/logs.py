"""`fab logs`: what the service wrote last on all hosts, in the order of time, or what it writes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from aideploy.commands.asking import Absent, ask, missing, of_serving
from aideploy.errors import Interrupted, UsageError
from aideploy.events import Phase
from aideploy.phases.facts import LIMIT
from aideploy.remote.result import Result
from aideploy.remote.script import Script
from aideploy.remote.session import Session
from aideploy.report.facts import Table, Text
from aideploy.report.merged_log import MergedLog
from aideploy.report.output import Output
from aideploy.report.service_log import LogLine, Sieve, Wanted
from aideploy.running import Run
from aideploy.services.manager import Place, libraries
from aideploy.settings import Role
from aideploy.settings.serve import Serve

MOST_LINES = 1000
EVERYTHING = Wanted()


@dataclass(frozen=True)
class Logs:
    """The last lines of all hosts that answered: in the order of time, or else host by host."""

    lines: tuple[LogLine, ...]
    absent: tuple[Absent, ...]

    def shown(self) -> tuple[Table | Text, ...]:
        """Return the lines."""
        width = max((len(one.host) for one in self.lines), default=0)
        return (Text("", tuple(f"{one.host:<{width}} | {one.line}" for one in self.lines)),)


def logs(run: Run, place: Place, lines: int, want: Wanted = EVERYTHING) -> Logs:
    """Return the last so many lines of the service on every host that answers.

    Of lines that are filtered, a host looks through its last `MOST_LINES`.

    Args:
        run: the command.
        place: which slot.
        lines: of each host, at most.
        want: which lines.

    Raises:
        UsageError: there is no service; or its log has no times, and a time was asked for.
    """
    serve = _serve(run)
    asked = lines if want.everything else MOST_LINES
    script = replace(_script(run, serve, "logs", place, asked), limit=LIMIT)
    results, gone = ask(run, lambda host: (script,) if Role.SERVE in host.roles else ())
    answers = of_serving(run.settings, results)
    found = {name: sifted(name, _lines(result[0]), want) for name, result in answers.items()}
    return Logs(merged({name: some[-lines:] for name, some in found.items()}), gone)


def follow(run: Run, place: Place, lines: int, want: Wanted = EVERYTHING) -> None:
    """Show the last so many lines of every host and then those that come, in the order of time,
    until Ctrl-C.

    Raises:
        UsageError: there is no service.
    """
    serve = _serve(run)
    opened, _ = ask(run, lambda _: ())
    asked = lines if want.everything else MOST_LINES
    script = _script(run, serve, "follow_logs", place, asked)
    serving = of_serving(run.settings, opened)

    def work(session: Session) -> Result:
        return session.run(Phase.RUN, script)[0]

    with MergedLog(Output(sys.stdout).line, serving, want, lines) as shown:
        run.events.subscribe(shown)
        try:
            outcomes = run.fleet.attempt(Phase.RUN, work, serving, stop_at_failure=False)
        except Interrupted:
            # That is how following ends.
            return
    if outcomes.errors:
        missing(run, outcomes.errors, "the log ended on")


def sifted(host: str, lines: Iterable[str], want: Wanted) -> tuple[LogLine, ...]:
    """Return the lines that are wanted, with their times; one without goes with the line before it.

    Raises:
        UsageError: a time was asked for, and no line has one.
    """
    sieve = Sieve(host, want)
    found = tuple(filter(None, map(sieve.take, lines)))
    if want.since is not None and found and not sieve.timed:
        raise UsageError(
            f"the lines of {host} have no times that say of which zone they are: "
            "--since cannot choose among them",
            next_step="leave --since out; --lines and --grep always work",
        )
    return found


def merged(lines: Mapping[str, tuple[LogLine, ...]]) -> tuple[LogLine, ...]:
    """Return the lines of all hosts in the order of time; host by host where one has no times."""
    everything = [line for host in lines.values() for line in host]
    if any(host and host[0].at is None for host in lines.values()):
        return tuple(everything)
    return tuple(sorted(everything, key=lambda line: line.at or datetime.min.replace(tzinfo=UTC)))


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
