"""What a host tells of its jobs, and how people name one."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from aideploy.errors import UsageError
from aideploy.jobs.job import Job, State, find, newest_first, parts_of, read_job, read_jobs
from aideploy.phases.train import Trained
from aideploy.remote.result import Result

SPEC = {"revision": "abc", "who": "ann@here", "attempt": 2, "inputs": "f" * 64, "data_version": ""}
STATUS = {
    "state": "SUCCEEDED",
    "exit_status": 0,
    "message": "",
    "began": "2026-01-02T03:04:05Z",
    "ended": "2026-01-02T03:05:05Z",
    "seconds": 60.25,
    "model": "m" * 64,
}


def job(name: str, state: State = State.SUCCEEDED, hour: int = 1) -> Job:
    return Job(host="h1", id=name, state=state, began=datetime(2026, 1, 1, hour, tzinfo=UTC))


def test_a_job_is_what_its_files_say() -> None:
    facts = (
        ("job", "0123456789abcdef"),
        ("state", "SUCCEEDED"),
        ("spec", json.dumps(SPEC)),
        ("status", json.dumps(STATUS)),
        ("job", "fedcba9876543210"),
        ("state", "RUNNING"),
        ("spec", json.dumps(SPEC)),
        ("started", "2026-01-02T03:04:05Z"),
    )
    ended, running = read_jobs("h1", Result("job_list", facts))
    assert (ended.short, ended.state, ended.attempt) == ("0123456", State.SUCCEEDED, 2)
    assert (ended.seconds, ended.exit_status, ended.model) == (60.25, 0, "m" * 64)
    assert (running.state, running.began, running.ended) == (State.RUNNING, ended.began, None)


@pytest.mark.parametrize(
    "text", ["", "{torn", "[1]", '{"attempt": "x", "seconds": {}}', "9" * 9999]
)
def test_what_a_host_says_of_a_job_may_be_nonsense(text: str) -> None:
    facts = (("job", "0"), ("state", "odd"), ("spec", text), ("status", text), ("started", text))
    found = read_job("h1", Result("job_list", facts))
    assert (found.state, found.attempt, found.began, found.model) == (State.LOST, 1, None, "")


def test_the_job_that_runs_is_meant_or_else_the_newest() -> None:
    old, new = job("aaaa"), job("abbb", hour=3)
    running = job("cccc", State.RUNNING, hour=2)
    assert [one.id for one in newest_first([old, new, running])] == ["cccc", "abbb", "aaaa"]
    assert find([old, new, running], None) is running
    assert find([old, new], None) is new
    assert find([old, new], "aa") is old


@pytest.mark.parametrize(
    ("name", "says"), [("a", "fits several"), ("f", "no job 'f'"), ("", "no job")]
)
def test_a_name_that_fits_no_job_or_several_is_refused(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        find([job("aaaa"), job("abbb")], name)
    assert "aaaa" in refused.value.next_step


def test_of_a_job_on_several_hosts_the_one_with_the_model_is_meant() -> None:
    first = job("abc", State.RUNNING)
    second = replace(first, host="h2", rank=1, began=datetime(2026, 1, 2, tzinfo=UTC))
    known = (second, job("abd"), first)
    assert find(known, None) == find(known, "abc") == first
    assert parts_of(known, first) == (first, second)
    # Where the first host does not answer there is still something to cancel.
    assert find((second,), "ab") == second


def test_where_there_are_no_jobs_none_is_found() -> None:
    with pytest.raises(UsageError, match="there are no jobs"):
        find([], None)


def test_a_model_that_was_trained_before_says_so_and_when() -> None:
    facts = (("job", "0123456789abcdef"), ("state", "SUCCEEDED"), ("spec", json.dumps(SPEC)),
             ("status", json.dumps(STATUS)))  # fmt: skip
    before = read_job("h1", Result("job_follow", facts))
    trained = Trained("m" * 64, 1, {"auc": 0.5}, job=before, reused=True)
    assert str(trained) == "model mmmmmmm auc 0.5 trained before"
    assert trained.why_reused == (
        "trained before: job 0123456 of 2026-01-02 03:05 UTC, inputs unchanged "
        "([train] data_version would tell new data)"
    )
