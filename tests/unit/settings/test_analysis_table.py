"""Mistakes in [[analysis]]: each is met before anything is asked, with what is expected."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from aideploy.errors import SettingsError
from aideploy.settings import Settings
from aideploy.settings.analysis import Kind, Signal
from aideploy.settings.rollout import OnInconclusive
from tests.hosts_toml import SERVED, loaded

HEAD = SERVED
PROMETHEUS = '[monitoring.prometheus]\nurl = "http://mon1:9090"\n'
HOST = '[environments.p.hosts.h1]\naddress = "h1"\nroles = ["serve"]\n'
CHECK = '[[analysis]]\nname = "errors"\nkind = "ratio"\n'


def read(folder: Path, text: str) -> Settings:
    return loaded(folder, text)


def refused(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(folder, text)
    return "\n".join(caught.value.problems)


def test_three_lines_are_a_check(tmp_path: Path) -> None:
    settings = read(tmp_path, HEAD + PROMETHEUS + CHECK + HOST)
    (check,) = settings.analyses
    assert (check.kind, check.judged) == (Kind.RATIO, Signal.ERRORS)
    assert check.interval == timedelta(seconds=30)
    assert settings.rollout.on_inconclusive is OnInconclusive.HOLD


def test_an_environment_may_have_checks_of_its_own(tmp_path: Path) -> None:
    own = CHECK.replace("[[analysis]]", "[[environments.p.analysis]]").replace("errors", "mine")
    settings = read(tmp_path, HEAD + PROMETHEUS + CHECK + HOST + own)
    assert [check.name for check in settings.analyses] == ["mine"]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ('kind = "rato"', '"slo", "ratio", "distribution" or "drift"'),
        ('kind = "slo"', "a limit"),
        ('kind = "slo"\nlimits = { margin = 0.1 }', "the limits min or max, not margin"),
        ('kind = "slo"\nlimits = { min = 2, max = 1 }', "not above max"),
        ('kind = "drift"\nsignal = "errors"', 'a signal out of "predictions"'),
        ('kind = "ratio"\nlimits = { max = 0.1 }', "the limits margin or effect, not max"),
        ('kind = "ratio"\nlimits = { effect = 2 }', "only with latencies"),
        ('kind = "ratio"\nworse = "lower"', '"worse" only with'),
        ('kind = "ratio"\nlimits = { margn = 0.1 }', "did you mean margin?"),
        ('kind = "ratio"\nlimits = { margin = -0.1 }', "not below 0"),
        ('kind = "distribution"\nlimits = { effect = 1.5 }', "an effect from 0.5 to 1"),
        ('kind = "ratio"\nmin_requests = 0', "at least 1"),
        ('kind = "ratio"\ninterval = "0s"', "longer than nothing"),
        ('kind = "ratio"\nfailure_limit = -1', "at least 0"),
        ('kind = "ratio"\nqueries = { bad = "x{$SELECTOR}" }', 'the query "requests"'),
        ('kind = "ratio"\nqueries = { bad = "x", requests = "y{$SELECTOR}" }', "$SELECTOR"),
        ('kind = "drift"\nqueries = { value = "y{$SELECTOR}" }', 'the query "buckets"'),
        ('kind = "ratio"\nqueries = { bad = "", requests = "" }', "a PromQL expression"),
    ],
)
def test_a_mistake_is_told_with_what_is_expected(tmp_path: Path, keys: str, words: str) -> None:
    check = f'[[analysis]]\nname = "one"\n{keys}\n'
    assert words in refused(tmp_path, HEAD + PROMETHEUS + check + HOST)


def test_without_prometheus_nobody_can_be_asked(tmp_path: Path) -> None:
    assert "[monitoring.prometheus]" in refused(tmp_path, HEAD + CHECK + HOST)


def test_two_checks_have_two_names(tmp_path: Path) -> None:
    said = refused(tmp_path, HEAD + PROMETHEUS + CHECK + CHECK + HOST)
    assert "analysis[0] has the same name" in said


def test_what_the_serving_software_does_not_tell_is_known_before(tmp_path: Path) -> None:
    triton = '[monitoring]\npreset = "triton"\n'
    slow = CHECK + 'signal = "latency"\n'
    said = refused(tmp_path, HEAD + triton + PROMETHEUS + slow + HOST)
    assert 'the preset "triton" knows no histogram of latencies' in said
