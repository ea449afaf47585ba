"""Promises of the judge: what is said of good, bad, scarce and missing numbers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from aideploy.analysis.arms import Arms, arms, matchers, shared_arms
from aideploy.analysis.findings import Finding, Verdict
from aideploy.analysis.judging import judge
from aideploy.analysis.jury import Case, Jury
from aideploy.analysis.queries import Templates, templates
from aideploy.analysis.sample import Sample
from aideploy.analysis.source import NoAnswer, Series
from aideploy.monitoring.presets import preset
from aideploy.settings.analysis import Analysis

STEP = 30.0
SINCE = 1000.0


class Told:
    """A source that answers with numbers that stand here, for each side and metric."""

    def __init__(self, answers: Mapping[tuple[str, str], Sequence[Series]]) -> None:
        self._answers = answers

    def windows(self, query: str, end: float, step: float, count: int) -> Sequence[Series]:
        side = "canary" if 'host=~"new"' in query else "baseline"
        for (wanted, part), answer in self._answers.items():
            if wanted == side and part in query:
                return [
                    Series(one.labels, {p: v for p, v in one.values.items() if p < count})
                    for one in answer
                ]
        return []


class Silent:
    """A source that cannot be reached."""

    def windows(self, query: str, end: float, step: float, count: int) -> Sequence[Series]:
        raise NoAnswer("Prometheus at http://mon1:9090 cannot be asked: it refuses connections")


def constant(value: float, **labels: str) -> Series:
    return Series(labels, dict.fromkeys(range(40), value))


def sides(hosts: Sequence[str] = ("old",), before: Sequence[str] = ()) -> Arms:
    return arms("ranker", "production", ["new"], hosts, since=SINCE, begun=SINCE, before=before)


def case(**keys: Any) -> Case:
    check = Analysis.model_validate({"name": "check", "interval": "30s", **keys})
    return Case(check, templates(check, preset("generic")), 1e-4)


def looked(one: Case, source: Any, *, looks: int = 2, both: Arms | None = None) -> Finding:
    jury = Jury([one], both or sides(), "batch 1")
    for number in range(1, looks + 1):
        found = jury.look(one, source, SINCE + STEP * number)
    return found


def errors(new: float, old: float, requests: float = 500) -> Told:
    return Told(
        {
            ("canary", 'code=~"5'): [constant(new * requests)],
            ("baseline", 'code=~"5'): [constant(old * requests)],
            ("canary", "requests_total"): [constant(requests)],
            ("baseline", "requests_total"): [constant(requests)],
        }
    )


RATIO = {"kind": "ratio"}


def test_more_errors_fail_at_the_second_look_and_not_at_the_first() -> None:
    first = looked(case(**RATIO), errors(0.05, 0.005), looks=1)
    assert first.verdict is Verdict.INCONCLUSIVE
    assert "failing look 1 of 2" in first.why
    second = looked(case(**RATIO), errors(0.05, 0.005))
    assert second.verdict is Verdict.FAIL
    assert "5.00% bad (50 of 1000) against 0.50%" in second.why
    assert second.numbers["p"] < 1e-4


def test_with_no_failing_look_borne_the_first_one_counts() -> None:
    found = looked(case(**RATIO, failure_limit=0), errors(0.05, 0.005), looks=1)
    assert found.verdict is Verdict.FAIL


def test_a_difference_below_the_margin_passes_however_sure_it_is() -> None:
    found = looked(case(**RATIO), errors(0.008, 0.005, requests=1e6))
    assert found.verdict is Verdict.PASS
    assert found.numbers["p"] < 1e-4


def test_a_burst_that_is_over_passes() -> None:
    burst = Series({}, {0: 60.0, **dict.fromkeys(range(1, 40), 2.0)})
    source = Told(
        {
            ("canary", 'code=~"5'): [burst],
            ("baseline", 'code=~"5'): [constant(2.0)],
            ("canary", "requests_total"): [constant(500)],
            ("baseline", "requests_total"): [constant(500)],
        }
    )
    found = looked(case(**RATIO), source, looks=4)
    assert found.verdict is Verdict.PASS
    assert "which is over" in found.why


def test_few_requests_are_waited_for_on_either_side() -> None:
    found = looked(case(**RATIO), errors(1.0, 0.0, requests=20), looks=4)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "80 requests so far, 300 are needed" in found.why
    lonely = Told(
        {
            ("canary", "requests_total"): [constant(500)],
            ("baseline", "requests_total"): [constant(3)],
        }
    )
    found = looked(case(**RATIO), lonely)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "with the old release" in found.why


def test_a_first_release_has_nothing_to_be_compared_with() -> None:
    found = looked(case(**RATIO), errors(0.5, 0.0), both=sides(hosts=()))
    assert found.verdict is Verdict.PASS
    assert "nothing to compare with" in found.why


def test_an_absolute_limit_holds_for_a_first_release_too() -> None:
    slo = case(kind="slo", limits={"max": 0.01})
    found = looked(slo, errors(0.05, 0.0), both=sides(hosts=()))
    assert found.verdict is Verdict.FAIL
    assert "0.05 is above 0.01" in found.why
    scarce = looked(slo, errors(1.0, 0.0, requests=10), both=sides(hosts=()))
    assert scarce.verdict is Verdict.INCONCLUSIVE


def test_where_all_have_switched_the_time_before_is_the_baseline() -> None:
    both = sides(hosts=(), before=["new"])
    assert both.baseline.until == SINCE
    assert both.baseline.words == "new before the rollout"
    assert looked(case(**RATIO), errors(0.005, 0.0), both=both).baseline is not None


def histogram(counts: Mapping[str, float]) -> list[Series]:
    return [constant(count, le=edge) for edge, count in counts.items()]


FAST = {"0.01": 100.0, "0.025": 380.0, "0.05": 495.0, "+Inf": 500.0}
SLOW = {"0.01": 20.0, "0.025": 180.0, "0.05": 430.0, "+Inf": 500.0}


def latencies(new: Mapping[str, float], times: float) -> Told:
    return Told(
        {
            ("canary", "_bucket"): histogram(new),
            ("baseline", "_bucket"): histogram(FAST),
            ("canary", "_sum"): [constant(8.0 * times)],
            ("baseline", "_sum"): [constant(8.0)],
        }
    )


def test_slower_answers_fail_and_the_mean_is_named() -> None:
    found = looked(case(**RATIO, signal="latency"), latencies(SLOW, 1.6))
    assert found.verdict is Verdict.FAIL
    assert "slower than 0.025" in found.why
    assert "1.60 times as long" in found.why


def test_a_host_that_is_a_little_slower_passes() -> None:
    found = looked(case(**RATIO, signal="latency"), latencies(SLOW, 1.1))
    assert found.verdict is Verdict.PASS


def test_shifted_predictions_fail_and_equal_ones_do_not() -> None:
    shifted = Told(
        {
            ("canary", "prediction_"): histogram({"0.1": 100, "0.5": 400, "+Inf": 500}),
            ("baseline", "prediction_"): histogram({"0.1": 350, "0.5": 480, "+Inf": 500}),
        }
    )
    drift = case(kind="drift")
    found = looked(drift, shifted)
    assert found.verdict is Verdict.FAIL
    assert found.numbers["stability_index"] > 0.2
    same = histogram({"0.1": 350, "0.5": 480, "+Inf": 500})
    quiet = Told({("canary", "prediction_"): same, ("baseline", "prediction_"): same})
    assert looked(drift, quiet).verdict is Verdict.PASS


def test_many_predictions_of_few_requests_are_few() -> None:
    drift = Analysis.model_validate({"name": "predictions", "kind": "drift"})
    # All predictions of a window lie in one bucket: it might as well be one.
    usual = ((200.0, 0.0, 0.0), (0.0, 200.0, 0.0), (0.0, 0.0, 200.0))
    canary, baseline = ((0.0, 360.0, 0.0),), ((200.0, 200.0, 200.0),)
    alone = judge(drift, Sample(canary, baseline), 0.001)
    assert alone.verdict is Verdict.FAIL
    together = judge(drift, Sample(canary, baseline, usual), 0.001)
    assert together.verdict is Verdict.INCONCLUSIVE
    assert together.why == "1 independent predictions so far, 300 are needed"


def series_of(values: Sequence[float]) -> Series:
    return Series({}, dict(enumerate(values)))


OWN = {"value": "batch_size{$SELECTOR}"}


@pytest.mark.parametrize(
    ("worse", "new", "verdict"),
    [
        ("higher", 1.5, Verdict.FAIL),
        ("higher", 0.5, Verdict.PASS),
        ("lower", 0.5, Verdict.FAIL),
        ("both", 0.5, Verdict.FAIL),
        ("both", 1.001, Verdict.PASS),
    ],
)
def test_a_distribution_is_judged_the_way_that_is_worse(
    worse: str, new: float, verdict: Verdict
) -> None:
    wave = [10 + math.sin(place) for place in range(40)]
    source = Told(
        {
            ("canary", "batch_size"): [series_of([value * new for value in wave])],
            ("baseline", "batch_size"): [series_of(wave)],
        }
    )
    found = looked(case(kind="distribution", queries=OWN, worse=worse), source, looks=31)
    assert found.verdict is verdict


def test_a_distribution_waits_for_twenty_windows() -> None:
    source = Told({(side, "batch_size"): [constant(1.0)] for side in ("canary", "baseline")})
    check = case(kind="distribution", queries=OWN)
    found = looked(check, source, looks=19)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "19 windows" in found.why
    assert "low confidence" in looked(check, source, looks=20).why


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([], "nothing: no series matches"),
        ([constant(1.0, host="a"), constant(1.0, host="b")], "2 series where one is expected"),
        ([constant(math.nan)], "nothing"),
        ([constant(math.inf)], "nothing"),
    ],
)
def test_what_is_no_number_is_an_error_in_words(answer: list[Series], words: str) -> None:
    source = Told({("canary", "requests_total"): answer, ("baseline", "requests_total"): answer})
    found = looked(case(**RATIO), source)
    assert found.verdict is Verdict.ERROR
    assert words in found.why


def test_a_value_that_is_not_a_number_is_an_error() -> None:
    check = Analysis.model_validate(
        {
            "name": "check",
            "kind": "slo",
            "limits": {"max": 1},
            "queries": {"value": "load{$SELECTOR}", "requests": "requests_total{$SELECTOR}"},
        }
    )
    source = Told(
        {
            ("canary", "load{"): [constant(math.nan)],
            ("canary", "requests_total"): [constant(500)],
        }
    )
    found = looked(Case(check, templates(check, preset("generic")), 1e-4), source)
    assert found.verdict is Verdict.ERROR
    assert "nan instead of a number" in found.why


def test_errors_of_ones_own_query_that_match_nothing_are_no_zero() -> None:
    queries = {
        "bad": "errors_totl{$SELECTOR}",
        "requests": "requests_total{$SELECTOR}",
    }
    source = Told({(side, "requests_total"): [constant(500)] for side in ("canary", "baseline")})
    found = looked(case(**RATIO, queries=queries), source)
    assert found.verdict is Verdict.ERROR
    assert "or vector(0)" in found.why
    # A preset knows what it asks for: no series of errors means no errors.
    assert looked(case(**RATIO), source).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("buckets", "words"),
    [
        ([constant(1.0)], 'without the label "le"'),
        ([constant(1.0, le="fast"), constant(2.0, le="+Inf")], "no number"),
        ([constant(1.0, le="1"), constant(2.0, le="2")], "+Inf"),
    ],
)
def test_what_is_no_histogram_is_an_error_in_words(buckets: list[Series], words: str) -> None:
    source = Told({("canary", "prediction_"): buckets, ("baseline", "prediction_"): buckets})
    found = looked(case(kind="drift"), source)
    assert found.verdict is Verdict.ERROR
    assert words in found.why


def test_a_prometheus_that_is_down_is_an_error_and_ends_no_row_of_failures() -> None:
    one = case(**RATIO)
    jury = Jury([one], sides(), "batch 1")
    jury.look(one, errors(0.05, 0.005), SINCE + STEP)
    lost = jury.look(one, Silent(), SINCE + 2 * STEP)
    assert lost.verdict is Verdict.ERROR
    assert "refuses connections" in lost.why
    found = jury.look(one, errors(0.05, 0.005), SINCE + 3 * STEP)
    assert found.verdict is Verdict.FAIL


def ending(values: Series, place: int) -> Series:
    return Series(values.labels, {at: one for at, one in values.values.items() if at < place})


@pytest.mark.parametrize(
    ("ends", "keys"),
    [
        ("canary", {"kind": "ratio"}),
        ("canary", {"kind": "ratio", "signal": "latency"}),
        ("canary", {"kind": "drift"}),
        ("canary", {"kind": "slo", "limits": {"max": 0.1}}),
        ("canary", {"kind": "slo", "signal": "latency", "limits": {"max": 1}}),
        ("baseline", {"kind": "ratio"}),
        ("baseline", {"kind": "drift"}),
    ],
)
def test_a_release_whose_numbers_end_is_not_judged_by_how_it_began(
    ends: str, keys: dict[str, Any]
) -> None:
    def told(until: int) -> Told:
        # Of the baseline ten windows more are asked for, those from before.
        until += 10 * (ends == "baseline")
        answers = {
            "histogram_quantile": [constant(0.02)],
            'code=~"5': [constant(2)],
            "requests_total": [constant(500)],
            "_bucket": histogram(FAST),
            "_sum": [constant(8.0)],
        }
        return Told(
            {
                (side, part): [ending(one, until if side == ends else 40) for one in series]
                for side in ("canary", "baseline")
                for part, series in answers.items()
            }
        )

    assert looked(case(**keys), told(40), looks=6).verdict is Verdict.PASS
    # A scrape that is late is no end.
    assert looked(case(**keys), told(5), looks=6).verdict is Verdict.PASS
    found = looked(case(**keys), told(4), looks=6)
    assert found.verdict is Verdict.ERROR
    assert re.fullmatch("nothing any more( from the old release)?, for 60 s", found.why)


def test_two_looks_at_the_same_windows_are_no_two_in_a_row() -> None:
    one, source = case(**RATIO), errors(0.05, 0.005)
    jury = Jury([one], sides(), "batch 1")
    # Prometheus was slow: the next look is due, but no window is over since the last one.
    for late in (1.0, 1.4, 1.9):
        found = jury.look(one, source, SINCE + STEP * late)
        assert found.verdict is Verdict.INCONCLUSIVE
    assert jury.next()[1] == SINCE + STEP * 2
    assert jury.look(one, source, SINCE + STEP * 2).verdict is Verdict.FAIL


def test_looks_that_a_slow_prometheus_delayed_are_left_out() -> None:
    one, source = case(**RATIO), errors(0.005, 0.005)
    jury = Jury([one], sides(), "batch 1")
    jury.look(one, Silent(), SINCE + STEP * 3.5)
    assert jury.next()[1] == SINCE + STEP * 4
    jury.look(one, source, SINCE + STEP * 4)
    assert jury.passes(timedelta(seconds=4 * STEP))
    assert not jury.passes(timedelta(seconds=5 * STEP))


class Groups:
    """A source whose hosts in the blue slot and in the green one have another value."""

    def windows(self, query: str, end: float, step: float, count: int) -> Sequence[Series]:
        value = 500.0
        if "value" in query:
            value = 0.95 if "blue" in query else 0.2
        return [Series({}, dict.fromkeys(range(count), value))]


@pytest.mark.parametrize(
    ("limits", "words"),
    [({"min": 0.9}, "0.2 is below 0.9"), ({"max": 0.9}, "0.95 is above 0.9")],
)
def test_of_two_slots_the_worse_one_is_judged(limits: dict[str, float], words: str) -> None:
    queries = {"value": "value{$SELECTOR}", "requests": "requests{$SELECTOR}"}
    check = case(kind="slo", limits=limits, queries=queries)
    both = shared_arms("ranker", "production", {"h1": "blue", "h2": "green"}, since=SINCE)
    found = looked(check, Groups(), both=both)
    assert (found.verdict, found.why) == (Verdict.FAIL, words)


@pytest.mark.parametrize(
    ("value", "most", "verdict"),
    [
        (0.04, 0.05, Verdict.PASS),
        (0.05, 0.05, Verdict.FAIL),
        (0.05, 0.04, Verdict.FAIL),
        (0.05, 2, Verdict.ERROR),
    ],
)
def test_a_latency_beyond_the_largest_bucket_is_not_taken_for_its_bound(
    value: float, most: float, verdict: Verdict
) -> None:
    source = Told(
        {
            ("canary", "histogram_quantile"): [constant(value)],
            ("canary", "_bucket"): histogram(FAST),
            ("canary", "requests_total"): [constant(500)],
        }
    )
    check = case(kind="slo", signal="latency", limits={"max": most})
    assert looked(check, source).verdict is verdict


def test_without_requests_there_is_no_latency_and_no_error() -> None:
    source = Told(
        {
            ("canary", "histogram_quantile"): [constant(math.nan)],
            ("canary", "_bucket"): histogram(dict.fromkeys(FAST, 0.0)),
            ("canary", "requests_total"): [constant(0)],
        }
    )
    found = looked(case(kind="slo", signal="latency", limits={"max": 1}), source)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.why == "0 requests so far, 300 are needed"
    assert found.canary is None


def test_what_is_recorded_is_json_whatever_the_numbers_are() -> None:
    # Nothing waited before: no share of that can be taken.
    source = Told(
        {
            ("canary", "batch_size"): [constant(5.0)],
            ("baseline", "batch_size"): [constant(0.0)],
        }
    )
    found = looked(case(kind="distribution", queries=OWN), source, looks=31)
    assert found.verdict is Verdict.FAIL
    assert json.loads(json.dumps(found.record(), allow_nan=False))["numbers"]["alpha"] == 1e-4


def test_names_of_hosts_cannot_leave_their_quotes() -> None:
    said = matchers("a", "b", ['x"}', "web.1"])
    assert said == 'app="a",env="b",host=~"x\\\\\\"\\\\}|web\\\\.1"'


def test_at_a_share_the_other_slot_of_the_same_hosts_is_the_baseline() -> None:
    both = shared_arms("a", "b", {"h1": "blue", "h2": "green"}, since=0)
    assert both.canary.selectors == (
        'app="a",env="b",host=~"h1",slot="blue"',
        'app="a",env="b",host=~"h2",slot="green"',
    )
    assert both.baseline.selectors[0].endswith('host=~"h1",slot="green"')


def test_templates_have_no_selector_left() -> None:
    assert Templates().all == ()
    found = looked(case(**RATIO), errors(0.0, 0.0))
    assert found.asked
    assert not any("$" in one.query for one in found.asked)
    assert {one.side for one in found.asked} == {"canary", "baseline"}
