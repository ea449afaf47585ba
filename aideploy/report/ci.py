"""Folded groups for the logs of GitHub Actions and GitLab CI.

One fold per phase with the plain lines inside, the result of the phase below it, annotations for
failures, and the last word unfolded. Both services read commands from the log itself: whatever a
host wrote must not be able to give one, so every line that is not ours passes `guard`.

Sources: GitHub, `ActionCommand.cs` of actions/runner: a line is a command when it begins with `::`
after any spaces, or holds `##[name]` anywhere; data escapes `%`, CR and LF, properties `:` and `,`
too. GitLab, "Custom collapsible sections" of the CI/CD job logs: markers need a carriage return and
an escape sequence, which `harmless` leaves nobody.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from aideploy.events import Event, Failure, Phase, PhaseFinished, PhaseStarted, RunFinished
from aideploy.report.last_word import by_reason, where
from aideploy.report.output import Output
from aideploy.report.plain import Plain
from aideploy.report.safe_text import first_line, harmless_lines

_ANNOTATIONS = 10  # GitHub shows as many errors of one step


class Markup(Protocol):
    """How one service writes folds and annotations."""

    def open_fold(self, title: str, at: datetime) -> str:
        """What begins the fold with this title, without an end of line."""

    def close_fold(self, at: datetime) -> str:
        """What ends the fold that was opened last, without an end of line."""

    def annotations(self, finished: RunFinished) -> list[str]:
        """The lines that make failures stand out, none where there is no such thing."""

    def guard(self, text: str) -> str:
        """The line without any power over the log."""


class GitHub:
    """The workflow commands of GitHub Actions."""

    def open_fold(self, title: str, at: datetime) -> str:
        """A group; groups do not nest."""
        return f"::group::{title}"

    def close_fold(self, at: datetime) -> str:
        """The end of the group."""
        return "::endgroup::"

    def annotations(self, finished: RunFinished) -> list[str]:
        """An error for each reason of failure."""
        reasons = by_reason(finished.failures)[:_ANNOTATIONS]
        return [_error(failure, hosts) for failure, hosts in reasons]

    def guard(self, text: str) -> str:
        """The line, readable as before, but never a workflow command."""
        text = text.replace("##[", "## [")
        return f"| {text}" if text.lstrip().startswith("::") else text


class GitLab:
    """The section markers of GitLab CI."""

    def __init__(self) -> None:
        self._sections = 0

    def open_fold(self, title: str, at: datetime) -> str:
        """A collapsed section; its name is its own, for a phase may come once per batch."""
        self._sections += 1
        start = f"section_start:{at.timestamp():.0f}:aideploy_{self._sections}[collapsed=true]"
        return f"\x1b[0K{start}\r\x1b[0K{title}"

    def close_fold(self, at: datetime) -> str:
        """The end of the section."""
        return f"\x1b[0Ksection_end:{at.timestamp():.0f}:aideploy_{self._sections}\r\x1b[0K"

    def annotations(self, finished: RunFinished) -> list[str]:
        """None: GitLab reads annotations from files only."""
        return []

    def guard(self, text: str) -> str:
        """The line as it is: without escape sequences it has no power."""
        return text


class FoldedLog:
    """Plain lines, folded by phase."""

    def __init__(self, out: Output, markup: Markup) -> None:
        self._out = out
        self._markup = markup
        self._plain = Plain(lambda line: out.line(markup.guard(line)))
        self._open: Phase | None = None

    def __call__(self, event: Event) -> None:
        match event:
            case PhaseStarted():
                self._close(event.at)
                title = " ".join(filter(None, (event.phase, str(event.batch))))
                self._out.line(self._markup.open_fold(title, event.at))
                self._open = event.phase
            case PhaseFinished() if event.phase is self._open:
                self._close(event.at)
            case RunFinished():
                self._close(event.at)
                for annotation in self._markup.annotations(event):
                    self._out.line(annotation)
        self._plain(event)

    def _close(self, at: datetime) -> None:
        if self._open is not None:
            self._out.line(self._markup.close_fold(at))
            self._open = None


def _error(failure: Failure, hosts: tuple[str, ...]) -> str:
    title = _data(where(failure, hosts) or "aideploy").replace(":", "%3A").replace(",", "%2C")
    message = "\n".join([first_line(failure.what), *harmless_lines(failure.why)])
    return f"::error title={title}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
