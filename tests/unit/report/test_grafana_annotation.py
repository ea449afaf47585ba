"""Promises of the marks on Grafana: true, from the first switch to the end, and in nobody's way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aideploy.errors import ExitStatus
from aideploy.events import (
    Event,
    Events,
    Notice,
    Outcome,
    Phase,
    PhaseFinished,
    PhaseStarted,
    ReleaseKnown,
    RunFinished,
    RunStarted,
)
from aideploy.report.grafana_annotation import show_on_grafana
from aideploy.settings import Settings
from tests.grafana import TOKEN, Grafana
from tests.hosts_toml import TRAINED_AND_SERVED, loaded
from tests.waiting import eventually
from tests.web_server import free_port

RELEASE = "20260101T000000Z-aaaaaaa"
BEGAN = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
ENDED = BEGAN + timedelta(minutes=3)
HOSTS = f"""\
{TRAINED_AND_SERVED}
[monitoring.grafana]
url = "{{url}}"
{{more}}
[environments.production.hosts.a]
address = "a.example.com"
"""
KNOWN = ReleaseKnown(release=RELEASE, revision="a" * 40)
SWITCH = PhaseStarted(phase=Phase.SWITCH, hosts=("a",), at=BEGAN)
SECOND_BATCH = PhaseStarted(phase=Phase.SWITCH, hosts=("b",), at=BEGAN + timedelta(minutes=1))
CONFIRMED = PhaseFinished(phase=Phase.CONFIRM, outcome=Outcome.DONE, seconds=1)


@pytest.fixture
def grafana(monkeypatch: pytest.MonkeyPatch) -> Iterator[Grafana]:
    monkeypatch.setenv("GRAFANA_TOKEN", TOKEN)
    with Grafana() as server:
        yield server


def settings(folder: Path, url: str, more: str = 'token = "GRAFANA_TOKEN"') -> Settings:
    return loaded(folder, HOSTS.format(url=url, more=more), "production")


def started(command: str = "deploy", who: str = "ada@laptop") -> RunStarted:
    return RunStarted(
        command=command, app="ranker", environment="production", hosts=("a",), who=who
    )


def ended(status: ExitStatus = ExitStatus.DONE, headline: str = "all is over") -> RunFinished:
    return RunFinished(status=status, headline=headline, seconds=180, at=ENDED)


def seen(of: Settings, *told: Event) -> list[Event]:
    """Tell these events to Grafana and to somebody who reads after it."""
    heard: list[Event] = []
    events = Events(heard.append)
    show_on_grafana(of, events)
    for event in told:
        events.publish(event)
    return heard


def notices(heard: list[Event]) -> list[str]:
    return [event.text for event in heard if isinstance(event, Notice)]


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (ExitStatus.DONE, "done"),
        (ExitStatus.ROLLED_BACK, "rolled-back"),
        (ExitStatus.HELD, "held"),
        (ExitStatus.NEEDS_PERSON, "needs-person"),
        (ExitStatus.INTERRUPTED, "interrupted"),
        (ExitStatus.NOT_READY, "failed"),
    ],
)
def test_a_deploy_is_a_region_from_its_first_switch_to_its_end_with_its_result(
    grafana: Grafana, tmp_path: Path, status: ExitStatus, result: str
) -> None:
    of = settings(tmp_path, grafana.url)
    told = (started(), KNOWN, SWITCH, SECOND_BATCH, CONFIRMED, ended(status, "so it ended"))
    assert notices(seen(of, *told)) == []
    assert grafana.annotations == {
        1: {
            "time": 1767268800000,
            "timeEnd": 1767268980000,
            "text": f"deploy {RELEASE} by ada@laptop: so it ended",
            "tags": [
                "deploy",
                "app:ranker",
                "env:production",
                f"release:{RELEASE}",
                f"result:{result}",
            ],
        }
    }


def test_while_it_goes_on_it_is_there_and_says_so(grafana: Grafana, tmp_path: Path) -> None:
    seen(settings(tmp_path, grafana.url), started(), KNOWN, SWITCH)
    assert eventually(lambda: 1 in grafana.annotations)
    assert grafana.annotations[1]["text"].endswith("under way")
    assert not any(tag.startswith("result:") for tag in grafana.annotations[1]["tags"])


def test_what_was_refused_before_the_switch_is_not_marked(grafana: Grafana, tmp_path: Path) -> None:
    of = settings(tmp_path, grafana.url)
    assert notices(seen(of, started(), KNOWN, ended(ExitStatus.REFUSED))) == []
    assert grafana.asked == []


def test_a_rollback_is_told_apart_and_gets_its_release_at_the_end(
    grafana: Grafana, tmp_path: Path
) -> None:
    # It learns only at its end where it is.
    seen(settings(tmp_path, grafana.url), started("rollback"), SWITCH, CONFIRMED, KNOWN, ended())
    tags = grafana.annotations[1]["tags"]
    assert tags[0] == "rollback"
    assert f"release:{RELEASE}" in tags


def test_an_aborted_rollout_is_a_rollback(grafana: Grafana, tmp_path: Path) -> None:
    reverting = PhaseStarted(phase=Phase.REVERT, hosts=("a",), at=BEGAN)
    told = (started("rollout.abort"), KNOWN, reverting, ended(ExitStatus.ROLLED_BACK))
    seen(settings(tmp_path, grafana.url), *told)
    assert grafana.annotations[1]["tags"][0] == "rollback"


def test_names_of_others_are_text_and_no_html(grafana: Grafana, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)> & co"
    of = settings(tmp_path, grafana.url)
    seen(of, started(who=hostile), KNOWN, SWITCH, ended(headline=f"{hostile}\x1b[31m"))
    assert "<" not in grafana.annotations[1]["text"]
    assert "&lt;img src=x onerror=alert(1)&gt; &amp; co" in grafana.annotations[1]["text"]


def test_the_token_is_in_the_header_alone(
    grafana: Grafana, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grafana.may_write = False
    heard = seen(settings(tmp_path, grafana.url), started(), KNOWN, SWITCH, ended())
    assert grafana.asked
    assert TOKEN not in "".join(grafana.asked)
    assert TOKEN.encode() not in b"".join(grafana.said)
    assert TOKEN not in str(heard)


def test_a_wrong_token_is_said_once_and_not_tried_again(
    grafana: Grafana, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFANA_TOKEN", "glsa_of_last_year")
    told = (started(), KNOWN, SWITCH, SECOND_BATCH, CONFIRMED, ended())
    heard = seen(settings(tmp_path, grafana.url), *told)
    (notice,) = notices(heard)
    assert "does not know the token in GRAFANA_TOKEN" in notice
    assert "glsa" not in notice
    assert len(grafana.asked) == 1
    assert isinstance(heard[-1], RunFinished)


def test_a_token_without_the_right_to_write_is_told_which_it_needs(
    grafana: Grafana, tmp_path: Path
) -> None:
    grafana.may_write = False
    (notice,) = notices(seen(settings(tmp_path, grafana.url), started(), KNOWN, SWITCH, ended()))
    assert "annotations:create" in notice


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "GRAFANA_TOKEN"), ("two\nlines", "GRAFANA_TOKEN"), ("töken", "GRAFANA_TOKEN")],
)
def test_a_token_that_is_none_is_one_notice(
    grafana: Grafana,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    value: str | None,
    said: str,
) -> None:
    monkeypatch.delenv("GRAFANA_TOKEN")
    if value is not None:
        monkeypatch.setenv("GRAFANA_TOKEN", value)
    heard = seen(settings(tmp_path, grafana.url), started(), KNOWN, SWITCH, ended())
    assert len(notices(heard)) == 1
    assert said in str(heard)
    assert value is None or value not in str(heard)
    assert grafana.annotations == {}


@pytest.mark.parametrize(
    "answer",
    [(500, b""), (502, b"<html>Bad Gateway"), (200, b"<html>hello"), (200, b"{}"), (301, b"")],
)
def test_whatever_answers_strangely_is_one_notice_before_the_last_word(
    grafana: Grafana, tmp_path: Path, answer: tuple[int, bytes]
) -> None:
    grafana.ill = [answer]
    heard = seen(settings(tmp_path, grafana.url), started(), KNOWN, SWITCH, CONFIRMED, ended())
    assert len(notices(heard)) == 1
    assert isinstance(heard[-1], RunFinished)
    assert isinstance(heard[-2], Notice)


def test_nobody_there_is_one_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFANA_TOKEN", TOKEN)
    of = settings(tmp_path, f"http://127.0.0.1:{free_port()}")
    (notice,) = notices(seen(of, started(), KNOWN, SWITCH, ended()))
    assert "cannot be told" in notice


def test_what_was_down_at_the_switch_has_the_whole_region_in_the_end(
    grafana: Grafana, tmp_path: Path
) -> None:
    grafana.ill = [(503, b"starting"), (503, b"starting")]
    heard: list[Event] = []
    events = Events(heard.append)
    show_on_grafana(settings(tmp_path, grafana.url), events)
    for event in (started(), KNOWN, SWITCH):
        events.publish(event)
    assert eventually(lambda: len(grafana.asked) == 1)
    grafana.ill = []
    events.publish(ended())
    assert notices(heard) == []
    assert grafana.annotations[1]["time"] == 1767268800000
    assert grafana.annotations[1]["timeEnd"] == 1767268980000


def test_one_that_never_answers_delays_no_switch_and_the_end_by_seconds_only(
    grafana: Grafana, tmp_path: Path
) -> None:
    grafana.asleep = 20
    heard: list[Event] = []
    events = Events(heard.append)
    show_on_grafana(settings(tmp_path, grafana.url), events)
    begin = time.monotonic()
    for event in (started(), KNOWN, SWITCH, CONFIRMED):
        events.publish(event)
    assert time.monotonic() - begin < 1
    events.publish(ended())
    assert time.monotonic() - begin < 8
    assert len(notices(heard)) == 1
    assert isinstance(heard[-1], RunFinished)


def test_ctrl_c_while_it_waits_for_grafana_does_not_cost_the_last_word(
    grafana: Grafana, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    heard: list[Event] = []
    events = Events(heard.append)
    show_on_grafana(settings(tmp_path, grafana.url), events)
    for event in (started(), KNOWN, SWITCH):
        events.publish(event)
    monkeypatch.setattr(threading.Thread, "join", interrupted)
    events.publish(ended())
    assert isinstance(heard[-1], RunFinished)
    assert len(notices(heard)) == 1


def test_without_anything_that_lets_us_in_nothing_is_told(grafana: Grafana, tmp_path: Path) -> None:
    heard = seen(settings(tmp_path, grafana.url, ""), started(), KNOWN, SWITCH, ended())
    assert notices(heard) == []
    assert grafana.asked == []
