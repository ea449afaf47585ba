"""One training on two hosts by a real torchrun: begun together, ended together."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from aideploy.errors import ExitStatus
from aideploy.jobs.job import State
from tests.fleet.project import Command, Finished, Project, eventually, repositories
from tests.fleet.test_jobs import jobs, let_it_end, ticks, without
from tests.lab.hosts import Lab
from tests.lab.training_tools import TORCH, packages, put_on

pytestmark = pytest.mark.fleet

TRAINING = Path(__file__).with_name("train_together.py")
COMMAND = "/opt/torch-environment/bin/python train_together.py"
STARTING_SECONDS = 180.0


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two hosts with a PyTorch."""
    folder = repositories(tmp_path_factory.mktemp("repositories"))
    torch = packages("torch", TORCH)
    with Lab(2, binds=[folder, torch]) as lab:
        for host in lab.hosts:
            put_on(host, torch, "torchrun", "torch.distributed.run")
        yield lab


@pytest.fixture(scope="module")
def ganged(pair: Lab, tmp_path_factory: pytest.TempPathFactory) -> Project:
    device = pair.hosts[0].exec("ip -4 -o address show scope global").stdout.split()[1]
    project = Project(
        pair,
        tmp_path_factory.mktemp("ganged"),
        app="ganged",
        roles={"h1": ["train", "serve"], "h2": ["train"]},
        train=COMMAND,
        train_environment=f'{{ GLOO_SOCKET_IFNAME = "{device}" }}',
    )
    shutil.copy(TRAINING, project.source)
    project.configure(train_table='engine = "torchrun"')
    project.set_up()
    return project


@pytest.fixture
def project(ganged: Project) -> Iterator[Project]:
    yield ganged
    ganged.end_trainings()
    quiet = eventually(lambda: not any(map(ganged.processes, ganged.hosts)))
    assert quiet, "nothing of it may run on"


def begin(project: Project, **behaviour: object) -> Command:
    """A deploy whose training runs now on both hosts, until `let_it_end`."""
    project.hosts[0].exec(f"rm -f {project.root}/enough")
    project.commit(trains_until=f"{project.root}/enough", **behaviour)
    command = project.start("deploy")
    for host in ("h1", "h2"):
        command.wait_for(rf"{host} . tick 5$", STARTING_SECONDS)
    return command


def parts(project: Project) -> dict[str, dict[str, object]]:
    """The newest job, by host."""
    known = jobs(project)
    return {str(job["host"]): job for job in known if job["id"] == known[0]["id"]}


def states(project: Project) -> dict[str, object]:
    return {host: job["state"] for host, job in parts(project).items()}


def started(project: Project) -> list[str]:
    job = parts(project)["h1"]["id"]
    return [h.exec(f"cat {project.root}/jobs/{job}/started").stdout for h in project.hosts]


def nothing_runs(project: Project) -> bool:
    look = "pgrep -f '[t]rain_together|[t]orchrun'"
    return not any(host.exec(look, check=False).stdout for host in project.hosts)


def end(project: Project, command: Command) -> Finished:
    let_it_end(project)
    finished = command.finish(STARTING_SECONDS)
    assert "Traceback (most recent call last):\n  File" not in finished.last_words
    return finished


@pytest.mark.slow
def test_two_hosts_train_one_model_through_the_death_of_the_controller(project: Project) -> None:
    command = begin(project)
    before = started(project)
    assert states(project) == {"h1": State.RUNNING, "h2": State.RUNNING}
    command.kill()
    again = project.start("deploy", "--wait-lock")
    for host in ("h1", "h2"):
        again.wait_for(rf"{host} . tick 5$")
    assert started(project) == before
    finished = end(project, again)
    assert finished.status == ExitStatus.DONE, finished.output
    assert "h1 | rank 0 of 2" in finished.output and "h2 | rank 1 of 2" in finished.output
    # What the second host learnt is in the weight that the first one kept.
    model = project.hosts[0].exec(f"cat {project.root}/current/model/weight").stdout
    assert model == "3.00\n"
    assert states(project) == {"h1": State.SUCCEEDED, "h2": State.SUCCEEDED}
    assert project.all_serve() == {str(parts(project)["h1"]["revision"])}
    assert nothing_runs(project)

    reused = project.fab("deploy")
    assert "trained before" in reused.output and not ticks(reused.output)
    assert {job["attempt"] for job in parts(project).values()} == {1}


@pytest.mark.slow
def test_a_process_that_dies_on_one_host_ends_all_and_the_host_is_named(project: Project) -> None:
    before = project.all_serve()
    command = begin(project)
    project.hosts[1].exec("pkill -KILL -f '[t]rain_together.py$'")
    finished = command.finish(STARTING_SECONDS)
    assert finished.status == ExitStatus.ROLLED_BACK, finished.output
    assert "train failed on h2" in finished.last_words, finished.output
    assert "exit status" in finished.last_words
    assert nothing_runs(project)
    assert states(project)["h2"] == State.FAILED
    assert states(project)["h1"] in (State.FAILED, State.CANCELLED)
    assert project.all_serve() == before

    # The same inputs are tried again, on both.
    again = project.start("deploy")
    again.wait_for(r"h2 . tick 5$", STARTING_SECONDS)
    finished = end(project, again)
    assert finished.status == ExitStatus.DONE, finished.output
    assert "attempt 2" in finished.output
    assert states(project) == {"h1": State.SUCCEEDED, "h2": State.SUCCEEDED}


@pytest.mark.slow
def test_a_part_that_is_gone_without_a_word_is_found_whoever_says_so_first(
    project: Project,
) -> None:
    command = begin(project)
    job = parts(project)["h2"]["id"]
    # All of it at once, and whoever would tell of it.
    project.hosts[1].exec(
        f"grep -lzxF JOB_DIR={project.root}/jobs/{job} /proc/[0-9]*/environ 2>/dev/null |"
        " cut -d / -f 3 | xargs kill -KILL $(cut -d ' ' -f 1 "
        f"{project.root}/jobs/{job}/started)"
    )
    finished = command.finish(STARTING_SECONDS)
    assert finished.status == ExitStatus.NOT_READY, finished.output
    assert "h2" in finished.last_words, finished.output
    assert nothing_runs(project)
    assert states(project)["h2"] == State.LOST


@pytest.mark.slow
def test_to_cancel_a_training_ends_it_on_all_hosts(project: Project) -> None:
    submitted = begin(project)
    submitted.kill()
    assert "nothing of it runs any more" in project.fab("train.cancel").last_words
    assert nothing_runs(project)
    assert states(project) == {"h1": State.CANCELLED, "h2": State.CANCELLED}


@pytest.mark.slow
def test_a_part_that_failed_while_nobody_looked_ends_the_others_as_soon_as_somebody_does(
    project: Project,
) -> None:
    command = begin(project)
    command.kill()
    # The other host waits for an answer that never comes: it is frozen first.
    project.hosts[0].exec("pkill -STOP -f '[t]rain_together.py$'")
    project.hosts[1].exec("pkill -KILL -f '[t]rain_together.py$'")
    assert eventually(lambda: states(project)["h2"] == State.FAILED, 60)
    assert states(project)["h1"] == State.RUNNING
    attached = project.fab("train.attach", expected=ExitStatus.ROLLED_BACK)
    assert "train failed on h2" in attached.last_words
    assert nothing_runs(project)
    assert states(project)["h1"] == State.CANCELLED


@pytest.mark.slow
def test_a_host_that_cannot_take_part_ends_what_had_begun_on_the_others(project: Project) -> None:
    with without(project.hosts[1], "torchrun"):
        project.commit()
        refused = project.fab("deploy", expected=ExitStatus.NOT_READY)
    assert "there is no torchrun" in refused.last_words and "h2" in refused.last_words
    assert nothing_runs(project)
    assert states(project) == {"h1": State.CANCELLED}
    project.fab("deploy")


@pytest.mark.slow
def test_to_submit_begins_all_parts_and_to_attach_shows_them(project: Project) -> None:
    project.commit()
    submitted = project.fab("train.submit")
    assert "trains on h1, h2" in submitted.last_words
    attached = project.fab("train.attach")
    assert "h1 | rank 0 of 2" in attached.output
    assert "ended well" in attached.last_words
    assert eventually(lambda: set(states(project).values()) == {State.SUCCEEDED}, 30)
