"""Which release `fab step.switch` puts live, and what `fab step.finish` leaves."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest

from aideploy.errors import UsageError
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Entry, Journal, Verdict
from aideploy.phases.service import kept_now, newest_staged


def facts(said: str, *, live: str | None = None) -> HostFacts:
    """Facts of a host whose journal says this: "r1 good, r2 prepared"."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    words = [line.split() for line in said.split(", ")]
    return HostFacts(
        host="web1",
        root=PurePosixPath("/srv/app"),
        home=PurePosixPath("/home/deploy"),
        current=live,
        releases=tuple(sorted({release for release, _ in words})),
        journal=Journal(
            tuple(
                Entry(Verdict(verdict), release, at, revision=f"commit of {release}")
                for release, verdict in words
            )
        ),
    )


def test_the_newest_release_that_is_staged_everywhere_goes_live() -> None:
    one = facts("r1 good, r2 prepared, r3 prepared", live="r1")
    other = facts("r1 good, r2 prepared", live="r1")
    target = newest_staged([one, other])
    assert (target.release, target.revision) == ("r2", "commit of r2")


@pytest.mark.parametrize(
    "said",
    ["r1 good", "r0 prepared, r1 good", "r1 good, r2 prepared, r2 live, r2 reverted"],
    ids=["nothing staged", "staged before what is live", "was live and went back"],
)
def test_what_is_not_newer_or_did_not_hold_is_not_put_live(said: str) -> None:
    with pytest.raises(UsageError, match="no release is staged"):
        newest_staged([facts(said, live="r1")])


def test_making_room_keeps_what_is_live_good_and_staged() -> None:
    known = facts("r1 good, r2 good, r3 good, r4 prepared, r5 prepared", live="r3")
    assert set(kept_now(known, 2)) == {"r3", "r2", "r5"}


def test_making_room_where_nothing_was_ever_live_keeps_what_was_staged_last() -> None:
    assert kept_now(facts("r1 prepared, r2 prepared"), 5) == ("r2",)
