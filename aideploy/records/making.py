"""The record of a release on one host, put together from what its deploy knows.

Pure; called by the story for every serve host. What would be a secret never gets here: of variables
and secrets only the names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib import metadata
from typing import TYPE_CHECKING

from aideploy.gates.model import Evaluation
from aideploy.phases.facts import HostFacts
from aideploy.phases.fetch import Fetched
from aideploy.phases.image import Image
from aideploy.phases.install import Installed
from aideploy.phases.tests_output import RanTests
from aideploy.phases.train import Trained
from aideploy.records.record import FORMAT, Gate, Record, Review, Serving, Tests, Training

if TYPE_CHECKING:
    from aideploy.settings import Settings
    from aideploy.settings.serve import Serve

# The driver's version is the second of the columns that open.sh asks nvidia-smi for; the last is
# how much memory was free at that moment.
_DRIVER, _LASTING = 1, 3


def made(
    settings: Settings,
    facts: HostFacts,
    fetched: Fetched,
    *,
    release: str,
    at: datetime,
    who: str,
    installed: Installed | None = None,
    image: Image | None = None,
    trained: Trained | None = None,
    model_source: Mapping[str, str] | None = None,
    tested: RanTests | None = None,
    evaluation: Evaluation | None = None,
    review: Mapping[str, object] | None = None,
) -> Record:
    """Return the record.

    Args:
        settings: of the environment.
        facts, fetched, installed: of the host.
        release: its id.
        image: what a container serves it from.
        at: now.
        who: user@machine of whoever deploys.
        model_source: where the model came from, when this deploy did not train it.
        trained, tested, evaluation, review: of the release; None where there was none.
    """
    return Record(
        format=FORMAT,
        id=release,
        app=settings.app.name,
        environment=settings.environment,
        host=facts.host,
        revision=fetched.commit,
        subject=fetched.subject,
        author=fetched.author,
        repository=without_password(str(settings.app.repository)),
        prepared_at=at.replace(microsecond=0),
        who=who,
        controller=who.rpartition("@")[2],
        tool=f"aideploy {metadata.version('aideploy')}",
        interpreter=installed.interpreter if installed else None,
        dependencies=installed.hash if installed else None,
        image=image.record() if image else None,
        packages=packages(installed.packages) if installed else {},
        system=facts.system or None,
        gpus=tuple(_lasting(gpu) for gpu in facts.gpus),
        driver=next(iter(_columns(gpu)[_DRIVER] for gpu in facts.gpus if _has_driver(gpu)), None),
        model=trained.model if trained else None,
        model_size=trained.size if trained else None,
        model_source=_without_passwords(model_source) if model_source else None,
        training=_training(trained),
        metrics=dict(trained.metrics) if trained else None,
        gate=_gate(evaluation),
        review=Review.model_validate(review) if review else None,
        tests=Tests.model_validate(tested.record()) if tested else None,
        golden=str(settings.golden.file) if settings.golden else None,
        serve=_serving(settings.serve) if settings.serve else None,
        replaces=facts.current,
    )


def packages(names: Iterable[str]) -> dict[str, str]:
    """Return the version of each package.

    Args:
        names: of the folders in which installers keep what they installed:
            `scikit_learn-1.5.0.dist-info` (packaging.python.org, "Recording installed projects").
            Names come back as PEP 503 writes them.
    """
    pairs = (name.removesuffix(".dist-info").rpartition("-") for name in names)
    found = {re.sub(r"[-_.]+", "-", name).lower(): version for name, _, version in pairs if name}
    return dict(sorted(found.items()))


def without_password(repository: str) -> str:
    """Return the address without a password or a token that stands before the host in a URL."""
    without = re.sub(r"^(https?://)[^/]*@", r"\1", repository, flags=re.IGNORECASE)
    return re.sub(r"^([a-z+]+://[^/:]*):[^/]*@", r"\1@", without, flags=re.IGNORECASE)


def _without_passwords(values: Mapping[str, str]) -> dict[str, str]:
    return {name: without_password(value) for name, value in values.items()}


def _training(trained: Trained | None) -> Training | None:
    if trained is None or trained.job is None:
        return None
    job = trained.job
    return Training(
        job=job.id,
        host=job.host,
        who=job.who,
        commit=job.revision or None,
        ended=job.ended,
        seconds=job.seconds,
        inputs=job.inputs or None,
        data_version=job.data_version or None,
        reused=trained.reused,
    )


def _gate(evaluation: Evaluation | None) -> Gate | None:
    return Gate.model_validate(evaluation.record()) if evaluation else None


def _serving(serve: Serve) -> Serving:
    return Serving(
        command=serve.command or "",
        strategy=serve.strategy.value,
        manager=serve.manager.value,
        environment=tuple(sorted(serve.environment)),
        secrets=tuple(sorted(serve.secrets)),
    )


def _columns(gpu: str) -> list[str]:
    return [column.strip() for column in gpu.split(",")]


def _has_driver(gpu: str) -> bool:
    return len(_columns(gpu)) > _DRIVER


def _lasting(gpu: str) -> str:
    return ", ".join(_columns(gpu)[:_LASTING])
