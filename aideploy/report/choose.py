"""Which readers a command gets: decided by where its output goes and by what the user asked for.

Called once by `aideploy.tasks.running`, before the first event.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from pathlib import Path
from typing import TextIO

from aideploy.events import Reader
from aideploy.report.ci import FoldedLog, GitHub, GitLab, Markup
from aideploy.report.output import Output
from aideploy.report.plain import Plain


class Shown(Enum):
    """What of a run people see while all is well."""

    PROGRESS = auto()
    """How it goes: what a command that changes something shows. The whole log is kept."""

    OUTPUT = auto()
    """What the programs on the hosts print, and nothing else."""

    NOTHING = auto()
    """Nothing: the command prints what it found."""


def quiet_readers(stdout: TextIO, stderr: TextIO, shown: Shown) -> list[Reader]:
    """The readers for one run that does not show how it goes; see `readers`."""
    from aideploy.report.quiet import Streamed, Troubles

    troubles = Troubles(Output(stderr).line)
    return [troubles, Streamed(Output(stdout).line)] if shown is Shown.OUTPUT else [troubles]


def readers(
    stdout: TextIO,
    stderr: TextIO,
    environ: Mapping[str, str],
    *,
    json: bool,
    log: Path | None,
) -> list[Reader]:
    """The readers for one run, to be handed to `Events`.

    Args:
        stdout: gets what people read, or the JSON document.
        stderr: gets what people read when `json` is set.
        environ: the environment; GITHUB_ACTIONS, GITLAB_CI, NO_COLOR and TERM count.
        json: print the result as one JSON document on stdout.
        log: where the whole log goes, if the command keeps one.

    Raises:
        UsageError: the log cannot be written.
    """
    kept = _log(log)
    if json:
        from aideploy.report.json_result import JsonResult

        return [*kept, _lines(Output(stderr), environ), JsonResult(Output(stdout))]
    out = Output(stdout)
    if not out.isatty() or _is_dumb(environ) or _markup(environ):
        return [*kept, _lines(out, environ)]
    from aideploy.report.screen import Screen

    return [*kept, Screen(out, no_color=bool(environ.get("NO_COLOR")))]


def _log(path: Path | None) -> list[Reader]:
    if path is None:
        return []
    from aideploy.report.event_file import EventFile, stream_beside
    from aideploy.report.log_file import LogFile
    from aideploy.report.verdict_file import VerdictFile, beside

    return [LogFile(path), EventFile(stream_beside(path)), VerdictFile(beside(path))]


def _lines(out: Output, environ: Mapping[str, str]) -> Reader:
    markup = _markup(environ)
    return FoldedLog(out, markup) if markup else Plain(out.line)


def _markup(environ: Mapping[str, str]) -> Markup | None:
    if environ.get("GITHUB_ACTIONS") == "true":
        return GitHub()
    if environ.get("GITLAB_CI") == "true":
        return GitLab()
    return None


def _is_dumb(environ: Mapping[str, str]) -> bool:
    return environ.get("TERM", "") in ("", "dumb", "unknown")
