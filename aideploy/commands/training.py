"""`fab train.*`: begin a training job, follow it, look at it, end it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from aideploy.commands.asking import Absent, ask
from aideploy.delivery.endings import judged
from aideploy.delivery.ganging import Together, followers, submitters
from aideploy.errors import Interrupted, UsageError
from aideploy.events import Phase
from aideploy.jobs import scripts
from aideploy.jobs.detached import detached_job
from aideploy.jobs.job import Job, State, find, newest_first, parts_of, read_job, read_jobs
from aideploy.remote.fleet import FleetError
from aideploy.remote.result import Result
from aideploy.remote.script import Script
from aideploy.remote.session import Session
from aideploy.report.facts import Table, Text
from aideploy.report.wording import duration, joined
from aideploy.running import Run
from aideploy.settings import Role, Settings
from aideploy.settings.train import Train
from aideploy.story import Deployment

MOST_LINES = 100_000
_COLUMNS = ("JOB", "HOST", "STATE", "ATTEMPT", "BEGAN (UTC)", "TOOK", "COMMIT", "MODEL", "BY")


@dataclass(frozen=True)
class Training:
    """All jobs on the train hosts, those that live first, and who did not answer."""

    jobs: tuple[Job, ...]
    absent: tuple[Absent, ...]

    def shown(self) -> tuple[Table | Text, ...]:
        """Return the table, and why jobs did not end well."""
        rows = (
            *(_row(job) for job in self.jobs),
            *(("", one.host, "does not answer", *[""] * 6) for one in self.absent),
        )
        if not rows:
            return (Text("", ("no jobs yet",)),)
        reasons = tuple(f"{job.short}: {job.message}" for job in self.jobs if job.message)
        return Table(_COLUMNS, rows), Text("", reasons)


@dataclass(frozen=True)
class JobLog:
    """The last lines of a job's log."""

    job: Job
    attempt: int
    lines: tuple[str, ...]

    def shown(self) -> tuple[Table | Text, ...]:
        """Return the lines."""
        return (Text("", self.lines),)


def training_only(settings: Settings) -> Settings:
    """Return the settings with the train hosts alone, and nothing to serve.

    Raises:
        UsageError: nothing is trained, or on none of the chosen hosts.
    """
    if settings.train is None:
        raise UsageError("there is nothing to train", next_step="write a [train] table")
    hosts = settings.with_role(Role.TRAIN)
    if not hosts:
        raise UsageError(
            "none of the chosen hosts has the role train",
            next_step="add a host with the role train to --only, or leave --only out",
        )
    return replace(settings, hosts=hosts, serve=None, golden=None)


def submit(run: Run, revision: str | None, *, wait_lock: bool) -> None:
    """Fetch and install on the train hosts, begin the job or find it, and do not wait for its end.

    Args:
        run: the command; its settings are those of `training_only`.
        revision: a branch, a tag or a commit; None for [app] branch.
        wait_lock: wait for a lock that somebody else holds.

    Raises:
        AideployError: a phase failed.
    """
    train = _train(run)
    story = Deployment(run.settings, run.fleet, run.events, who=run.who)
    try:
        story.open(wait_lock=wait_lock)
        story.fetch(revision)
        story.install()
        together = submitters(
            run.settings, train, run.events, story.release, story.revision, run.who
        )
        submitted = _run_together(run, together)
    finally:
        run.hosts = story.states
    name = joined(*together.hosts)
    job = submitted.text("job")[:7]
    if submitted.text("reused") == "yes":
        run.headline = f"job {job} on {name} has trained this before, inputs unchanged"
        run.next_step = "fab deploy"
    else:
        goes = "trains already" if submitted.text("attached") == "yes" else "trains"
        run.headline = f"job {job} {goes} on {name}"
        run.next_step = f"fab train.attach --job {job}"


def attach(run: Run, name: str | None) -> None:
    """Show the log of a job until its end; end as it ended.

    Args:
        run: the command.
        name: the beginning of an id; None for the job that runs, or else the newest.

    Raises:
        UsageError: there is no such job.
        AideployError: it did not end well.
        Interrupted: Ctrl-C; the job goes on.
    """
    job, *others = _find(run, name)
    if job.state.is_over:
        others = []
    names = [job.host, *(one.host for one in others if one.state is not State.SUCCEEDED)]
    together = followers(run.settings, run.events, names, job.id)
    try:
        with detached_job(job.host):
            ended = read_job(job.host, _run_together(run, together))
    except Interrupted as error:
        raise Interrupted(
            f"not followed any more; the job {job.short} goes on on {job.host}",
            next_step=f"fab train.attach --job {job.short} to follow it again, "
            f"or fab train.cancel --job {job.short} to end it",
            phase=error.phase,
        ) from error
    took = f" in {duration(ended.seconds)}" if ended.seconds is not None else ""
    run.headline = f"job {ended.short} on {ended.host} ended well{took}: model {ended.model[:7]}"


def status(run: Run) -> Training:
    """Return the jobs of every train host that answers."""
    _train(run)
    results, absent = ask(run, lambda _: (scripts.list_all(run.settings),))
    return Training(newest_first(_read(results)), absent)


def log(run: Run, name: str | None, attempt: int | None, lines: int) -> JobLog:
    """Return the last lines of a job's log.

    Args:
        run: the command.
        name: the beginning of an id; None for the job that runs, or else the newest.
        attempt: which attempt's; None for the last.
        lines: at most so many.

    Raises:
        UsageError: there is no such job, or no such attempt.
    """
    job, *_ = _find(run, name)
    if attempt is not None and attempt > job.attempt:
        raise UsageError(
            f"job {job.short} has no attempt {attempt}",
            next_step=f"choose from 1 to {job.attempt}; the last one is shown without --attempt",
        )
    number = None if attempt in (None, job.attempt) else attempt
    script = scripts.log(run.settings, job.id, number, lines)
    result = _run_on(run, [job.host], script)[job.host]
    text = result.data("log").decode("utf-8", "replace").rstrip("\n")
    return JobLog(job, attempt or job.attempt, tuple(text.split("\n")) if text else ())


def cancel(run: Run, name: str | None) -> None:
    """End a job; one that has ended already is left as it is, and the command says so.

    Args:
        run: the command.
        name: the beginning of an id; None for the job that runs.

    Raises:
        UsageError: there is no such job.
    """
    parts = _find(run, name)
    job = parts[0]
    names = [one.host for one in parts if not one.state.is_over or one.state is State.LOST]
    if not names:
        run.headline = f"job {job.short} had ended before ({job.state}); nothing was cancelled"
        return
    results = _run_on(run, names, scripts.cancel(run.settings, job.id, run.who))
    states = {result.text("state") for result in results.values()}
    where = joined(*names)
    if states == {State.CANCELLED}:
        run.headline = f"job {job.short} on {where} is cancelled; nothing of it runs any more"
    else:
        run.headline = f"job {job.short} on {where} has ended: {joined(*sorted(states))}"
    run.next_step = "fab deploy, or fab train.submit, begins it anew"


def _find(run: Run, name: str | None) -> tuple[Job, ...]:
    """Ask the hosts for their jobs, which opens their sessions, too.

    Returns:
        the job that is meant: on one host, or on all that train it together.
    """
    _train(run)
    results, _ = ask(run, lambda _: (scripts.list_all(run.settings),))
    if run.failure and not results:
        raise run.failure
    known = _read(results)
    return parts_of(known, find(known, name))


def _read(results: Mapping[str, list[Result]]) -> list[Job]:
    return [job for name, result in results.items() for job in read_jobs(name, result[0])]


def _run_on(run: Run, hosts: Iterable[str], script: Script) -> Mapping[str, Result]:
    def work(session: Session) -> Result:
        return session.run(Phase.TRAIN, script)[0]

    try:
        return run.fleet.each(Phase.TRAIN, work, hosts)
    except FleetError as error:
        raise judged(error) from error


def _run_together(run: Run, together: Together[Result]) -> Result:
    try:
        run.fleet.each(Phase.TRAIN, together.work, together.hosts)
        return together.made
    except FleetError as error:
        raise judged(error) from error


def _train(run: Run) -> Train:
    # `training_only` has refused settings without it.
    assert run.settings.train is not None, "[train] is missing"
    return run.settings.train


def _row(job: Job) -> tuple[str, ...]:
    return (
        job.short,
        job.host,
        job.state,
        str(job.attempt),
        f"{job.began:%Y-%m-%d %H:%M}" if job.began else "",
        duration(job.seconds) if job.seconds is not None else "",
        job.revision[:7],
        job.model[:7],
        job.who,
    )
