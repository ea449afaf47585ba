"""What release.json says: where one release on one host came from, in one versioned shape.

Written once, before the release gets traffic, and never changed; docs/auditing.md documents it. It
is read for years, also what older versions wrote and what a host damaged: a value that is missing
or is not what it should be counts as unknown, and takes nothing else with it.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from aideploy.gates.model import Row

FORMAT = 1
"""Counts up when a key changes its meaning; new keys alone do not change it. 0: before this."""

# pydantic writes at most 255 levels; nobody means so many.
_DEEPEST = 100


def _not_too_deep(values: dict[str, Any]) -> dict[str, Any]:
    level: list[Any] = [values]
    for _ in range(_DEEPEST):
        inside = (one.values() if isinstance(one, dict) else one for one in level)
        level = [one for some in inside for one in some if isinstance(one, dict | list)]
        if not level:
            return values
    raise ValueError("nested too deep")


Values = Annotated[dict[str, Any], AfterValidator(_not_too_deep)]


class Part(BaseModel):
    """An object in the record; every key has a default, which means that it is not known."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    @field_validator("*", mode="wrap")
    @classmethod
    def _as_far_as_it_is_known(
        cls, value: object, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        try:
            return handler(value)
        except ValidationError:
            return cls.model_fields[str(info.field_name)].get_default(call_default_factory=True)


class Training(Part):
    """The job that trained the model.

    Args:
        job: its id.
        host: where it ran.
        who: who began it.
        commit: that it was trained from, which may be an older one than the release's.
        ended: when.
        seconds: how long it took.
        inputs: the hash of what it was made from.
        data_version: what [train] data_version said.
        reused: whether it was trained for an earlier release.
    """

    job: str = ""
    host: str = ""
    who: str = ""
    commit: str | None = None
    ended: datetime | None = None
    seconds: float | None = None
    inputs: str | None = None
    data_version: str | None = None
    reused: bool = False


class Gate(Part):
    """The verdict of the model gate; see `aideploy.gates.model.Evaluation`."""

    judgement: str = ""
    blessed: bool = False
    baseline: str | None = None
    overridden_by: str | None = None
    rows: tuple[Row, ...] = ()


class Review(Part):
    """What the review gate said, or why it was left out."""

    pull_request: str | None = None
    approved_by: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    left_out: str | None = None


class Tests(Part):
    """How many of the project's own tests came out how, and how long they took."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0


class Serving(Part):
    """How the release is served; of variables and secrets only the names."""

    command: str = ""
    strategy: str = ""
    manager: str = ""
    environment: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


class Record(Part):
    """Where one release on one host came from.

    Args:
        format: of this record; see `FORMAT`.
        id, app, environment, host: which release, and where.
        revision, subject, author, repository: the commit.
        prepared_at, who, controller, tool: when, by whom (user@machine), on which machine, and with
            which version of aideploy.
        interpreter, dependencies, packages: the environment: path and version, its hash, and the
            version of every package in it.
        image: the id of the container's image, and its source: a name with its digest.
        system, gpus, driver: the host's operating system, GPUs, and the driver of these.
        model, model_size, model_source: the sha256 over its files, its bytes, and where it came
            from when it was not trained by this deploy.
        training, metrics: how it was made, and what the training said of it.
        gate, review, tests, golden: how it was judged; `golden` is the file of golden requests.
        proof: how it proved itself in the staged slot, in words.
        serve: how it is served.
        replaces: the release that was live on this host before.
    """

    format: int = 0
    id: str = ""
    app: str = ""
    environment: str = ""
    host: str = ""
    revision: str = ""
    subject: str = ""
    author: str = ""
    repository: str = ""
    prepared_at: datetime | None = None
    who: str = ""
    controller: str | None = None
    tool: str | None = None
    interpreter: str | None = None
    dependencies: str | None = None
    packages: dict[str, str] = {}
    image: dict[str, str] | None = None
    system: str | None = None
    gpus: tuple[str, ...] = ()
    driver: str | None = None
    model: str | None = None
    model_size: int | None = None
    model_source: Values | None = None
    training: Training | None = None
    metrics: Values | None = None
    gate: Gate | None = None
    review: Review | None = None
    tests: Tests | None = None
    golden: str | None = None
    proof: str | None = None
    serve: Serving | None = None
    replaces: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return self.model_dump(mode="json")


def read_record(data: bytes) -> Record | None:
    """Return what a release.json says; None where it is no JSON object."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return Record.model_validate(found) if isinstance(found, dict) else None
