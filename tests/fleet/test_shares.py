"""Several canary hosts give the new release a share of their requests, and things happen to them.

Requests are counted by the revision that answered. HAProxy deals them out in turn, so that a share
is off by less than chance would have it; the tests bear what chance would (`is_share`). Nothing is
sent a second time (`retry = false`): what a release leaves unanswered has failed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import pytest

from aideploy.errors import ExitStatus
from tests.fleet.project import Command, Project, eventually, repositories
from tests.fleet.traffic import USERS_OF_A_HOST, Users
from tests.lab.hosts import Host, Lab

pytestmark = pytest.mark.fleet

# A HAProxy that is killed cuts what is under way, and the connections that are kept to it.
CUT = USERS_OF_A_HOST


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The small app behind HAProxy, live on three hosts, two of which are the canary."""
    folder = repositories(tmp_path_factory.mktemp("repositories"))
    with Lab(3, binds=[folder]) as lab:
        project = Project(
            lab,
            tmp_path_factory.mktemp("shares"),
            app="shares",
            port=8840,
            strategy="blue_green",
            serve="bind = '0.0.0.0'\nretry = false",
        )
        project.set_up()
        project.deploy()
        yield project


@pytest.fixture
def users(three: Project) -> Iterator[Users]:
    with users_of(three) as users:
        yield users


def users_of(project: Project, rate: float = 150) -> Users:
    return Users(project.addresses(), rate)


def course(project: Project, *weights: int, bake: str = "3s", more: str = "") -> None:
    listed = ", ".join(f"'{one}%'" for one in weights)
    project.configure(bake=bake, rollout=f"canary = 2\nweights = [{listed}]\n{more}")


def at_share(project: Project, percent: int) -> Command:
    """A deploy that has just begun to watch its hosts at this share."""
    command = project.start("deploy")
    command.wait_for(rf"watch +.*\b{percent}% of the requests")
    return command


def answered(users: Users, host: Host, revision: str, seconds: float) -> tuple[int, int]:
    """How many of the requests that begin in the next so many seconds the revision answers on that
    host, and how many there are."""
    since = time.time()
    time.sleep(seconds)
    counted = [one for one in users.answers if one.host == host.name and one.began >= since]
    return sum(one.revision == revision for one in counted), len(counted)


def is_share(got: tuple[int, int], percent: int) -> bool:
    """Whether that is the share within four standard deviations of chance."""
    count, total = got
    share = percent / 100
    return abs(count - total * share) <= 4 * math.sqrt(total * share * (1 - share))


def is_back(project: Project, host: Host, revision: str) -> bool:
    """Whether the host serves that revision alone, and nothing waits to take it back."""
    waits = host.exec(f"ls {project.root}/due").stdout
    return waits == "" and list(project.slots(host).values()) == [revision]


def all_back(project: Project, revision: str, within: float = 15) -> bool:
    """Whether all hosts are so within so many seconds."""
    return eventually(
        lambda: all(is_back(project, host, revision) for host in project.hosts), within
    )


@pytest.mark.slow
def test_two_canary_hosts_give_the_shares_that_were_asked_for_and_no_request_is_lost(
    three: Project, users: Users
) -> None:
    course(three, 5, 25, bake="6s")
    before = three.served(three.hosts[0])
    revision = three.commit()
    command = three.start("deploy")
    for percent in (5, 25):
        command.wait_for(rf"watch +.*\b{percent}% of the requests")
        since = time.time()
        time.sleep(5)
        counted = [one for one in users.answers if one.began >= since]
        for host in three.hosts:
            mine = [one.revision for one in counted if one.host == host.name]
            got = mine.count(revision), len(mine)
            assert is_share(got, percent if host is not three.hosts[2] else 0), (host.name, got)
    assert command.finish().status == ExitStatus.DONE
    assert set(users.from_now(1)) == {revision}
    assert users.failed == []
    assert set(users.by_revision()) == {before, revision}


@pytest.mark.slow
def test_a_share_outlives_the_reload_and_the_death_of_haproxy(three: Project) -> None:
    course(three, 25, bake="60s")
    before = three.served(three.hosts[0])
    first, second, _ = three.hosts
    with users_of(three) as users:
        revision = three.commit()
        command = at_share(three, 25)
        for host in (first, second):
            host.exec("systemctl reload shares-haproxy")
        time.sleep(1)
        for host in (first, second):
            got = answered(users, host, revision, 2)
            assert is_share(got, 25), got
        assert users.failed == []
        first.exec("systemctl kill --signal=KILL shares-haproxy")
        second.exec("systemctl restart shares-haproxy")
        assert eventually(lambda: three.served(first) != "")
        time.sleep(1)
        for host in (first, second):
            got = answered(users, host, revision, 2)
            assert is_share(got, 25), got
        assert len(users.failed) <= 2 * CUT, users.failed
        lost = len(users.failed)
        three.fab("rollout.abort")
        assert command.finish().status == ExitStatus.ROLLED_BACK
        assert all_back(three, before)
        since = time.time()
        first.exec("systemctl reload shares-haproxy")
        second.exec("systemctl restart shares-haproxy")
        time.sleep(2)
        assert set(users.by_revision(since)) - {""} == {before}, "nothing of the share is left"
        assert len(users.failed) - lost <= CUT


@pytest.mark.slow
def test_a_controller_that_is_killed_at_a_share_leaves_two_hosts_that_go_back_by_themselves(
    three: Project, users: Users
) -> None:
    course(three, 25, bake="60s")
    before = three.served(three.hosts[0])
    revision = three.commit()
    command = at_share(three, 25)
    time.sleep(2)
    command.kill()
    assert all_back(three, before, 30)
    got = [answered(users, host, revision, 0.5)[0] for host in three.hosts]
    assert got == [0, 0, 0]
    assert users.failed == []
    assert users.by_revision()[revision] > 0
    assert {three.journal(host)[-1][0] for host in three.hosts[:2]} == {"live"}
    course(three, 25)
    three.fab("deploy")
    assert three.all_serve() == {revision}
    assert users.failed == []


@pytest.mark.slow
def test_a_host_that_restarts_at_a_share_comes_back_with_the_old_release_and_so_do_the_others(
    three: Project,
) -> None:
    course(three, 25, bake="60s")
    before = three.served(three.hosts[0])
    first, second, third = three.hosts
    revision = three.commit()
    with Users(three.addresses(first, third)) as users:
        command = at_share(three, 25)
        assert sum(answered(users, first, revision, 1)) > 0
        second.power_off()
        second.boot()
        finished = command.finish(within=120)
        assert eventually(lambda: is_back(three, second, before), within=60)
        assert eventually(lambda: is_back(three, first, before))
        assert answered(users, first, revision, 1)[0] == 0
        assert users.failed == []
    with Users(three.addresses(second)) as users:
        time.sleep(1)
    assert users.failed == []
    assert set(users.by_revision()) == {before}
    assert finished.status in (ExitStatus.ROLLED_BACK, ExitStatus.NEEDS_PERSON)
    assert "h2" in finished.last_words
    course(three, 25)
    three.fab("deploy")
    assert three.all_serve() == {revision}


@pytest.mark.slow
def test_what_another_terminal_asks_at_a_share_is_done_and_a_rollback_is_told_what_to_do(
    three: Project, users: Users
) -> None:
    course(three, 5, 25, bake="4s")
    before = three.served(three.hosts[0])
    revision = three.commit()
    command = at_share(three, 5)
    three.fab("rollout.pause")
    time.sleep(5)
    assert "25% of the requests" not in command.output, "it stays at the share"
    for host in three.hosts[:2]:
        assert is_share(answered(users, host, revision, 3), 5)

    refused = three.fab("rollback", expected=ExitStatus.LOCKED)
    assert "fab rollout.abort" in refused.last_words
    assert is_share(answered(users, three.hosts[0], revision, 3), 5), "and nothing has changed"

    three.fab("rollout.resume")
    command.wait_for(r"watch +.*\b25% of the requests")
    three.fab("rollout.abort")
    finished = command.finish()
    assert finished.status == ExitStatus.ROLLED_BACK
    assert "aborted the rollout" in finished.last_words
    assert all_back(three, before)
    assert [answered(users, host, revision, 0.5)[0] for host in three.hosts] == [0, 0, 0]

    command = at_share(three, 5)
    three.fab("rollout.promote")
    assert command.finish().status == ExitStatus.DONE
    assert three.all_serve() == {revision}
    three.fab("rollback")
    assert three.all_serve() == {before}
    assert users.failed == []


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["abort", "kill"])
def test_an_answer_that_the_new_release_is_giving_is_not_cut_when_its_share_is_taken_back(
    three: Project, ending: str
) -> None:
    course(three, 25, bake="60s")
    before = three.served(three.hosts[0])
    revision = three.commit(answers_after=1.5)
    # So many that somebody is always being answered by the slow one.
    with users_of(three) as users:
        command = at_share(three, 25)
        time.sleep(4)
        if ending == "abort":
            three.fab("rollout.abort")
            command.finish()
        else:
            command.kill()
        assert all_back(three, before, 30)
        time.sleep(2)
        assert users.by_revision()[revision] > 5
        assert users.failed == []


def lives_in(project: Project, host: Host) -> str:
    """The slot that is live, as the disk says."""
    return host.exec(
        f"cd {project.root}/slots; for slot in *; do"
        " [ ! $slot/release -ef ../current ] || echo $slot; done"
    ).stdout.strip()


@pytest.mark.slow
def test_haproxy_and_the_host_start_again_and_the_same_slot_is_live_while_the_old_one_is_kept(
    three: Project,
) -> None:
    course(three, bake="1s")
    old = three.deploy()
    new = three.deploy()
    host = three.hosts[0]
    live = lives_in(three, host)
    kept = "green" if live == "blue" else "blue"
    assert three.slots(host) == {live: new, kept: old}
    with Users(three.addresses(host), rate=50) as users:
        for verb in ("reload", "restart"):
            host.exec(f"systemctl {verb} shares-haproxy")
            time.sleep(1.5)
            assert answered(users, host, new, 1)[0] > 25, verb
            assert set(users.by_revision()) - {""} == {new}
            assert len(users.failed) <= (CUT if verb == "restart" else 0), users.failed
        lost = len(users.failed)
        # The new one dies, twice in a row, as systemd brings it back.
        for _ in range(2):
            host.exec(f"systemctl kill --signal=KILL shares@{live}")
            time.sleep(0.5)
        host.exec(f"systemctl stop shares@{live}")
        assert set(users.from_now(2)) == {old}, "who is kept answers"
        inside = len(users.failed) - lost
        # Without `retry` those that were inside the process when it was killed: one of each user.
        assert inside <= 2 * USERS_OF_A_HOST, users.failed
        host.exec("systemctl reload shares-haproxy; sleep 1; systemctl restart shares-haproxy")
        since = time.time() + 1
        time.sleep(3)
        assert set(users.by_revision(since)) == {old}, "also after a restart of HAProxy"
        host.exec(f"systemctl start shares@{live}")
        assert eventually(lambda: three.served(host) == new)
    host.power_off()
    host.boot()
    assert eventually(lambda: three.served(host) == new, within=30)
    assert lives_in(three, host) == live
    assert eventually(lambda: is_back(three, host, new)), "what was kept ends with the host"
    assert {three.served(other) for other in three.hosts[1:]} == {new}


@pytest.mark.slow
def test_power_and_controller_are_lost_at_a_share_and_the_host_starts_with_the_old_release(
    three: Project,
) -> None:
    course(three, 25, bake="60s")
    before = three.served(three.hosts[0])
    three.commit()
    command = at_share(three, 25)
    host = three.hosts[0]
    assert host.exec("cat /srv/shares/haproxy/share").stdout.split()[1] == "25"
    host.power_off()
    command.kill()
    host.boot()
    assert eventually(lambda: three.served(host) == before)
    with Users(three.addresses(host)) as users:
        assert eventually(lambda: is_back(three, host, before), within=30)
        time.sleep(1)
    assert users.failed == []
    assert set(users.by_revision()) == {before}
    assert host.exec("ls /srv/shares/haproxy/share", check=False).stdout == ""
    assert eventually(lambda: is_back(three, three.hosts[1], before), within=30)


@pytest.mark.slow
def test_one_of_the_two_slots_dies_at_a_share_and_the_other_one_answers(three: Project) -> None:
    course(three, 25, bake="60s")
    before = three.served(three.hosts[0])
    first, second, _ = three.hosts
    old = lives_in(three, first)
    new = "green" if old == "blue" else "blue"
    with users_of(three) as users:
        revision = three.commit()
        command = at_share(three, 25)
        first.exec(f"systemctl kill --signal=KILL shares@{old}")
        assert eventually(lambda: three.slots(first).get(old) == before)
        time.sleep(1)
        got = answered(users, first, revision, 2)
        assert is_share(got, 25), "it came back, and to its share"
        inside = len(users.failed)
        assert inside <= USERS_OF_A_HOST, users.failed
        second.exec(f"systemctl kill --signal=KILL shares@{new}")
        finished = command.finish()
        assert finished.status == ExitStatus.ROLLED_BACK
        assert "watch on h2" in finished.last_words
        assert all_back(three, before)
        assert len(users.failed) - inside <= USERS_OF_A_HOST, users.failed
        assert answered(users, second, revision, 0.5)[0] == 0


@pytest.mark.slow
def test_a_host_that_waits_for_its_turn_is_lost_at_a_share_and_the_canary_goes_back(
    three: Project,
) -> None:
    course(three, 25, bake="4s")
    before = three.served(three.hosts[0])
    first, second, third = three.hosts
    with Users(three.addresses(first, second)) as users:
        revision = three.commit()
        command = at_share(three, 25)
        third.power_off()
        command.wait_for(r"revert +h1 +done")
        third.boot()
        finished = command.finish()
        assert finished.status == ExitStatus.ROLLED_BACK, finished.output
        assert "h3" in finished.last_words
        assert all_back(three, before, 30)
        assert {one.host for one in users.answers} == {"h1", "h2"}
        assert users.failed == []
        third.power_off()
        said = three.fab("deploy", expected=ExitStatus.NOT_READY)
        assert "h3" in said.last_words
        assert set(users.by_revision(time.time() - 0.5)) == {before}
        three.fab("deploy", "--only", "h1,h2")
        assert {three.served(first), three.served(second)} == {revision}
        third.boot()
        three.fab("deploy")
        assert three.all_serve() == {revision}
        assert users.failed == []
