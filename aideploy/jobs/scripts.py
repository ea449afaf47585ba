"""Which scripts look after training jobs, and with which arguments. Pure."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aideploy.jobs.gang import trainers_of
from aideploy.phases.programs import program
from aideploy.remote.script import Argument, Script, Secret
from aideploy.report.next_command import typed
from aideploy.settings.train import Engine

if TYPE_CHECKING:
    from aideploy.jobs.gang import Gang
    from aideploy.settings import Settings
    from aideploy.settings.train import Train

# A job may be another engine's than the one of the settings: all of them are known everywhere.
_ENGINES = ("engine_local", "engine_slurm", "engine_ray", "engine_torchrun")
_JOBS = ("patience", "job_base", "jobs", *_ENGINES)
_BEGINNING = ("release", "commits", *_JOBS, "job_prepare")


def submit(settings: Settings, train: Train, release: str, revision: str, who: str) -> Script:
    """Return the script that finds the job with these inputs, or begins it.

    Args:
        settings: of the environment.
        train: how to train.
        release: the id of the release, whose environment is used.
        revision: the full commit.
        who: user@machine of whoever asks for it.
    """
    spec = _spec(settings, train, release, revision, who)
    return Script(
        "job_submit",
        (
            *_place(settings, release, revision),
            train.engine,
            json.dumps(spec),
            _run(settings, train, release, revision).standalone_text(),
            train.command,
            str(train.outputs),
            str(train.metrics),
            train.data_version or "",
            *_limits(train),
            str(len(trainers_of(settings)) if train.engine is Engine.TORCHRUN else 0),
            str(len(train.inputs)),
            *train.inputs,
            *_variables(train),
        ),
        libraries=(*_BEGINNING, "job_key"),
    )


def join(
    settings: Settings,
    train: Train,
    release: str,
    revision: str,
    who: str,
    *,
    gang: Gang,
    rank: int,
    leader: str,
) -> Script:
    """Return the script that begins a host's part of a training that several do together.

    Args:
        settings: of the environment.
        train: how to train.
        release: the id of the release, whose environment is used.
        revision: the full commit.
        who: user@machine of whoever asks for it.
        gang: what the first host told.
        rank: the number of this host; the first is 0 and needs no such script.
        leader: the name of the first host.
    """
    spec = _spec(settings, train, release, revision, who) | {"rank": rank, "leader": leader}
    return Script(
        "job_join",
        (
            *_place(settings, release, revision),
            json.dumps(spec),
            _run(settings, train, release, revision, makes_the_model=False).standalone_text(),
            gang.job,
            gang.inputs,
            gang.data_version,
            str(rank),
            gang.meeting,
            *_limits(train),
            *_variables(train),
        ),
        libraries=_BEGINNING,
    )


def _place(settings: Settings, release: str, revision: str) -> tuple[str, ...]:
    app = settings.app
    return str(app.deploy_to), app.name, release, revision, str(app.subdirectory or "")


def _limits(train: Train) -> tuple[str, ...]:
    limits = train.resources
    return str(limits.memory or 0), str(limits.cpus or 0), str(limits.gpus)


def _spec(
    settings: Settings, train: Train, release: str, revision: str, who: str
) -> dict[str, object]:
    return {
        "app": settings.app.name,
        "revision": revision,
        "release": release,
        "who": who,
        "submitted": datetime.now(UTC).isoformat(timespec="seconds"),
        "engine": train.engine,
        "command": train.command,
        "outputs": str(train.outputs),
        "metrics": str(train.metrics),
        "variables": sorted(train.environment),
        "timeout": train.timeout.total_seconds(),
        "resources": train.resources.model_dump(),
    }


def _variables(train: Train) -> list[Argument]:
    return [Secret(f"{name}={value}") for name, value in train.environment.items()]


def _run(
    settings: Settings, train: Train, release: str, revision: str, *, makes_the_model: bool = True
) -> Script:
    """Return what runs the training, on its own, when nobody is connected."""
    limits = train.resources
    # torchrun starts a process for each GPU.
    processes = max(1, limits.gpus) if train.engine is Engine.TORCHRUN else 0
    return Script(
        "job_run",
        (
            train.command,
            str(train.outputs) if makes_the_model else "",
            str(train.metrics),
            str(math.ceil(train.timeout.total_seconds())),
            str(limits.memory or 0),
            str(limits.cpus or 0),
            str(limits.gpus),
            revision,
            release,
            str(processes),
            settings.install.python,
            program("log_keeper"),
            str(train.log_limit),
        ),
        libraries=("release", "patience", "job_base"),
    )


def follow(settings: Settings, *, release: str = "", job: str = "") -> Script:
    """Return the script that shows a job's log until its end; it fails where the job failed.

    Args:
        settings: of the environment.
        release: whose job is meant.
        job: the id of the job that is meant, where it is not a release's.
    """
    words = (str(settings.app.deploy_to), release, job, typed("fab train.logs", settings))
    return Script("job_follow", words, libraries=_JOBS)


def keep(settings: Settings, train: Train, release: str) -> Script:
    """Return the script that puts the model of a release's job among the models."""
    return Script(
        "job_keep",
        (str(settings.app.deploy_to), release, str(train.outputs)),
        libraries=("release", *_JOBS),
    )


def list_all(settings: Settings) -> Script:
    """Return the script that tells of every job."""
    return Script("job_list", (str(settings.app.deploy_to),), libraries=_JOBS)


def log(settings: Settings, job: str, attempt: int | None, lines: int) -> Script:
    """Return the script that reads the end of a job's log.

    Args:
        settings: of the environment.
        job: its id.
        attempt: the number of an attempt; None for the last.
        lines: at most so many.
    """
    number = "" if attempt is None else str(attempt)
    return Script(
        "job_log", (str(settings.app.deploy_to), job, number, str(lines)), libraries=_JOBS
    )


def cancel(settings: Settings, job: str, who: str) -> Script:
    """Return the script that ends a job."""
    return Script("job_cancel", (str(settings.app.deploy_to), job, who), libraries=_JOBS)


def prune(settings: Settings) -> Script:
    """Return the script that deletes old jobs."""
    keep = str(settings.app.keep_releases)
    return Script("job_prune", (str(settings.app.deploy_to), keep), libraries=_JOBS)
