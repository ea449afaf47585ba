"""Which release people mean, and what is said of one whose record nobody has."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest

from aideploy.commands.recorded import Fleet, from_journal, record_script
from aideploy.errors import UsageError
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Entry, Journal, Verdict

OLD, MIDDLE, NEW = (f"2026010{day}T100000Z-{commit * 7}" for day, commit in enumerate("abc", 1))
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def host(name: str, current: str | None = NEW, releases: tuple[str, ...] = (MIDDLE, NEW)) -> Fleet:
    entries = tuple(Entry(Verdict.GOOD, one, NOON, "ann@laptop") for one in (OLD, MIDDLE, NEW))
    odd = Entry(Verdict.GOOD, "../../etc/passwd", NOON)
    known = HostFacts(
        host=name,
        root=PurePosixPath("/srv/app"),
        current=current,
        releases=releases,
        journal=Journal((*entries, odd)),
    )
    return Fleet({name: known}, (), 1)


def fleet(*hosts: Fleet) -> Fleet:
    facts = {name: known for one in hosts for name, known in one.facts.items()}
    return Fleet(facts, (), len(facts))


@pytest.mark.parametrize(
    ("word", "release"),
    [
        (NEW, NEW),
        ("current", NEW),
        ("previous", MIDDLE),
        ("aaaaaaa", OLD),
        ("aaaa", OLD),
        ("b" * 7 + "0" * 33, MIDDLE),
        ("20260102", MIDDLE),
    ],
)
def test_a_release_may_be_named_in_short(word: str, release: str) -> None:
    assert fleet(host("h1"), host("h2")).named(word) == release


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("202601", "may be 3 releases"),
        ("", "no host knows a release ''"),
        ("aaa", "no host knows"),
        ("../../etc/passwd", "no host knows"),
        ("20260103T100000Z-cccccc1", "no host knows"),
    ],
)
def test_a_name_that_means_none_or_several_is_refused(word: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        host("h1").named(word)


def test_the_nearest_known_release_is_named() -> None:
    with pytest.raises(UsageError) as refused:
        host("h1").named("20260103T100000Z-cccccc1")
    assert refused.value.why == f"the nearest: {NEW}"


def test_current_is_asked_for_where_hosts_differ() -> None:
    with pytest.raises(UsageError, match="serve different releases") as refused:
        fleet(host("h1"), host("h2", current=MIDDLE)).named("current")
    assert f"{MIDDLE} on 1" in refused.value.why
    with pytest.raises(UsageError, match="nothing is live"):
        host("h1", current=None).named("current")


def test_who_has_a_release_is_asked_before_who_only_heard_of_it() -> None:
    both = fleet(host("h1", releases=(NEW,)), host("h2"))

    assert both.knowing(MIDDLE) == ("h2", "h1")
    assert both.knowing(OLD) == ("h1", "h2")


def test_only_names_of_releases_become_paths() -> None:
    assert "../../etc/passwd" not in host("h1").releases
    script = record_script(PurePosixPath("/srv/app"), [OLD])
    assert script.args == (
        f"/srv/app/releases/{OLD}/release.json",
        f"/srv/app/records/{OLD}.json",
        f"/srv/app/analyses/{OLD}.json",
    )


def test_of_a_release_without_a_record_the_journal_is_all_there_is() -> None:
    record = from_journal(host("h1").facts["h1"], OLD)

    assert (record.format, record.id, record.who, record.prepared_at) == (
        0,
        OLD,
        "ann@laptop",
        NOON,
    )
