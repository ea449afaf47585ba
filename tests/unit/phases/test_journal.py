"""The journal decides what "the previous good release" means."""

from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

from aideploy.phases.drift import last_good
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Entry, Journal, Verdict

AT = datetime(2026, 1, 1, tzinfo=UTC)


def journal(*words: str) -> Journal:
    """Make a journal of words such as "r1:good"."""
    entries = []
    for word in words:
        release, _, verdict = word.partition(":")
        entries.append(Entry(Verdict(verdict), release, AT))
    return Journal(tuple(entries))


def test_an_entry_survives_being_written_and_read() -> None:
    entry = Entry(Verdict.LIVE, "r1", AT, "ann@laptop", 'why "not"\n\x1b[31m', "abc", "def")
    assert "\n" not in entry.line()
    assert Journal.parse(entry.line().encode()).entries == (entry,)


def test_lines_that_are_torn_or_foreign_are_passed_over() -> None:
    good = Entry(Verdict.GOOD, "r1", AT).line()
    data = f'{{"verdict": "go\n{good}\nhello\n[1]\n{{"verdict": "odd", "release": "x"}}\n\xff'
    read = Journal.parse(data.encode("latin-1"))
    assert [entry.release for entry in read.entries] == ["r1"]
    assert read.unreadable == 5
    assert Journal.parse(f"{good}\n\n{good}\n".encode()).unreadable == 0


def test_going_back_passes_over_what_failed_and_what_was_never_good() -> None:
    known = journal("r1:good", "r2:live", "r2:reverted", "r3:prepared", "r4:live", "r4:good")
    assert known.good_before("r4") == ("r1",)


def test_a_release_that_was_left_by_hand_is_not_gone_back_to() -> None:
    known = journal("r1:good", "r2:good", "r3:good", "r2:live", "r2:good", "r3:bad")
    assert known.good_before("r2") == ("r1",)
    assert known.good() == ("r1", "r2")


def test_a_release_that_was_bad_and_then_good_is_good() -> None:
    assert journal("r1:bad", "r1:good").good() == ("r1",)


def test_without_anything_live_the_newest_good_release_is_the_first_choice() -> None:
    assert journal("r1:good", "r2:good").good_before(None) == ("r2", "r1")


def test_what_was_judged_last_is_what_the_file_says_last() -> None:
    # A laptop whose clock was a year ahead judged the first of them.
    ahead = Entry(Verdict.GOOD, "r1", AT.replace(year=AT.year + 1))
    known = Journal((ahead, Entry(Verdict.GOOD, "r2", AT), Entry(Verdict.GOOD, "r3", AT)))
    assert [one.release for one in known.judged_good()] == ["r3", "r2", "r1"]


def test_the_commit_of_a_release_is_known_whoever_judged_it_last() -> None:
    known = Journal(
        (
            Entry(Verdict.PREPARED, "r1", AT, revision="abc", model="def"),
            Entry(Verdict.BAD, "r1", AT, why="rolled back by hand"),
        )
    )
    assert (known.revision("r1"), known.model("r1")) == ("abc", "def")
    assert known.revision("r2") == ""


def test_a_controller_whose_clock_was_a_year_ahead_says_not_for_ever_what_is_good() -> None:
    wrong = Entry(Verdict.GOOD, "r1", AT + timedelta(days=365))
    known = Journal((wrong, Entry(Verdict.GOOD, "r2", AT), Entry(Verdict.GOOD, "r3", AT)))
    host = HostFacts("h1", PurePosixPath("/srv/app"), journal=known)
    assert last_good({"h1": host}) == "r3"
