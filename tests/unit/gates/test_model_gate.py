"""Promises of the model gate: what is worse, missing or odd is refused, with the right reason."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any

import pytest

from aideploy.gates.model import Baseline, Evaluation, Judgement, Limit, RowVerdict, evaluate
from aideploy.gates.suggestion import suggested, suggested_gate
from aideploy.settings.gate import Gate

GOOD = {
    "auc": 0.76,
    "log_loss": 0.17,
    "rows": 85657,
    "slices": {"new_users": {"auc": 0.71}, "mobile": {"auc": 0.75}},
}
BEFORE = Baseline("20260101T000000Z-aaaaaaa", GOOD)
GATES = [
    {"metric": "auc", "min": 0.7, "max_drop": 0.01, "max_gain": 0.1},
    {"metric": "auc", "slice": "new_users", "min": 0.65, "max_drop_rel": 0.05},
    {"metric": "log_loss", "greater_is_better": False, "max": 0.2, "max_drop": 0.02},
]


def judged(
    metrics: bytes | Mapping[str, Any] | None,
    gates: list[dict[str, Any]] | None = None,
    baseline: Baseline | None = BEFORE,
) -> Evaluation:
    data = json.dumps(metrics).encode() if isinstance(metrics, Mapping) else metrics
    wanted = GATES if gates is None else gates
    return evaluate([Gate.model_validate(gate) for gate in wanted], data, baseline)


def changed(**values: Any) -> dict[str, Any]:
    return {**GOOD, **values}


def of_new_users(value: Any) -> dict[str, Any]:
    return changed(slices={"new_users": value})


def test_a_model_as_good_as_the_one_before_is_blessed() -> None:
    evaluation = judged(GOOD)
    assert evaluation.blessed
    assert evaluation.baseline == BEFORE.release
    assert {row.verdict for row in evaluation.rows} == {RowVerdict.PASS}
    assert len(evaluation.rows) == 7


SABOTAGED = [
    ("below its limit", changed(auc=0.699), "auc: 0.699 is below 0.7"),
    ("dropped", changed(auc=0.749), "auc: 0.749 after 0.76 is worse by 0.011, above 0.01"),
    ("too good", changed(auc=0.99), "auc: 0.99 after 0.76 is better by 0.23; above 0.1 that is"),
    ("loss too high", changed(log_loss=0.21), "log_loss: 0.21 is above 0.2"),
    ("loss rose", changed(log_loss=0.195), "0.195 after 0.17 is worse by 0.025, above 0.02"),
    (
        "one slice ruined",
        of_new_users({"auc": 0.66}),
        "auc of new_users: 0.66 after 0.71 is worse by 7.042 %, above 5 %",
    ),
    ("no file", None, "auc, auc of new_users, log_loss: the training wrote no metrics.json"),
    ("empty file", b" \n", "metrics.json is empty"),
    ("not JSON", b"auc = 0.9", "metrics.json is not JSON: "),
    ("cut", json.dumps(GOOD).encode()[:30], "metrics.json is not JSON: "),
    ("not text", b"\xff\xfe\x00\xd8", "metrics.json is not JSON: "),
    ("too deep", b"[" * 200_000, "metrics.json is not JSON: "),
    ("no object", b"[0.9]", "metrics.json holds a list, not an object"),
    ("null", b"null", "metrics.json holds null, not an object"),
    ("twice", b'{"auc": 0.9, "auc": 0.1}', "metrics.json says 'auc' twice"),
    ("NaN", b'{"auc": NaN}', "auc: it is NaN"),
    ("infinite", b'{"auc": Infinity}', "auc: it is infinite"),
    ("overflows", b'{"auc": 1e999}', "auc: it is infinite"),
    ("long", b'{"auc": 1%s}' % (b"0" * 400), "auc: it is infinite"),
    ("a text", changed(auc="0.9"), "auc: it is the text '0.9', not a number"),
    ("a truth", changed(auc=True), "auc: it is true, not a number"),
    ("nothing", changed(auc=None), "auc: it is null, not a number"),
    ("a list", changed(auc=[0.9]), "auc: it is a list, not a number"),
    ("renamed", {"roc_auc": 0.9}, "auc: there is no such metric; did you mean roc_auc?"),
    ("nothing in it", b"{}", "auc, log_loss: there is no such metric; there are none at all"),
    ("no slices", {"auc": 0.76}, 'auc of new_users: there are no slices: "slices" is null'),
    ("slices no object", changed(slices=[]), 'there are no slices: "slices" is a list'),
    (
        "slice renamed",
        changed(slices={"new_user": {"auc": 0.7}}),
        "auc of new_users: there is no such slice; did you mean new_user?",
    ),
    ("slice is a number", of_new_users(0.9), "the slice holds a number, not an object"),
    ("metric not in the slice", of_new_users({"f1": 1}), "there is no such metric; there are f1"),
]


@pytest.mark.parametrize(
    ("metrics", "says"), [s[1:] for s in SABOTAGED], ids=[s[0] for s in SABOTAGED]
)
def test_a_sabotaged_model_is_refused_with_the_right_reason(
    metrics: bytes | Mapping[str, Any] | None, says: str
) -> None:
    evaluation = judged(metrics)
    assert evaluation.judgement is Judgement.REFUSED
    assert any(says in reason for reason in evaluation.reasons), evaluation.reasons
    assert not evaluation.may_pass


@pytest.mark.parametrize(
    ("gate", "before", "now"),
    [
        ({"min": 0.7}, 0.7, 0.7),
        ({"max": 0.7}, 0.7, 0.7),
        # 0.76 - 0.75 is 0.010000000000000009 in binary numbers.
        ({"max_drop": 0.01}, 0.76, 0.75),
        ({"max_drop_rel": 0.1}, 0.3, 0.27),
        ({"max_gain": 0.1}, 0.7, 0.8),
        ({"max_drop": 0.1, "greater_is_better": False}, 0.7, 0.8),
        ({"max_gain": 0.01, "greater_is_better": False}, 0.76, 0.75),
        ({"max_drop": 0}, 0.5, 0.5),
        ({"max_drop_rel": 0.1}, -2.0, -2.2),
    ],
)
def test_a_limit_that_is_just_kept_holds_and_a_hair_beyond_it_does_not(
    gate: dict[str, Any], before: float, now: float
) -> None:
    gates = [{"metric": "m", **gate}]
    baseline = Baseline("r1", {"m": before})
    assert judged({"m": now}, gates, baseline).blessed
    refused = [judged({"m": now + hair}, gates, baseline).blessed for hair in (-1e-9, 1e-9)]
    assert sorted(refused) == [False, True]


def test_the_first_release_is_judged_by_absolute_limits_alone_and_says_so() -> None:
    evaluation = judged(GOOD, baseline=None)
    assert evaluation.blessed
    assert str(evaluation) == "blessed, unopposed: 7 limits"
    verdicts = {row.limit: row.verdict for row in evaluation.rows if row.slice is None}
    assert verdicts[Limit.MIN] is RowVerdict.PASS
    assert verdicts[Limit.MAX_DROP] is RowVerdict.UNOPPOSED
    assert not judged(changed(auc=0.6), baseline=None).blessed


def test_a_metric_that_is_new_is_unopposed_in_its_own_row() -> None:
    gates = [{"metric": "auc", "max_drop": 0.01}, {"metric": "f1", "max_drop": 0.01}]
    evaluation = judged(changed(f1=0.5), gates)
    assert evaluation.blessed
    assert [row.verdict for row in evaluation.rows] == [RowVerdict.PASS, RowVerdict.UNOPPOSED]
    assert evaluation.rows[1].reason == f"{BEFORE.release} has no such number"


@pytest.mark.parametrize("before", [0, 1e-12, -0.0])
def test_a_share_of_a_baseline_of_about_0_refuses(before: float) -> None:
    gates = [{"metric": "m", "max_drop_rel": 0.5}]
    evaluation = judged({"m": before}, gates, Baseline("r1", {"m": before}))
    assert "of a baseline of about 0 no share can be taken" in evaluation.reasons[0]


@pytest.mark.parametrize("odd", [{"auc": "0.7"}, {"auc": float("nan")}, {"slices": 3}, {}])
def test_a_baseline_with_odd_numbers_opposes_nothing(odd: dict[str, Any]) -> None:
    evaluation = judged(GOOD, baseline=Baseline("r1", odd))
    assert evaluation.blessed
    assert RowVerdict.UNOPPOSED in {row.verdict for row in evaluation.rows}


def test_without_a_gate_nothing_is_blessed() -> None:
    evaluation = judged(GOOD, [])
    assert evaluation.judgement is Judgement.UNJUDGED
    assert not evaluation.blessed
    assert not evaluation.may_pass


def test_the_record_holds_every_number_as_plain_json() -> None:
    record = judged(changed(auc=0.6)).record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["judgement"] == "refused"
    assert record["baseline"] == BEFORE.release
    assert record["rows"][0] == {
        "metric": "auc",
        "slice": None,
        "limit": "min",
        "bound": 0.7,
        "greater_is_better": True,
        "value": 0.6,
        "baseline": 0.76,
        "verdict": "fail",
        "reason": "0.6 is below 0.7",
    }


# -- a gate to begin with --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metrics", "metric", "bound"),
    [
        ({"rows": 9, "auc": 0.76, "log_loss": 0.2}, "auc", 0.722),
        ({"val_loss": 2.0}, "val_loss", 2.1),
        ({"n": 3, "r2": -0.5}, "r2", -0.525),
    ],
)
def test_a_first_gate_is_a_little_worse_than_what_the_training_wrote(
    metrics: dict[str, Any], metric: str, bound: float
) -> None:
    found = suggested(metrics)
    assert found
    assert (found.metric, found.bound) == (metric, bound)


@pytest.mark.parametrize(
    "metrics", [{}, {"rows": 3}, {"auc": "0.7"}, {"": 0.7}, {" a": 1}, {"\x1b[2J": 1}, {"a": 0}]
)
def test_where_no_metric_fits_the_gate_is_one_to_fill_in(metrics: dict[str, Any]) -> None:
    assert suggested(metrics) is None
    assert "the least that a model has to reach" in suggested_gate(metrics)


def test_a_suggested_gate_can_be_used_as_it_stands() -> None:
    (gate,) = tomllib.loads(suggested_gate({'a "b" 日本': 1e-7}))["gate"]
    assert Gate.model_validate(gate).metric == 'a "b" 日本'
