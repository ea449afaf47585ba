"""Training by a real Slurm: the cluster runs the job, the job's folder tells how it went."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
)
from tests.lab.hosts import Host, Lab

pytestmark = pytest.mark.fleet

SLURM = Path(__file__).with_name("slurm.conf")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One host with a Slurm of its own; the services that Debian brings are started by hand."""
    folder = repositories(tmp_path_factory.mktemp("repositories"))
    with Lab(1, binds=[folder], packages=["slurm-wlm", "munge"]) as lab:
        start_slurm(lab.hosts[0])
        yield lab


@pytest.fixture(scope="module")
def queued(cluster: Lab, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(cluster, tmp_path_factory.mktemp("queued"), app="queued")
    project.set_up()
    return project


@pytest.fixture
def project(queued: Project) -> Iterator[Project]:
    queued.configure(train_table='engine = "slurm"')
    yield queued
    queued.end_trainings()


def start_slurm(host: Host) -> None:
    host.path("/etc/slurm").mkdir(exist_ok=True)
    host.path("/etc/slurm/slurm.conf").write_text(SLURM.read_text())
    host.exec(
        "install -d -o slurm -g slurm /var/spool/slurmctld /var/log/slurm"
        " && install -d /var/spool/slurmd"
        " && dd if=/dev/urandom of=/etc/munge/munge.key bs=128 count=1 status=none"
        " && chown munge:munge /etc/munge/munge.key && chmod 400 /etc/munge/munge.key"
        " && systemctl start munge && slurmctld && slurmd"
    )
    assert eventually(lambda: "idle" in host.exec("sinfo -h -o %T", check=False).stdout, 60)


def queue(project: Project) -> str:
    return project.hosts[0].exec("squeue -h -o '%j %T'").stdout.strip()


def test_a_deploy_that_died_finds_its_job_in_the_queue_again(project: Project) -> None:
    command = begin(project)
    before = started(project)
    assert queue(project) == f"aideploy-queued-{newest(project)['id']} RUNNING"
    command.kill()
    again = project.start("deploy")
    finish_without_a_gap(project, again)
    assert newest(project)["attempt"] == 1
    assert before
    # The inputs are the same: nothing waits in the queue a second time.
    assert "trained before" in project.fab("deploy").output
    assert queue(project) == ""


@pytest.mark.slow
def test_a_job_that_waits_in_the_queue_can_be_cancelled(project: Project) -> None:
    host = project.hosts[0]
    host.exec("scontrol update nodename=h1 state=drain reason=test")
    try:
        project.commit()
        command = project.start("deploy")
        assert eventually(lambda: queue(project).endswith("PENDING"), 60)
        assert newest(project)["state"] == State.PENDING
        project.fab("train.cancel")
        finished = command.finish()
        assert finished.status == ExitStatus.NOT_READY, finished.output
        assert queue(project) == ""
    finally:
        host.exec("scontrol update nodename=h1 state=resume")


@pytest.mark.slow
def test_a_job_that_the_cluster_lost_counts_as_failed_as_soon_as_somebody_asks(
    project: Project,
) -> None:
    host, textfile = project.hosts[0], "/var/lib/prometheus/node-exporter"
    host.exec(f"mkdir -p {textfile}")
    project.configure(more=f"[monitoring]\ntextfile = '{textfile}'")
    project.set_up()
    command = begin(project)
    command.kill()
    keeper = started(project).split()[0]
    # As when the node goes down: nobody is left to say how it ended.
    host.exec(f"kill -KILL {keeper} $(pgrep -P {keeper})")
    assert eventually(lambda: queue(project) == "", 60)
    told = f"cat {textfile}/*.prom"
    failed = 'aideploy_training_last_failed{app="queued",env="test"} 1'
    assert failed not in host.exec(told).stdout

    assert newest(project)["state"] == State.LOST

    assert failed in host.exec(told).stdout


def test_a_training_that_fails_in_the_cluster_says_how(project: Project) -> None:
    refused(project, ExitStatus.ROLLED_BACK, "exit status 3", training_ends_with=3)


def test_a_training_that_asks_for_more_than_the_cluster_has_is_refused(project: Project) -> None:
    project.configure(train_table='engine = "slurm"\nresources = { cpus = 64 }')
    finished = refused(project, ExitStatus.NOT_READY, "Slurm did not take the job")
    assert "resources" in finished.last_words


@pytest.mark.slow
def test_what_is_shown_of_a_job_is_the_same_for_every_engine(project: Project) -> None:
    command = begin(project)
    let_it_end(project)
    assert command.finish().status == ExitStatus.DONE
    assert spec(project)["engine"] == "slurm"
    assert newest(project)["state"] == State.SUCCEEDED
