"""Training as a detached job on real hosts: it outlives the controller, the line and the deploy."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aideploy.errors import ExitStatus
from aideploy.jobs.job import State
from tests.fleet.project import Command, Finished, Project, eventually
from tests.lab.hosts import Host, Lab

pytestmark = pytest.mark.fleet

# Control groups of version 1: the hosts cannot limit memory, their machine can.
MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")


@pytest.fixture(scope="module")
def trained(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """An app that trains on the first host and is served by the second."""
    first, second, _ = lab.hosts
    project = Project(
        lab,
        tmp_path_factory.mktemp("trained"),
        hosts=[first, second],
        app="trained",
        port=8700,
        roles={"h1": ["train"], "h2": ["serve"]},
    )
    project.set_up()
    return project


@pytest.fixture
def project(trained: Project) -> Iterator[Project]:
    trained.configure(train_table="")
    yield trained
    trained.end_trainings()


def jobs(project: Project) -> list[dict[str, object]]:
    found = json.loads(project.fab("train.status", "--json").output)
    assert isinstance(found["jobs"], list)
    return found["jobs"]


def newest(project: Project) -> dict[str, object]:
    return jobs(project)[0]


def ticks(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"tick (\d+)$", text, re.MULTILINE)]


def started(project: Project) -> str:
    """The process id and the moment of the job that runs."""
    trainer, *_ = project.hosts
    job = newest(project)
    assert job["state"] == State.RUNNING, job
    return trainer.exec(f"cat {project.root}/jobs/{job['id']}/started").stdout


def begin(project: Project, **behaviour: object) -> Command:
    """A deploy whose training runs now, until `let_it_end`."""
    project.hosts[0].exec(f"rm -f {project.root}/enough")
    project.commit(trains_until=f"{project.root}/enough", **behaviour)
    command = project.start("deploy")
    command.wait_for(r"h. . tick 5$")
    return command


def let_it_end(project: Project) -> None:
    project.hosts[0].exec(f"touch {project.root}/enough")


def spec(project: Project) -> dict[str, object]:
    """What was to be trained, and how."""
    file = f"{project.root}/jobs/{newest(project)['id']}/spec.json"
    found: dict[str, object] = json.loads(project.hosts[0].exec(f"cat {file}").stdout)
    return found


@contextmanager
def without(host: Host, program: str) -> Iterator[None]:
    """A program of /usr/local/bin is not there for a while."""
    place = host.path(f"/usr/local/bin/{program}")
    hidden = place.rename(place.with_name(f"{program}-hidden"))
    try:
        yield
    finally:
        hidden.rename(place)


def log_of(project: Project) -> list[str]:
    found = json.loads(project.fab("train.logs", "--lines", "10000", "--json").output)
    assert isinstance(found["lines"], list)
    return found["lines"]


def finish_without_a_gap(project: Project, again: Command) -> None:
    """The training ends, the deploy too, and it has shown everything that was ever printed."""
    again.wait_for(r"h. . tick 5$")
    let_it_end(project)
    finished = again.finish()
    assert finished.status == ExitStatus.DONE, finished.output
    shown = ticks(finished.output)
    assert shown == list(range(len(shown))), "its log has a gap"
    assert ticks("\n".join(log_of(project))) == shown


def refused(project: Project, status: ExitStatus, says: str, **behaviour: object) -> Finished:
    project.commit(**behaviour)
    before = project.all_serve()
    finished = project.fab("deploy", expected=status)
    assert says in finished.last_words, finished.last_words
    assert project.all_serve() == before
    return finished


# -- it outlives whoever began it --------------------------------------------------------------


@pytest.mark.parametrize("end", ["killed", pytest.param("cut", marks=pytest.mark.slow)])
def test_the_same_deploy_finds_the_training_of_one_that_died(project: Project, end: str) -> None:
    trainer, *_ = project.hosts
    command = begin(project)
    before = started(project)
    if end == "killed":
        command.kill()
    else:
        trainer.drop()
        assert command.finish(within=90).status == ExitStatus.NOT_READY
        assert "a training that has begun goes on" in command.output
        trainer.undrop()

    again = project.start("deploy", "--wait-lock")
    again.wait_for(r"h1 . tick 5$")
    assert started(project) == before
    finish_without_a_gap(project, again)
    job = newest(project)
    assert (job["state"], job["attempt"]) == (State.SUCCEEDED, 1)
    assert len(project.all_serve()) == 1


def test_ctrl_c_leaves_the_training_alone_and_says_how_to_follow_and_to_end_it(
    project: Project,
) -> None:
    command = begin(project)
    before = started(project)
    command.signal(signal.SIGINT)
    finished = command.finish()
    job = str(newest(project)["id"])[:7]

    assert finished.status == ExitStatus.INTERRUPTED, finished.output
    assert f"the job {job} goes on on h1" in finished.last_words
    assert f"fab train.attach --job {job}" in finished.last_words
    assert started(project) == before
    assert not project.is_locked(project.hosts[0])

    watching = project.start("train.attach")
    watching.wait_for(r"h1 . tick 0")
    watching.signal(signal.SIGINT)
    left = watching.finish()
    assert left.status == ExitStatus.INTERRUPTED
    assert f"not followed any more; the job {job} goes on on h1" in left.last_words
    assert started(project) == before

    # Another revision has other inputs: two trainings may not fit.
    project.commit()
    other = project.fab("deploy", expected=ExitStatus.LOCKED)
    assert f"the job {job} is still training" in other.last_words

    cancelled = project.fab("train.cancel", "--job", job)
    assert "nothing of it runs any more" in cancelled.last_words
    assert "python3 train.py" not in project.processes(project.hosts[0])
    twice = project.fab("train.cancel", "--job", job)
    assert "had ended before (CANCELLED); nothing was cancelled" in twice.last_words
    assert str(newest(project)["message"]).startswith("the training was cancelled by ")


def test_a_submitted_job_is_deployed_later_without_training_again(project: Project) -> None:
    revision = project.commit()
    submitted = project.fab("train.submit")
    job = newest(project)
    assert f"job {str(job['id'])[:7]} trains on h1" in submitted.last_words
    attached = project.fab("train.attach")
    assert "ended well" in attached.last_words
    again = project.fab("train.submit")
    assert "has trained this before" in again.last_words
    trained_costs = None
    for _ in range(2):
        finished = project.fab("deploy")
        assert f"trained before: job {str(job['id'])[:7]} of " in finished.output
        assert "training" not in re.findall(r"h1 . (\w+)$", finished.output, re.MULTILINE)
        trained_costs = trained_costs or project.costs()["h1"]
        seconds = re.search(r"train +h1 +done ([\d.]+)s", finished.output)
        assert seconds, finished.output
        print(f"a train phase without anything to train: {seconds[1]} s")
    assert project.all_serve() == {revision}
    server = project.hosts[1]
    record = json.loads(server.exec(f"cat {project.root}/current/release.json").stdout)
    training = record["training"]
    assert (training["job"], training["commit"], training["reused"]) == (job["id"], revision, True)

    project.deploy()
    assert project.costs()["h1"] == trained_costs, "to look costs no more than to train"


# -- who keeps it running ----------------------------------------------------------------------


@contextmanager
def lingering(host: Host) -> Iterator[None]:
    host.exec("loginctl enable-linger deploy")
    try:
        yield
    finally:
        host.exec("loginctl disable-linger deploy")


def test_where_the_users_systemd_may_stay_it_keeps_the_job(project: Project) -> None:
    trainer, *_ = project.hosts
    with lingering(trainer):
        bus = f"test -S /run/user/{uid(trainer)}/systemd/private"
        assert eventually(lambda: trainer.exec(bus, check=False).returncode == 0)
        project.configure(train_table='resources = { cpus = 1, memory = "2G" }')
        command = begin(project)
        unit = f"aideploy-trained-{newest(project)['id']}.service"
        ask = f"XDG_RUNTIME_DIR=/run/user/{uid(trainer)} systemctl --user show {unit}"
        said = trainer.exec(f"runuser -u deploy -- env {ask} -p ActiveState -p MemoryMax").stdout
        assert said.split() == ["MemoryMax=2147483648", "ActiveState=active"]
        command.kill()
        finish_without_a_gap(project, project.start("deploy", "--wait-lock"))
    # The kernel of this machine does not enforce it: the job saw that and looks itself.
    assert log_of(project)[0].startswith(
        "-- limits: memory 2147483648 bytes, looked at every second"
    )


@pytest.mark.slow
def test_root_has_the_job_kept_by_the_hosts_systemd(lab: Lab, tmp_path: Path) -> None:
    trainer = lab.hosts[2]
    project = Project(lab, tmp_path / "rooted", hosts=[trainer], app="rooted", port=8750)
    hosts = project.folder / "hosts.toml"
    hosts.write_text(hosts.read_text().replace('user = "deploy"', 'user = "root"'))
    project.fab("setup")
    command = begin(project)
    unit = f"aideploy-rooted-{newest(project)['id']}.service"
    assert trainer.exec(f"systemctl is-active {unit}").stdout == "active\n"
    command.kill()
    finish_without_a_gap(project, project.start("deploy", "--wait-lock"))
    trainer.exec("systemctl stop rooted@live")


def uid(host: Host) -> str:
    return host.exec("id -u deploy").stdout.strip()


# -- how it ends badly -------------------------------------------------------------------------


def test_a_training_that_fails_and_one_that_takes_too_long_are_told_apart(
    project: Project,
) -> None:
    refused(
        project, ExitStatus.ROLLED_BACK, "the training failed (exit status 3)", training_ends_with=3
    )
    project.configure(train_table='timeout = "2s"')
    slow = refused(
        project, ExitStatus.ROLLED_BACK, "took longer than its time limit", trains_for=60
    )
    assert "raise timeout in [train]" in slow.last_words
    assert [job["state"] for job in jobs(project)][:2] == [State.TIMEOUT, State.FAILED]


@contextmanager
def cramped(project: Project, job: str, megabytes: int) -> Iterator[None]:
    """The processes of a job share so much memory, and not a byte more."""
    group = MEMORY_GROUPS / f"aideploy-{job}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(megabytes << 20))
        wanted = f"JOB_DIR={project.root}/jobs/{job}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (process / "environ").read_bytes().split(b"\0"):
                    (group / "cgroup.procs").write_text(process.name)
            except OSError:
                continue
        yield
    finally:
        for number in (group / "cgroup.procs").read_text().split():
            (MEMORY_GROUPS / "cgroup.procs").write_text(number)
        group.rmdir()


def test_a_training_that_the_kernel_kills_for_lack_of_memory_says_so(project: Project) -> None:
    before = project.all_serve()
    command = begin(project, hoards=True)
    with cramped(project, str(newest(project)["id"]), megabytes=100):
        let_it_end(project)
        finished = command.finish()
    assert finished.status == ExitStatus.ROLLED_BACK, finished.output
    assert "the training ran out of memory: the kernel killed it" in finished.last_words
    assert "memory in [train] resources" in finished.last_words
    assert newest(project)["state"] == State.OUT_OF_MEMORY
    assert project.all_serve() == before


def trains_again(project: Project) -> None:
    """The next deploy begins a second attempt, which ends well."""
    assert "attempt 2: the one before ended LOST" in project.fab("deploy").output
    assert (newest(project)["state"], newest(project)["attempt"]) == (State.SUCCEEDED, 2)


def lost(project: Project, goes: Callable[[], None]) -> str:
    """The host goes while it trains and comes back; what is said of the job then."""
    command = begin(project)
    goes()
    assert command.finish(within=90).status == ExitStatus.NOT_READY
    project.hosts[0].boot()
    let_it_end(project)
    assert newest(project)["state"] == State.LOST
    return project.fab("train.attach", expected=ExitStatus.NOT_READY).last_words


@pytest.mark.slow
def test_a_host_that_loses_its_power_loses_the_job_and_the_next_deploy_trains_again(
    project: Project,
) -> None:
    assert "the training is gone without a word" in lost(project, project.hosts[0].power_off)
    trains_again(project)
    earlier = project.fab("train.logs", "--attempt", "1")
    assert ticks(earlier.output)[:3] == [0, 1, 2]


@pytest.mark.slow
def test_a_host_that_is_restarted_tells_so_and_the_next_deploy_trains_again(
    project: Project,
) -> None:
    said = lost(project, project.hosts[0].stop)
    # Whether it had the time for a last word or not.
    assert "the host shut down" in said or "the host was restarted" in said
    trains_again(project)


@pytest.mark.slow
def test_a_disk_that_gets_full_while_training_is_named(lab: Lab, tmp_path: Path) -> None:
    trainer = lab.hosts[2]
    trainer.exec("install -d -o deploy -g deploy /srv/little")
    trainer.fill_disk("/srv/little", 160 << 20)
    try:
        project = Project(lab, tmp_path / "little", hosts=[trainer], app="little", port=8760)
        project.set_up()
        live = project.deploy()
        project.commit(model_megabytes=200)
        finished = project.fab("deploy", expected=ExitStatus.NOT_READY)
        assert "no room on the disk" in finished.last_words
        assert project.all_serve() == {live}
        assert newest(project)["state"] == State.FAILED
        # What did not fit is gone: there is room for one that does.
        revision = project.deploy(model_megabytes=20)
        assert project.all_serve() == {revision}
    finally:
        trainer.exec("systemctl stop little-due.path little-due.service little@live", check=False)
        trainer.free_disk("/srv/little")


def test_a_job_that_does_not_exist_is_refused_and_so_is_an_engine_that_is_not_there(
    project: Project,
) -> None:
    for command in ("attach", "logs", "cancel"):
        strange = project.fab(f"train.{command}", "--job", "nope", expected=ExitStatus.USAGE)
        assert "there is no job 'nope'" in strange.output
    project.configure(train_table='engine = "slurm"')
    refused(project, ExitStatus.NOT_READY, "there is no sbatch on the path of deploy")
    project.configure(train_table='engine = "ray"')
    refused(project, ExitStatus.NOT_READY, "there is no ray in the release's environment")
    project.configure(train_table='engine = "torchrun"')
    refused(project, ExitStatus.NOT_READY, "there is no torchrun in the release's environment")
    project.configure(train_table='engine = "slrum"')
    unknown = project.fab("deploy", expected=ExitStatus.USAGE)
    assert "train.engine" in unknown.output and "slurm" in unknown.output
    project.configure(train_table='inputs = ["*.cpp"]')
    nothing = project.fab("deploy", expected=ExitStatus.USAGE)
    assert "no file of the commit is *.cpp" in nothing.output
