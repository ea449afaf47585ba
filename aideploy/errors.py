"""Every way a run can end badly: one class per cause.

Raised anywhere, caught in one place (`aideploy.tasks.running`), which turns an error into
the last words on the screen and an exit status. An error says what happened, where, why, and what
to do next; it never carries a traceback to the user.
"""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """The exit statuses of every command, as promised in docs/design.md section 8."""

    DONE = 0
    USAGE = 2
    NOT_READY = 3
    REFUSED = 4
    ROLLED_BACK = 5
    NEEDS_PERSON = 6
    LOCKED = 7
    HELD = 8
    INTERRUPTED = 130


class AideployError(Exception):
    """Something a person has to know about.

    Args:
        what: one sentence, what happened.
        why: the cause, as far as it is known; may have several lines.
        next_step: what to type or to change next.
        host: the name of the host it happened on, if it was one.
        phase: the phase it happened in, if it was one.
        tail: the last lines that the failing program wrote.
        causes: the errors behind it, one for each host that failed.
    """

    status: ExitStatus = ExitStatus.NOT_READY

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        next_step: str = "",
        host: str | None = None,
        phase: str | None = None,
        tail: tuple[str, ...] = (),
        causes: tuple[AideployError, ...] = (),
    ) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.next_step = next_step
        self.host = host
        self.phase = phase
        self.tail = tail
        self.causes = causes


class UsageError(AideployError):
    """The command line asks for something that cannot be."""

    status = ExitStatus.USAGE


class SettingsError(UsageError):
    """hosts.toml is wrong; `problems` holds every mistake found, not only the first."""

    def __init__(self, what: str, *, problems: tuple[str, ...] = (), next_step: str = "") -> None:
        super().__init__(what, why="\n".join(problems), next_step=next_step)
        self.problems = problems


class HostNotReady(AideployError):
    """A host cannot take part: something it needs is missing."""


class Unreachable(HostNotReady):
    """No session could be opened: name, address, port, user, key or host key."""


class ConnectionLost(HostNotReady):
    """A session ended before it was told to."""


class PhaseFailed(AideployError):
    """A script of a phase ended badly before anything was switched."""


class Refused(AideployError):
    """The release was refused before it got traffic: by a gate, or by its proof at stage."""

    status = ExitStatus.REFUSED


class RolledBack(AideployError):
    """The release failed after the switch began; every host is back on its previous release."""

    status = ExitStatus.ROLLED_BACK


class Aborted(AideployError):
    """Somebody asked, from another terminal, that the rollout goes back."""

    status = ExitStatus.ROLLED_BACK


class AnalysisFailed(AideployError):
    """Prometheus shows that the release is worse than it may be."""

    status = ExitStatus.ROLLED_BACK


class Held(AideployError):
    """The rollout stopped half-way; a person decides how it goes on."""

    status = ExitStatus.HELD


class NeedsPerson(AideployError):
    """The release failed and at least one host could not be brought back."""

    status = ExitStatus.NEEDS_PERSON


class Locked(AideployError):
    """Somebody else holds the lock."""

    status = ExitStatus.LOCKED


class Interrupted(AideployError):
    """The user pressed Ctrl-C, or the process was told to stop."""

    status = ExitStatus.INTERRUPTED


def words_of(error: BaseException) -> str:
    """Return what an error that is not ours says, or at least its kind."""
    return str(error) or type(error).__name__
