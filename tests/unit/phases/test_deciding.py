"""What the phases decide from what hosts say, without any host."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

import pytest

from aideploy.delivery.endings import judged
from aideploy.errors import (
    ExitStatus,
    HostNotReady,
    Refused,
    SettingsError,
    Unreachable,
    UsageError,
)
from aideploy.events import Phase
from aideploy.phases import facts as looking
from aideploy.phases import health, service, train
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Entry, Journal, Verdict
from aideploy.phases.rollback import previous
from aideploy.remote.fleet import FleetError
from aideploy.remote.result import Result, ScriptFailed
from aideploy.settings import Host
from aideploy.settings.health import Health


def facts(
    host: str = "web1", *, live: str | None = None, good: str = "", **values: Any
) -> HostFacts:
    """Facts of a healthy host with these good releases."""
    names = tuple(good.split())
    at = datetime(2026, 1, 1, tzinfo=UTC)
    known: dict[str, Any] = {
        "root": PurePosixPath("/srv/app"),
        "home": PurePosixPath("/home/deploy"),
        "free": 10**10,
        "writable": True,
        "git": "git version 2",
        "python": "/usr/bin/python3 Python 3.11",
        "python_version": (3, 11),
        "current": live,
        "releases": names,
        "journal": Journal(tuple(Entry(Verdict.GOOD, name, at) for name in names)),
    }
    return HostFacts(host=host, **(known | values))


def host(**values: object) -> Host:
    return Host.model_validate({"name": "web1", "address": "web1", **values})


@pytest.mark.parametrize(
    ("lack", "word"),
    [
        ({"writable": False}, "there is no folder"),
        ({"free": 10**6}, "MB free"),
        ({"git": ""}, "git"),
        ({"python": "", "python_version": ()}, "Python 3.8 or later"),
        ({"python_version": (3, 7)}, "too old"),
    ],
)
def test_a_host_that_lacks_something_is_refused_with_what_to_do(
    lack: dict[str, Any], word: str
) -> None:
    refusal = looking.refusal(facts(**lack), host())
    assert refusal is not None
    assert word in refusal.what
    assert refusal.next_step
    assert refusal.host == "web1"


def test_a_host_with_fewer_gpus_than_promised_is_refused() -> None:
    refusal = looking.refusal(facts(gpus=("A100",)), host(gpus=2))
    assert refusal is not None
    assert "1 GPUs" in refusal.what
    assert looking.refusal(facts(gpus=("A100", "A100")), host(gpus=2)) is None


def test_what_a_host_says_becomes_typed_facts() -> None:
    older, newer = "20260101T000000Z-aaaaaaa", "20260102T000000Z-bbbbbbb"
    entry = Entry(Verdict.LIVE, newer, datetime(2026, 1, 1, tzinfo=UTC), revision="abc")
    said = Result(
        "open",
        (
            ("root", "/srv/app"),
            ("home", "/root"),
            ("free", "123"),
            ("writable", "yes"),
            ("file", "missing /etc/a file"),
            ("release", newer),
            ("release", older),
            ("release", "lost+found"),
            ("model", "m1"),
            ("current", newer),
            ("journal", base64.b64encode(entry.line().encode()).decode()),
        ),
    )
    known = looking.read("web1", said)
    assert known.releases == (older, newer)
    assert known.files == {"/etc/a file": "missing"}
    assert known.current_revision == "abc"
    assert known.uid == -1


def test_a_lying_host_cannot_crash_the_controller() -> None:
    known = looking.read("web1", Result("open", (("free", "much"), ("uid", "\x1b[2J"))))
    assert (known.free, known.uid, known.current) == (0, -1, None)


def test_pruning_keeps_so_many_good_ones_and_what_was_good_before() -> None:
    known = facts(good="r1 r2 r3 r4", live="r4")
    assert set(service.kept(known, "r5", 3)) == {"r5", "r4", "r3"}
    assert set(service.kept(known, "r5", 1)) == {"r5", "r4"}


def test_rollback_takes_the_newest_release_that_is_good_on_every_host() -> None:
    fleet = {
        "web1": facts("web1", live="r4", good="r1 r2 r3 r4"),
        "web2": facts("web2", live="r4", good="r1 r2 r4"),
    }
    assert previous(fleet) == "r2"


def test_rollback_with_nothing_to_go_back_to_says_so() -> None:
    with pytest.raises(UsageError, match="no good release before r1"):
        previous({"web1": facts(live="r1", good="r1")})


def test_rollback_passes_over_a_release_whose_folder_is_gone() -> None:
    known = facts(live="r3", good="r1 r2 r3", releases=("r1", "r3"))
    assert previous({"web1": known}) == "r1"


def failed(code: str, phase: Phase) -> FleetError:
    result = Result("x", (("fail.message", "it failed"),))
    return FleetError(phase, (ScriptFailed(code, result, host="web1", phase=phase),))


@pytest.mark.parametrize(
    ("code", "phase", "status"),
    [
        ("no-revision", Phase.FETCH, ExitStatus.USAGE),
        ("no-access", Phase.FETCH, ExitStatus.NOT_READY),
        ("no-space", Phase.TRAIN, ExitStatus.NOT_READY),
        ("not-installable", Phase.INSTALL, ExitStatus.ROLLED_BACK),
        ("training-failed", Phase.TRAIN, ExitStatus.ROLLED_BACK),
        ("out-of-memory", Phase.TRAIN, ExitStatus.ROLLED_BACK),
        ("job-lost", Phase.TRAIN, ExitStatus.NOT_READY),
        ("job-busy", Phase.TRAIN, ExitStatus.LOCKED),
        ("no-inputs", Phase.TRAIN, ExitStatus.USAGE),
        ("timeout", Phase.MODEL, ExitStatus.NOT_READY),
        ("model-refused", Phase.MODEL, ExitStatus.REFUSED),
        ("no-source", Phase.MODEL, ExitStatus.USAGE),
        ("source-down", Phase.DISTRIBUTE, ExitStatus.NOT_READY),
        ("unhealthy", Phase.STAGE, ExitStatus.REFUSED),
        ("golden", Phase.STAGE, ExitStatus.REFUSED),
        ("bad-golden", Phase.INSTALL, ExitStatus.USAGE),
        ("timeout", Phase.TRAIN, ExitStatus.ROLLED_BACK),
    ],
)
def test_each_way_to_fail_before_the_switch_has_its_exit_status(
    code: str, phase: Phase, status: ExitStatus
) -> None:
    error = judged(failed(code, phase))
    assert error.status == status
    assert "nothing was switched" in error.what


def test_a_lost_host_counts_more_than_a_failed_release() -> None:
    lost = Unreachable("cannot connect to web2", host="web2")
    release = failed("unhealthy", Phase.STAGE).causes[0]
    assert isinstance(judged(FleetError(Phase.STAGE, (release, lost))), HostNotReady)
    assert isinstance(judged(FleetError(Phase.STAGE, (release,))), Refused)


def test_a_template_that_cannot_be_rendered_is_a_mistake_in_the_settings() -> None:
    error = FleetError(Phase.LOOK, (SettingsError("a template cannot be rendered"),))
    assert error.status == ExitStatus.USAGE
    assert judged(error).status == ExitStatus.USAGE
    assert judged(error).what == "a template cannot be rendered; nothing was switched"


def test_the_probe_is_asked_for_the_revision_that_was_deployed() -> None:
    wanted = Health.model_validate({"json": {"revision": "$REVISION", "ready": True}})
    asked = json.loads(health.until_healthy(wanted, "0.0.0.0", 8000, "abc"))
    assert asked["fields"] == {"revision": "abc", "ready": True}
    assert (asked["host"], asked["port"], asked["path"]) == ("127.0.0.1", 8000, "/healthz")
    assert not asked["steady"]
    assert json.loads(health.of_slot(wanted, "abc"))["host"] == "", "a slot knows its own address"
    steady = json.loads(health.staying_healthy(wanted, "10.0.0.1", 80, "abc", timedelta(minutes=2)))
    assert (steady["steady"], steady["timeout"]) == (True, 120.0)


@pytest.mark.parametrize("text", ["", "not json", "[1, 2]", "NaN"])
def test_metrics_that_are_no_table_are_no_metrics(text: str) -> None:
    said = (("model", "a" * 64), ("metrics", base64.b64encode(text.encode()).decode()))
    results = (Result("job_submit"), Result("job_follow"), Result("job_keep", said))
    assert train.read("h1", results).metrics == {}
