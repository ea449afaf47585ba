"""The train phase: the model of the release, trained by a job or found where it was trained before.

Pure: which scripts to run and what their answers mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from aideploy.gates.metrics import NoMetrics, kept, parse
from aideploy.jobs import scripts as jobs
from aideploy.jobs.job import Job, read_job
from aideploy.remote.result import Result
from aideploy.remote.script import Script

if TYPE_CHECKING:
    from aideploy.settings import Settings
    from aideploy.settings.train import Train

MODEL = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Trained:
    """The model that the training made.

    Args:
        model: the sha256 over its files.
        size: in bytes.
        metrics: what the training wrote of itself; empty when it wrote nothing that is JSON.
        metrics_text: the same as it was written, for the gate; None when it wrote nothing.
        notices: what a person should know.
        job: that trained it; None where the model comes from elsewhere.
        reused: whether it was trained before, from the same inputs.
    """

    model: str
    size: int
    metrics: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    metrics_text: bytes | None = None
    job: Job | None = None
    reused: bool = False

    def __str__(self) -> str:
        numbers = [
            f"{name} {value:.4g}"
            for name, value in self.metrics.items()
            if isinstance(value, float)
        ]
        before = ["trained before"] if self.reused else []
        return " ".join([f"model {self.model[:7]}", *numbers[:3], *before])

    @property
    def why_reused(self) -> str:
        """Why nothing was trained, in words; empty where something was."""
        if not self.reused or self.job is None:
            return ""
        when = f" of {self.job.ended:%Y-%m-%d %H:%M} UTC" if self.job.ended else ""
        data = "" if self.job.data_version else " ([train] data_version would tell new data)"
        return f"trained before: job {self.job.short}{when}, inputs unchanged{data}"


def scripts(
    settings: Settings, train: Train, release: str, revision: str, who: str
) -> tuple[Script, ...]:
    """Return the scripts that train, in turn and in one round trip; `read` reads their results.

    The job lives on without them: they begin it or find it, follow it, and keep its model.

    Args:
        settings: of the environment.
        train: how to train.
        release: the id of the release.
        revision: the full commit, given to the training as $REVISION.
        who: user@machine of whoever deploys.
    """
    return (
        jobs.submit(settings, train, release, revision, who),
        jobs.follow(settings, release=release),
        jobs.keep(settings, train, release),
    )


def read(host: str, results: Sequence[Result]) -> Trained:
    """Make a typed answer of what the scripts emitted.

    Args:
        host: the name of the host.
        results: of `scripts`, in their order.
    """
    submitted, followed, kept_model = results
    return replace(
        read_kept(kept_model),
        job=read_job(host, followed),
        reused=submitted.text("reused") == "yes",
    )


def read_kept(result: Result) -> Trained:
    """Make a typed answer of what a script emitted that put a model among the models."""
    text = result.data("metrics") if result.all("metrics") else None
    metrics, notices = _metrics(text)
    return Trained(result.exact("model", MODEL), result.number("bytes"), metrics, notices, text)


def _metrics(text: bytes | None) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Return the metrics that can be kept, and what a person should know of the others."""
    if not text:
        return {}, ()
    try:
        metrics, lost = kept(parse(text))
    except NoMetrics as error:
        return {}, (f"the metrics are not kept: the file {error}",)
    return metrics, tuple(f"the metric {name} is not kept: it is no finite number" for name in lost)
