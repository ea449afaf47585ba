"""The record of one release in lines for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from aideploy.records.analyses import KnownRecord, lines
from aideploy.records.metrics import measured
from aideploy.records.record import Gate, Record, Review, Training
from aideploy.report.markdown import number
from aideploy.report.wording import bytes_count, duration, joined

_METRICS = 8


def details(record: Record) -> tuple[str, ...]:
    """Return the lines: what it is made of, how it was judged, by whom; what is not known is not
    said."""
    said = [(what, words) for what, words in rows(record) if words]
    width = max((len(what) for what, _ in said), default=0)
    return tuple(f"  {what:<{width}}  {words}" for what, words in said)


def rows(record: Record) -> Iterator[tuple[str, str]]:
    """Yield what is said of it and the words, which are empty where it is not known."""
    author = f"({record.author})" if record.author else ""
    yield "commit", " ".join(filter(None, (record.revision, record.subject, author)))
    if record.prepared_at:
        by = f"by {record.who}" if record.who else ""
        with_tool = f"with {record.tool}" if record.tool else ""
        when = f"{record.prepared_at:%Y-%m-%d %H:%M:%S} UTC"
        yield "prepared", joined(f"{when} {by}".strip(), with_tool, record.repository)
    size = "" if record.model_size is None else bytes_count(record.model_size)
    yield "model", joined(record.model or "", size)
    source = record.model_source or {}
    yield "from", joined(*(f"{name} {value}" for name, value in source.items()))
    if record.training:
        yield from _training(record.training)
    numbers = [
        f"{one.name} {number(one.value)}"
        for one in measured(record.metrics or {})
        if one.slice is None
    ]
    yield "metrics", joined(*numbers[:_METRICS])
    if record.gate:
        yield from _gate(record.gate)
    if record.review:
        yield "review", _review(record.review)
    if record.tests:
        tests = record.tests
        yield "tests", f"{tests.passed} passed, {tests.failed} failed, {tests.skipped} skipped"
    yield "proof", record.proof or ""
    if isinstance(record, KnownRecord):
        for index, line in enumerate(lines(record.analyses)):
            yield "" if index else "analysis", line
    packages = f"{len(record.packages)} packages" if record.packages else ""
    yield "environment", joined(record.interpreter or "", record.dependencies or "", packages)
    yield "image", joined(*(record.image or {}).values())
    driver = f"driver {record.driver}" if record.driver else ""
    yield "host", joined(record.system or "", *record.gpus[:1], driver)


def _training(training: Training) -> Iterator[tuple[str, str]]:
    took = "" if training.seconds is None else f"took {duration(training.seconds)}"
    ended = f"ended {training.ended:%Y-%m-%d %H:%M} UTC" if training.ended else ""
    commit = f"from commit {training.commit[:7]}" if training.commit else ""
    before = "trained for an earlier release" if training.reused else ""
    where = f"on {training.host}" if training.host else ""
    by = f"by {training.who}" if training.who else ""
    job = " ".join(filter(None, (f"job {training.job}", where, by)))
    yield "trained", joined(job, commit, ended, took, before)
    inputs = f"inputs {training.inputs}" if training.inputs else ""
    yield "data", joined(training.data_version or "", inputs)


def _gate(gate: Gate) -> Iterator[tuple[str, str]]:
    against = f"against {gate.baseline}" if gate.baseline else "unopposed"
    limits = f"{sum(row.holds for row in gate.rows)} of {len(gate.rows)} limits hold"
    yield "gate", joined(gate.judgement, *((limits, against) if gate.rows else ()))
    for row in gate.rows:
        yield (
            "",
            joined(f"{row.judged} {row.limit_in_words}: {number(row.value)}", row.verdict.value)
            + (f" ({row.reason})" if row.reason and not row.holds else ""),
        )
    yield "overridden", f"by {gate.overridden_by}" if gate.overridden_by else ""


def _review(review: Review) -> str:
    if review.left_out is not None:
        return f"left out: {review.left_out}"
    by = f"approved by {', '.join(review.approved_by)}" if review.approved_by else ""
    checks = f"{', '.join(review.checks)} green" if review.checks else ""
    return joined(review.pull_request or "", by, checks)
