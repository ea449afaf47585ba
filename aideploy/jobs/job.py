"""One training job, as its host tells of it, and how people name one.

Pure. What a host says may be torn, old or odd: what cannot be read is left empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from aideploy.errors import UsageError
from aideploy.remote.result import Result

SHORT = 7


class State(StrEnum):
    """How a job is."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    LOST = "LOST"
    """It is gone and did not say how: its host was restarted, or its process was killed."""

    @property
    def is_over(self) -> bool:
        """Whether it does not run any more, and never will."""
        return self not in (State.PENDING, State.RUNNING)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training job.

    Attributes:
        host: where it is.
        id: the beginning of the sha256 over its inputs.
        state: how it is.
        attempt: how often these inputs were tried, this time included; counted from 1.
        revision: the full commit that it trains from.
        who: who began it.
        began, ended: None before it did.
        seconds: how long it took; None before its end.
        exit_status: that of the command; None before its end.
        message: why it did not end well.
        model: the sha256 of its model, or empty.
        inputs: the sha256 over everything that it depends on.
        data_version: what the project's own command says of the data, or empty.
        environment: the name of its environment.
        rank: the number of the host, where several train together; the first of them is 0 and
            has the model.
    """

    host: str
    id: str
    state: State
    attempt: int = 1
    revision: str = ""
    who: str = ""
    began: datetime | None = None
    ended: datetime | None = None
    seconds: float | None = None
    exit_status: int | None = None
    message: str = ""
    model: str = ""
    inputs: str = ""
    data_version: str = ""
    environment: str = ""
    rank: int = 0

    @property
    def short(self) -> str:
        """The id as people see it."""
        return self.id[:SHORT]


def read_job(host: str, result: Result) -> Job:
    """Make a typed job of what a script emitted of one.

    Args:
        host: the name of the host.
        result: with `job`, `state`, `spec` and, of a job that ended, `status`; one that runs may
            have `started`.
    """
    spec, status = _object(result.text("spec")), _object(result.text("status"))
    seconds, code = status.get("seconds"), status.get("exit_status")
    attempt, rank = spec.get("attempt"), spec.get("rank")
    return Job(
        host=host,
        id=result.text("job"),
        state=_state(result.text("state")),
        attempt=attempt if isinstance(attempt, int) else 1,
        revision=_text(spec, "revision"),
        who=_text(spec, "who"),
        began=_moment(_text(status, "began") or result.text("started")),
        ended=_moment(_text(status, "ended")),
        seconds=seconds if isinstance(seconds, float) else None,
        exit_status=code if isinstance(code, int) else None,
        message=_text(status, "message"),
        model=_text(status, "model"),
        inputs=_text(spec, "inputs"),
        data_version=_text(spec, "data_version"),
        environment=_text(spec, "environment"),
        rank=rank if isinstance(rank, int) else 0,
    )


def read_jobs(host: str, result: Result) -> tuple[Job, ...]:
    """Make typed jobs of what `job_list.sh` emitted: each begins with a fact `job`."""
    return tuple(read_job(host, Result("job", tuple(facts))) for facts in _grouped(result.facts))


def newest_first(jobs: Iterable[Job]) -> tuple[Job, ...]:
    """Return the jobs that live, then the others, in either group those that began last first."""
    never = datetime.min.replace(tzinfo=UTC)
    return tuple(
        sorted(jobs, key=lambda job: (not job.state.is_over, job.began or never), reverse=True)
    )


def find(jobs: Iterable[Job], name: str | None) -> Job:
    """Return the job that is meant.

    Args:
        jobs: all that there are.
        name: the beginning of an id; None for the one that runs, or else the newest.

    Raises:
        UsageError: there is none, or the beginning fits several.
    """
    ordered = newest_first(jobs)
    if not ordered:
        raise UsageError("there are no jobs", next_step="fab train.submit, or fab deploy")
    if name is None:
        name = ordered[0].id
    fitting = [job for job in ordered if name and job.id.startswith(name)]
    if len({job.id for job in fitting}) == 1:
        # Of those that train together the first host has the model.
        return min(fitting, key=lambda job: job.rank)
    known = ", ".join(dict.fromkeys(job.short for job in fitting or ordered))
    raise UsageError(
        f"{name!r} fits several jobs" if fitting else f"there is no job {name!r}",
        next_step=f"choose from: {known}",
    )


def parts_of(jobs: Iterable[Job], job: Job) -> tuple[Job, ...]:
    """Return a job on all the hosts that train it together, the first of them first."""
    return tuple(sorted((one for one in jobs if one.id == job.id), key=lambda one: one.rank))


def _grouped(facts: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    group: list[tuple[str, str]] = []
    for key, value in facts:
        if key == "job" and group:
            yield group
            group = []
        group.append((key, value))
    if group:
        yield group


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(values: dict[str, Any], key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""


def _state(text: str) -> State:
    try:
        return State(text)
    except ValueError:
        return State.LOST


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
