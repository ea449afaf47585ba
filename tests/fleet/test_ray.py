"""Training by a real Ray: the cluster runs the job, the job's folder tells how it went."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aideploy.errors import ExitStatus
from aideploy.jobs.job import State
from tests.fleet.project import Project, eventually, repositories
from tests.fleet.test_jobs import (
    begin,
    finish_without_a_gap,
    let_it_end,
    newest,
    refused,
    spec,
    started,
    trains_again,
    without,
)
from tests.lab.hosts import Host, Lab
from tests.lab.training_tools import RAY, packages, put_on

pytestmark = pytest.mark.fleet

AS_DEPLOY = "runuser -u deploy -- env HOME=/home/deploy PATH=/usr/local/bin:/usr/bin:/bin"
START = (
    "ray start --head --num-cpus 1 --object-store-memory 100000000 --disable-usage-stats"
    " --include-dashboard true"
)
# A training that gives its work to the cluster, as one that needs Ray does.
TASKS = """
import ray

@ray.remote
def square(number):
    return number * number

ray.init(log_to_driver=False)
print("squares", sum(ray.get([square.remote(number) for number in range(4)])), flush=True)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One host with a Ray of its own, started as the deploy user."""
    folder = repositories(tmp_path_factory.mktemp("repositories"))
    ray = packages("ray", RAY)
    with Lab(1, binds=[folder, ray]) as lab:
        put_on(lab.hosts[0], ray, "ray", "ray.scripts.scripts")
        start_ray(lab.hosts[0])
        yield lab


@pytest.fixture(scope="module")
def clustered(cluster: Lab, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(cluster, tmp_path_factory.mktemp("clustered"), app="clustered")
    project.set_up()
    return project


@pytest.fixture
def project(clustered: Project) -> Iterator[Project]:
    clustered.configure(train_table='engine = "ray"', train="python3 train.py")
    yield clustered
    clustered.end_trainings()


def start_ray(host: Host) -> None:
    # Ray gives up after 30 s, which a busy machine may need.
    for _ in range(4):
        if host.exec(f"{AS_DEPLOY} {START}", check=False).returncode == 0:
            break
        ray(host, "stop --force")
    assert eventually(lambda: "server address" in ray(host, "job list"), 60)


def ray(host: Host, command: str) -> str:
    said = host.exec(f"{AS_DEPLOY} RAY_ADDRESS=http://127.0.0.1:8265 ray {command}", check=False)
    return said.stdout + said.stderr


def name_of(project: Project) -> str:
    job = newest(project)
    return f"aideploy-{project.app}-{job['id']}-{job['attempt']}"


@pytest.mark.slow
def test_a_deploy_that_died_finds_its_job_in_the_cluster_again(project: Project) -> None:
    host = project.hosts[0]
    command = begin(project)
    before = started(project)
    name = name_of(project)
    assert f"Status for job '{name}': RUNNING" in ray(host, f"job status {name}")
    command.kill()
    again = project.start("deploy", "--wait-lock")
    again.wait_for(r"h. . tick 5$")
    assert started(project) == before
    finish_without_a_gap(project, again)
    assert newest(project)["attempt"] == 1
    assert spec(project)["engine"] == "ray"
    assert eventually(lambda: "succeeded" in ray(host, f"job status {name}"))
    # The inputs are the same: the cluster hears nothing of it.
    assert "trained before" in project.fab("deploy").output
    assert ray(host, "job list").count("submission_id='aideploy-") == 1


@pytest.mark.slow
def test_a_training_may_give_its_work_to_the_cluster(project: Project) -> None:
    (project.source / "tasks.py").write_text(TASKS)
    python = "/opt/ray-environment/bin/python"
    project.configure(train=f"{python} tasks.py && python3 train.py")
    revision = project.deploy()
    assert project.all_serve() == {revision}
    assert "squares 14" in project.fab("train.logs").output


@pytest.mark.slow
def test_a_training_that_fails_in_the_cluster_says_how(project: Project) -> None:
    refused(project, ExitStatus.ROLLED_BACK, "exit status 3", training_ends_with=3)
    assert newest(project)["state"] == State.FAILED


@pytest.mark.slow
def test_a_job_of_the_cluster_can_be_cancelled_while_it_waits_and_while_it_runs(
    project: Project,
) -> None:
    host = project.hosts[0]
    command = begin(project)
    name = name_of(project)
    assert "nothing of it runs any more" in project.fab("train.cancel").last_words
    assert command.finish().status == ExitStatus.ROLLED_BACK
    assert newest(project)["state"] == State.CANCELLED
    assert "python3 train.py" not in project.processes(host)
    assert "Status for job" not in ray(host, f"job status {name}")

    # More processors than there are: Ray lets it wait.
    project.configure(train_table='engine = "ray"\nresources = { cpus = 64 }')
    project.commit()
    waiting = project.start("deploy")
    waiting.wait_for(r"h1 . -- Ray job aideploy-clustered-")
    assert newest(project)["state"] == State.PENDING
    project.fab("train.cancel")
    finished = waiting.finish()
    assert finished.status == ExitStatus.NOT_READY, finished.output
    assert "was cancelled by" in finished.output and "before it ran" in finished.output
    # Another attempt is one of its own, whatever Ray makes of the first.
    project.configure(train_table='engine = "ray"')
    project.fab("deploy")
    assert newest(project)["state"] == State.SUCCEEDED


@pytest.mark.slow
def test_a_cluster_that_ends_takes_the_job_with_it_and_the_next_deploy_trains_again(
    project: Project,
) -> None:
    host = project.hosts[0]
    command = begin(project)
    ray(host, "stop --force")
    try:
        lost = command.finish()
        assert lost.status == ExitStatus.NOT_READY, lost.output
        assert newest(project)["state"] == State.LOST
        assert "the training " in lost.last_words
        # There is nobody who would take it now.
        refused = project.fab("deploy", expected=ExitStatus.NOT_READY)
        assert "Ray does not answer at http://127.0.0.1:8265" in refused.last_words
        assert "ray start --head" in refused.last_words
    finally:
        start_ray(host)
    let_it_end(project)
    trains_again(project)


@pytest.mark.slow
def test_a_job_that_was_submitted_before_it_was_noted_is_not_submitted_twice(
    project: Project,
) -> None:
    """The controller died between Ray's yes and ours: the name is taken, the job is that one."""
    host = project.hosts[0]
    real = host.path("/usr/local/bin/ray").read_text()
    host.path("/usr/local/bin/ray-itself").write_text(real)
    host.path("/usr/local/bin/ray-itself").chmod(0o755)
    twice = 'case "$*" in *"job submit"*) ray-itself "$@" >/dev/null 2>&1 ;; esac; ray-itself "$@"'
    host.path("/usr/local/bin/ray").write_text(f"#!/bin/bash\n{twice}\n")
    try:
        command = begin(project)
        assert ray(host, "job list").count(f"submission_id='{name_of(project)}'") == 1
        let_it_end(project)
        assert command.finish().status == ExitStatus.DONE
    finally:
        host.path("/usr/local/bin/ray").write_text(real)


@pytest.mark.slow
def test_a_host_without_ray_is_refused_before_anything_begins(project: Project) -> None:
    with without(project.hosts[0], "ray"):
        refused(project, ExitStatus.NOT_READY, "there is no ray in the release's environment")
