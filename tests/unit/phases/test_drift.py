"""What is said of a host that is not as it was left, from what it says of itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from aideploy.phases import drift
from aideploy.phases.condition import Change, Condition, Job
from aideploy.phases.drift import Drift, Kind
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Entry, Journal, Verdict
from aideploy.services.left_over import unwanted_files
from aideploy.settings import Settings
from tests.hosts_toml import loaded

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
OLD, NEW = "20260101T100000Z-aaaaaaa", "20260101T110000Z-bbbbbbb"
SETTINGS = """\
[app]
name = "app"
repository = "git@example.org:app.git"
[serve]
command = "serve"
strategy = "STRATEGY"
manager = "MANAGER"
[environments.production.hosts.web1]
address = "web1.example.org"
"""


def settings(folder: Path, manager: str = "systemd", strategy: str = "recreate") -> Settings:
    return loaded(folder, SETTINGS.replace("STRATEGY", strategy).replace("MANAGER", manager))


def facts(*said: tuple[Verdict, str], current: str | None, **values: Any) -> HostFacts:
    entries = (
        Entry(verdict, release, NOON + timedelta(minutes=minute), "ann@laptop", "it was ill")
        for minute, (verdict, release) in enumerate(said)
    )
    known: dict[str, Any] = {
        "host": "web1",
        "root": PurePosixPath("/srv/app"),
        "user": "deploy",
        "writable": True,
        "current": current,
        "journal": Journal(tuple(entries)),
        **values,
    }
    return HostFacts(**known)


GOOD_OLD = ((Verdict.LIVE, OLD), (Verdict.GOOD, OLD))


@pytest.mark.parametrize(
    ("said", "current", "kind", "words"),
    [
        (GOOD_OLD, OLD, Kind.MISSED, "when it was not there"),
        (
            (*GOOD_OLD, (Verdict.LIVE, NEW), (Verdict.REVERTED, NEW), (Verdict.LIVE, OLD)),
            OLD,
            Kind.RELEASE,
            "from which it went back (it was ill)",
        ),
        ((*GOOD_OLD, (Verdict.LIVE, NEW), (Verdict.GOOD, NEW)), OLD, Kind.MOVED, f"from {NEW}"),
        (GOOD_OLD, NEW, Kind.MOVED, f"from {OLD} to {NEW}"),
        ((*GOOD_OLD, (Verdict.LIVE, NEW), (Verdict.GOOD, NEW)), None, Kind.MOVED, "serves nothing"),
        ((), None, Kind.MISSED, "serves nothing"),
    ],
)
def test_why_a_host_serves_another_release_is_told(
    said: tuple[tuple[Verdict, str], ...], current: str | None, kind: Kind, words: str
) -> None:
    [found] = drift.of_release(facts(*said, current=current), NEW)

    assert found.kind is kind
    assert words in found.what
    assert found.corrected_by_deploy


@pytest.mark.parametrize(
    ("said", "current"),
    [
        ((*GOOD_OLD, (Verdict.LIVE, NEW), (Verdict.GOOD, NEW)), NEW),
        # The first deploy failed: nothing is live again, as before.
        (((Verdict.LIVE, OLD), (Verdict.REVERTED, OLD)), None),
        ((*GOOD_OLD, (Verdict.LIVE, NEW), (Verdict.REVERTED, NEW), (Verdict.LIVE, OLD)), OLD),
        ((), None),
    ],
)
def test_what_we_did_ourselves_is_no_change_by_hand(
    said: tuple[tuple[Verdict, str], ...], current: str | None
) -> None:
    known = facts(*said, current=current)

    assert list(drift.of_release(known, drift.last_good({"web1": known}))) == []


def found(tmp_path: Path, now: Condition, **files: str) -> list[Drift]:
    wanted = settings(tmp_path)
    [host] = wanted.hosts
    # Files that we may not read count as right.
    checksums = dict.fromkeys(drift.asked_files(wanted, host), "unreadable")
    known = facts(*GOOD_OLD, current=OLD, files={**checksums, **files})
    return list(drift.of_host(wanted, host, known, now, OLD))


def test_what_a_deploy_does_not_correct_says_what_does(tmp_path: Path) -> None:
    now = Condition(
        environment="staging",
        changed=(Change("release", "app.py"), Change("venv", "lib/x.py")),
        added=("/etc/systemd/system/app@.service.d/override.conf",),
    )

    kinds = {(one.kind, one.corrected_by_deploy) for one in found(tmp_path, now)}

    assert kinds == {
        (Kind.ENVIRONMENT, True),
        (Kind.CHANGED, True),
        (Kind.CHANGED, False),
        (Kind.ADDED, False),
    }
    assert all(one.next_step for one in found(tmp_path, now))


def test_a_switch_that_nobody_confirms_is_drift_only_when_nobody_is_at_work(tmp_path: Path) -> None:
    job = Job("revert", NOON, "goes back to r1")
    standing_by = Job("stop-old", NOON, "stops r0, which stands by")

    [alone] = found(tmp_path, Condition(due=(job, standing_by)))
    busy = found(tmp_path, Condition(due=(job, standing_by), lock="ann@laptop (deploy)"))

    assert (alone.kind, busy) == (Kind.UNCONFIRMED, [])


def test_what_another_manager_left_is_named_with_what_takes_it_away(tmp_path: Path) -> None:
    unit = "~/.config/systemd/user/app@.service"

    [one] = found(tmp_path, Condition(), **{unit: "0" * 64})

    assert (one.kind, one.what) == (Kind.LEFT_OVER, f"left over: {unit}")
    assert "systemctl --user disable --now app@live.service" in one.next_step


@pytest.mark.parametrize(
    ("manager", "strategy"),
    [("systemd", "socket"), ("systemd", "blue_green"), ("supervisor", "recreate")],
)
def test_what_is_wanted_is_never_called_left_over(
    tmp_path: Path, manager: str, strategy: str
) -> None:
    wanted = settings(tmp_path, manager, strategy)
    [host] = wanted.hosts
    unwanted = set(map(str, unwanted_files(wanted, host)))

    asked = drift.asked_files(wanted, host)

    assert len(asked) == len(set(asked))
    assert unwanted
    assert not {path for path in unwanted if path.startswith("/srv/app")}


def test_a_socket_from_another_strategy_is_left_over_and_setup_takes_it_away(
    tmp_path: Path,
) -> None:
    wanted = settings(tmp_path, "systemd", "recreate")
    [host] = wanted.hosts

    unwanted = unwanted_files(wanted, host)

    assert unwanted[PurePosixPath("/etc/systemd/system/app.socket")] == "fab setup"
