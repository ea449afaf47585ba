"""Two releases side by side: packages, metrics, limits, and what else is not the same. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from aideploy.gates.model import Row
from aideploy.records.analyses import KnownRecord, last_verdicts
from aideploy.records.metrics import measured
from aideploy.records.record import Gate, Record, Serving, Training


@dataclass(frozen=True)
class Change:
    """Something that is not the same; empty where a release has none, or its record none of it."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class MetricChange:
    """A metric in both; `change` is after minus before, None where one of them is missing."""

    metric: str
    slice: str | None
    before: float | None
    after: float | None
    change: float | None


@dataclass(frozen=True)
class LimitChange:
    """A limit of the model gate whose verdict is not the same; empty where there was none."""

    judged: str
    limit: str
    before: str
    after: str


@dataclass(frozen=True)
class Comparison:
    """What differs between two releases; the metrics and what came of each check of the live
    analysis are all there, the rest only if it differs."""

    metrics: tuple[MetricChange, ...]
    packages: tuple[Change, ...]
    gate: tuple[LimitChange, ...]
    changes: tuple[Change, ...]
    analysis: tuple[Change, ...] = ()


def compared(before: Record, after: Record) -> Comparison:
    """Return what differs."""
    return Comparison(
        metrics=tuple(_metrics(before, after)),
        packages=tuple(_differing(before.packages, after.packages)),
        gate=tuple(_limits(before.gate, after.gate)),
        changes=tuple(_differing(_facts(before), _facts(after))),
        analysis=tuple(_analysis(before, after)),
    )


def _metrics(before: Record, after: Record) -> Iterator[MetricChange]:
    old, new = (
        {(one.slice, one.name): one.value for one in measured(record.metrics or {})}
        for record in (before, after)
    )
    for slice_name, name in dict.fromkeys([*new, *old]):
        key = slice_name, name
        first, second = old.get(key), new.get(key)
        change = None if first is None or second is None else second - first
        yield MetricChange(name, slice_name, first, second, change)


def _analysis(before: Record, after: Record) -> Iterator[Change]:
    old, new = (
        last_verdicts(record.analyses) if isinstance(record, KnownRecord) else {}
        for record in (before, after)
    )
    for name in dict.fromkeys([*new, *old]):
        yield Change(name, old.get(name, ""), new.get(name, ""))


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for what in dict.fromkeys([*after, *before]):
        old, new = before.get(what, ""), after.get(what, "")
        if old != new:
            yield Change(what, old, new)


def _limits(before: Gate | None, after: Gate | None) -> Iterator[LimitChange]:
    old, new = (
        {(row.judged, row.limit_in_words): _verdict(row) for row in (gate.rows if gate else ())}
        for gate in (before, after)
    )
    for key in dict.fromkeys([*new, *old]):
        if old.get(key) != new.get(key):
            yield LimitChange(*key, old.get(key, ""), new.get(key, ""))


def _verdict(row: Row) -> str:
    return row.verdict.value


def _facts(record: Record) -> dict[str, str]:
    """Return, in words, everything about a release that may be another one in the next."""
    training = record.training or Training()
    serve = record.serve or Serving()
    gate = record.gate or Gate()
    known = {
        "commit": record.revision,
        "model": record.model,
        "model size": record.model_size,
        "model source": _in_words(record.model_source or {}),
        "data version": training.data_version,
        "training job": training.job,
        "trained from": training.commit,
        "training inputs": training.inputs,
        "model gate": gate.judgement,
        "baseline": gate.baseline,
        "overridden by": gate.overridden_by,
        "golden requests": record.golden,
        "interpreter": record.interpreter,
        "environment": record.dependencies,
        "image": _in_words(record.image or {}),
        "system": record.system,
        "GPUs": "; ".join(record.gpus),
        "GPU driver": record.driver,
        "serve command": serve.command,
        "strategy": serve.strategy,
        "service manager": serve.manager,
        "variables": " ".join(serve.environment),
        "secrets": " ".join(serve.secrets),
        "repository": record.repository,
        "made with": record.tool,
    }
    return {what: "" if value is None else str(value) for what, value in known.items()}


def _in_words(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
