"""The train phase: the model of the release, kept under the hash of its content.

Pure: which scripts to run and what their answers mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aideploy.gates.metrics import NoMetrics, kept, parse
from aideploy.remote.result import Result
from aideploy.remote.script import Script, Secret

if TYPE_CHECKING:
    from aideploy.settings import Settings
    from aideploy.settings.train import Train


@dataclass(frozen=True)
class Trained:
    """The model that the training made.

    Args:
        model: the sha256 over its files.
        size: in bytes.
        metrics: what the training wrote of itself; empty when it wrote nothing that is JSON.
        metrics_text: the same as it was written, for the gate; None when it wrote nothing.
        notices: what a person should know.
    """

    model: str
    size: int
    metrics: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    metrics_text: bytes | None = None

    def __str__(self) -> str:
        numbers = [
            f"{name} {value:.4g}"
            for name, value in self.metrics.items()
            if isinstance(value, float)
        ]
        return " ".join([f"model {self.model[:7]}", *numbers[:3]])


def script(settings: Settings, train: Train, release: str, revision: str) -> Script:
    """Return the script that trains.

    Args:
        settings: of the environment.
        train: how to train.
        release: the id of the release.
        revision: the full commit, given to the training as $REVISION.
    """
    return Script(
        "train",
        (
            str(settings.app.deploy_to),
            release,
            train.command,
            str(train.outputs),
            str(train.metrics),
            revision,
            *(Secret(f"{name}={value}") for name, value in train.environment.items()),
        ),
        libraries=("release",),
        limit=train.timeout,
    )


def read(result: Result) -> Trained:
    """Make a typed answer of what the training's script emitted."""
    model, size = result.text("model"), result.number("bytes")
    text = result.data("metrics") if result.all("metrics") else None
    if not text:
        return Trained(model, size, metrics_text=text)
    try:
        metrics, lost = kept(parse(text))
    except NoMetrics as error:
        notices: tuple[str, ...] = (f"the metrics are not kept: the file {error}",)
        return Trained(model, size, notices=notices, metrics_text=text)
    notices = tuple(f"the metric {name} is not kept: it is no finite number" for name in lost)
    return Trained(model, size, metrics, notices, text)
