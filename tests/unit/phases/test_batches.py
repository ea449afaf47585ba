"""Which hosts switch together, in which order, and what is borne: the course of a rollout."""

from __future__ import annotations

from pathlib import Path

import pytest

from aideploy.errors import SettingsError
from aideploy.phases.batches import Course, at_once, course, promoted
from aideploy.settings import load

HEAD = "[app]\nname = 'small'\nrepository = 'r'\n[serve]\ncommand = 's'\n[rollout]\n"


def rolled(tmp_path: Path, hosts: int, rollout: str) -> Course:
    """The course over so many hosts, h0 and on."""
    names = [f"h{number}" for number in range(hosts)]
    tables = [f"[environments.p.hosts.{name}]\naddress = '{name}'\n" for name in names]
    file = tmp_path / "hosts.toml"
    file.write_text(f"{HEAD}{rollout}\n{''.join(tables)}")
    return course(load(file, None), names)


@pytest.mark.parametrize(
    ("hosts", "rollout", "sizes"),
    [
        # The defaults: a canary, and a quarter of all at a time. Five bake times at most.
        (1, "", [1]),
        (2, "", [1, 1]),
        (3, "", [1, 1, 1]),
        (4, "", [1, 1, 1, 1]),
        (5, "", [1, 2, 2]),
        (10, "", [1, 3, 3, 3]),
        (200, "", [1, 50, 50, 50, 49]),
        (3, "canary = 0", [1, 1, 1]),
        (3, "canary = 0\nbatch = '100%'", [3]),
        (3, "batch = '100%'", [1, 2]),
        (3, "canary = 3", [3]),
        (10, "canary = '20%'\nbatch = 5", [2, 5, 3]),
        (10, "canary = '1%'\nbatch = 100", [1, 9]),
        (7, "canary = 0\nbatch = '34%'", [3, 3, 1]),
    ],
)
def test_every_host_has_its_turn_in_the_order_of_the_file(
    tmp_path: Path, hosts: int, rollout: str, sizes: list[int]
) -> None:
    batches = rolled(tmp_path, hosts, rollout).batches

    assert [len(batch) for batch in batches] == sizes
    assert [host for batch in batches for host in batch] == [f"h{i}" for i in range(hosts)]


def test_a_canary_may_not_fail_and_a_single_batch_is_none(tmp_path: Path) -> None:
    alone = rolled(tmp_path, 1, "max_failures = 2")
    fleet = rolled(tmp_path, 5, "max_failures = 2")

    assert not alone.batch(0).is_canary
    assert str(alone.batch(0)) == ""
    assert alone.tolerated(0) == 2
    assert [fleet.tolerated(index) for index in range(3)] == [0, 2, 2]
    assert [str(fleet.batch(index)) for index in range(3)] == [
        "batch 1 of 3 (canary)",
        "batch 2 of 3",
        "batch 3 of 3",
    ]


def test_what_is_promoted_or_rolled_back_waits_for_nothing(tmp_path: Path) -> None:
    file = tmp_path / "hosts.toml"
    host = "[environments.p.hosts.h0]\naddress = 'h0'\n"
    file.write_text(f"{HEAD}bake = '1m'\npause = '1m'\nmax_failures = 1\nweights = ['5%']\n{host}")
    settings = load(file, None)

    one_by_one = promoted(settings, ["h0", "h1"])

    assert one_by_one.batches == (("h0",), ("h1",))
    assert not one_by_one.has_canary
    assert not one_by_one.bake + one_by_one.pause
    assert one_by_one.max_failures == 1
    assert one_by_one.weights == ()
    assert at_once(["h0", "h1"]) == Course(batches=(("h0", "h1"),))
    assert at_once([]).batches == course(settings, []).batches == ()


def test_the_line_of_a_plan_names_the_shares_of_the_requests(tmp_path: Path) -> None:
    shares = "weights = ['5%', '25%']"
    words = "with 5%, 25%, then all of the requests"

    assert rolled(tmp_path, 1, shares).in_words() == f"switch {words}"
    assert rolled(tmp_path, 2, shares).in_words() == (
        f"switch the canary h0 {words}, then 1 batch of 1 host"
    )
    at_once = rolled(tmp_path, 4, f"canary = 0\nbatch = 2\n{shares}").in_words()
    assert at_once == f"switch 2 batches of up to 2 hosts, the first {words}"


@pytest.mark.parametrize(
    ("rollout", "key", "words"),
    [
        ("batch = 0", "batch", "found 0 (a number), expected at least one host"),
        ("batch = '0%'", "batch", "expected a number of hosts"),
        ("batch = '200%'", "batch", '"1%" to "100%"'),
        ("batch = -1", "batch", "found -1"),
        ("batch = 2.5", "batch", "expected a number of hosts"),
        ("batch = true", "batch", "expected a number of hosts"),
        ("canary = -1", "canary", "expected a number of hosts"),
        ("canary = 4", "canary", "found 4, but this environment has 3 hosts that serve"),
        ("pause = '-5s'", "pause", "expected a duration"),
        ("max_failures = -1", "max_failures", "at least 0"),
        ("on_failure = 'wait'", "on_failure", '"rollback" or "hold"'),
        ("confirm = '5s'", "confirm", "expected more than the bake of 10 s"),
    ],
)
def test_a_rollout_that_cannot_be_is_refused_with_its_line(
    tmp_path: Path, rollout: str, key: str, words: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        rolled(tmp_path, 3, rollout)

    [problem] = caught.value.problems
    assert problem.startswith(f"{tmp_path / 'hosts.toml'}:7: rollout.{key}: ")
    assert words in problem
