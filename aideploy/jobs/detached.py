"""What a person has to know when the command ends and the job that it followed does not.

Ctrl-C and a lost line end the following, never the training; the last word has to say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from aideploy.errors import AideployError, ConnectionLost, Interrupted
from aideploy.jobs.job import SHORT
from aideploy.remote.result import ScriptFailed
from aideploy.remote.session import Session

T = TypeVar("T")


class Followed:
    """The job that a command follows: its id is known once its host has said it."""

    def __init__(self) -> None:
        self._id = ""

    def named_by(self, work: Callable[[Session], T]) -> Callable[[Session], T]:
        """Return the same work; when it is cut short, it is remembered which job it was about."""

        def noting(session: Session) -> T:
            try:
                return work(session)
            except ScriptFailed as error:
                self._id = error.result.text("job")
                raise

        return noting

    @property
    def short(self) -> str:
        """The id as people see it; empty while it is not known."""
        return self._id[:SHORT]


@contextmanager
def detached_job(host: str) -> Iterator[Followed]:
    """Let whatever ends the body say what becomes of the job.

    Args:
        host: where it runs.
    """
    job = Followed()
    try:
        yield job
    except Interrupted as error:
        raise interrupted(host, job.short, error) from error
    except AideployError as error:
        if any(isinstance(cause, ConnectionLost) for cause in error.causes):
            error.next_step = (
                "a training that has begun goes on while the host is up: "
                "run the same command again to follow it (fab train.status, fab train.cancel)"
            )
        raise


def interrupted(host: str, job: str, error: Interrupted) -> Interrupted:
    """Return what Ctrl-C means for the job.

    Args:
        host: where it runs.
        job: its short id; empty when it may not have begun.
        error: the interruption.
    """
    if not job:
        return error
    return Interrupted(
        f"{error.what}; the job {job} goes on on {host}",
        next_step="run the same command again to go on with it; "
        f"to watch it: fab train.attach --job {job}; to end it: fab train.cancel --job {job}",
        phase=error.phase,
    )
