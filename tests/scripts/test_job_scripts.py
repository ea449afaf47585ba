"""The scripts of training jobs, run for real in a temporary directory, as a deploy runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from aideploy.jobs import scripts
from aideploy.jobs.job import Job, State, read_jobs
from aideploy.phases import fetch, service
from aideploy.phases.facts import HostFacts
from aideploy.phases.programs import program
from aideploy.settings import Settings, load
from aideploy.settings.train import Train
from tests.git import git
from tests.scripts.running import Ran, run
from tests.waiting import eventually

WRITES_A_MODEL = "mkdir -p model/a; echo w > model/a/weights; "


class Trainer:
    """A host that trains: one folder of an app, and a repository with a project."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root, self.source = folder, folder / "srv", folder / "source"
        for name in ("releases", "venvs/e1/bin", "venvs/e2/bin", "models", "shared"):
            (self.root / name).mkdir(parents=True)
        git(folder, "init", "--quiet", "--initial-branch=main", str(self.source))
        self._number = 0
        self.configure(command=WRITES_A_MODEL)
        self.commit(train__py="print(1)\n", readme__md="one\n")

    def configure(self, **train: object) -> None:
        """Write [train] anew."""
        lines = [f"{key} = {value if key == 'resources' else json.dumps(value)}"
                 for key, value in train.items()]  # fmt: skip
        (self.folder / "hosts.toml").write_text(
            f"[app]\nname = 'small'\nrepository = '{self.source}'\ndeploy_to = '{self.root}'\n"
            "[train]\n" + "\n".join(lines) + "\n"
            "[environments.e.hosts.h]\naddress = 'h'\nroles = ['train']\n"
        )

    @property
    def settings(self) -> Settings:
        return load(self.folder / "hosts.toml", None)

    def commit(self, **files: str) -> None:
        for name, text in files.items():
            (self.source / name.replace("__", ".")).write_text(text)
        git(self.source, "add", "-A")
        git(self.source, "commit", "--quiet", "--allow-empty", "-m", "x")

    def prepare(self, environment: str = "e1") -> Train:
        """What a deploy does before the job: a new release each time. What it says of training."""
        self._number += 1
        stamp = f"2026010{self._number}T000000Z"
        fetched = fetch.read(run(fetch.pull(self.settings, "main", stamp, "")).result)
        (self.root / "releases" / fetched.release / ".venv").symlink_to(
            f"../../venvs/{environment}"
        )
        self.release, self.revision = fetched.release, fetched.commit
        train = self.settings.train
        assert train
        return train

    def submit(self, environment: str = "e1", **variables: str) -> Ran:
        """What a deploy does up to the job."""
        train = self.prepare(environment)
        return run(
            scripts.submit(self.settings, train, self.release, self.revision, "ann@here"),
            environment=variables,
        )

    def follow(self) -> Ran:
        return run(scripts.follow(self.settings, release=self.release))

    def keep(self) -> Ran:
        assert self.settings.train
        return run(scripts.keep(self.settings, self.settings.train, self.release))

    def train(self, environment: str = "e1", **variables: str) -> Ran:
        """Submit and follow; where that ends well, what was kept comes back."""
        submitted = self.submit(environment, **variables)
        if submitted.status != 0:
            return submitted
        followed = self.follow()
        return self.keep() if followed.status == 0 else followed

    def jobs(self) -> dict[str, Job]:
        listed = run(scripts.list_all(self.settings))
        return {job.id: job for job in read_jobs("h", listed.result)}

    def job(self) -> Job:
        """The only one there is."""
        (job,) = self.jobs().values()
        return job

    def place(self) -> Path:
        return self.root / "jobs" / self.job().id

    def cancel(self) -> Ran:
        return run(scripts.cancel(self.settings, self.job().id, "ben@there"))


@pytest.fixture
def trainer(tmp_path: Path) -> Iterator[Trainer]:
    trainer = Trainer(tmp_path)
    yield trainer
    for job in trainer.jobs().values():
        run(scripts.cancel(trainer.settings, job.id, "the end of the test"))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# -- the model ---------------------------------------------------------------------------------


def test_a_model_is_kept_under_the_hash_of_its_content(trainer: Trainer) -> None:
    trainer.configure(command=WRITES_A_MODEL + "echo '{\"auc\": 0.5}' > metrics.json")
    done = trainer.train()
    model = done.result.text("model")
    assert (trainer.root / "models" / model / "a/weights").read_text() == "w\n"
    assert (trainer.root / "releases" / trainer.release / "model").resolve() == (
        trainer.root / "models" / model
    )
    assert json.loads(done.result.data("metrics")) == {"auc": 0.5}
    trainer.configure(command=f"{WRITES_A_MODEL} # otherwise")
    assert trainer.train().result.text("model") == model


def test_metrics_may_lie_within_the_model(trainer: Trainer) -> None:
    trainer.configure(command=f"{WRITES_A_MODEL} echo 7 > model/m.json", metrics="model/m.json")
    done = trainer.train()
    assert done.result.data("metrics") == b"7\n"
    assert (trainer.root / "models" / done.result.text("model") / "m.json").exists()


def test_a_model_may_be_a_single_file(trainer: Trainer) -> None:
    trainer.configure(command="mkdir deep; echo w > deep/weights.bin", outputs="deep/weights.bin")
    model = trainer.train().result.text("model")
    place = trainer.root / "releases" / trainer.release / "deep/weights.bin"
    assert place.read_text() == "w\n"
    assert place.resolve().parent.name == model


def test_a_model_that_lies_in_the_repository_is_not_taken_for_a_trained_one(
    trainer: Trainer,
) -> None:
    trainer.commit(model="old")
    trainer.configure(command="true")
    assert trainer.train().code == "no-model"


@pytest.mark.parametrize(
    "command",
    [
        "mkdir model",
        "mkdir model; : > model/empty",
        "mkdir model; echo > model/good; ln -s /etc/passwd model/x",
        "ln -s /etc model",
        "mkfifo model",
        "mkdir model; echo > model/x; touch model/.complete",
    ],
)
def test_a_model_that_is_empty_or_points_elsewhere_is_refused(
    trainer: Trainer, command: str
) -> None:
    trainer.configure(command=command)
    assert trainer.train().code == "no-model"
    assert not list((trainer.root / "models").glob("*"))
    assert trainer.job().state is State.FAILED


def test_outputs_behind_a_link_out_of_the_project_are_refused(trainer: Trainer) -> None:
    trainer.configure(
        command="ln -s ../../../shared up; mkdir -p up/model; echo > up/model/x", outputs="up/model"
    )
    done = trainer.train()
    assert "outside of the project" in done.result.text("fail.message")


# -- how a training ends -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "state", "code", "says"),
    [
        ({"command": "echo no data >&2; exit 3"}, State.FAILED, "training-failed", "status 3"),
        ({"command": "kill -SEGV $$"}, State.FAILED, "training-failed", "SIGSEGV"),
        # Killed, and the kernel has nothing to do with it.
        ({"command": "kill -KILL $$"}, State.FAILED, "training-failed", "SIGKILL"),
        ({"command": "sleep 60 & sleep 60", "timeout": "1s"}, State.TIMEOUT, "timeout", "limit"),
        (
            {
                "command": "python3 -c 'x = b\"x\" * 200_000_000; import time; time.sleep(60)'",
                "resources": '{ memory = "100M" }',
            },
            State.OUT_OF_MEMORY,
            "out-of-memory",
            "memory",
        ),
    ],
    ids=["fails", "crashes", "killed", "too long", "too large"],
)
def test_the_ways_to_end_badly_are_told_apart(
    trainer: Trainer, train: dict[str, str], state: State, code: str, says: str
) -> None:
    trainer.configure(**train)
    done = trainer.train()
    assert (done.code, trainer.job().state) == (code, state)
    assert says in done.result.text("fail.message")
    job = trainer.place()
    assert not (job / "work").exists()
    assert not (job / "env").exists()
    assert not list((trainer.root / "models").iterdir())


def test_what_a_training_printed_is_shown_and_kept(trainer: Trainer) -> None:
    trainer.configure(command=f"{WRITES_A_MODEL} seq 3000; sleep 0.5; printf 'no end of line'")
    trainer.submit()
    lines = trainer.follow().lines
    assert lines == (*map(str, range(1, 3001)), "no end of line")
    assert (trainer.place() / "log").read_text().splitlines() == list(lines)


def test_of_a_very_long_log_the_end_is_shown_and_the_gap_is_marked(trainer: Trainer) -> None:
    trainer.configure(command=f"{WRITES_A_MODEL} seq 400000; sleep 2")
    trainer.submit()
    assert eventually(lambda: (trainer.place() / "log").stat().st_size > 2_000_000)
    first, *_, last = trainer.follow().lines
    assert first.startswith("-- the log is longer: ")
    assert f"(fab train.logs --job {trainer.place().name[:7]}) --" in first
    assert last == "400000"


def test_a_training_that_prints_without_end_fills_no_disk_and_ends_well(trainer: Trainer) -> None:
    trainer.configure(
        command=f"{WRITES_A_MODEL} head -c 300000 /dev/zero | tr '\\0' x; echo; seq 1000000; "
        "echo last words",
        log_limit="200K",
    )
    trainer.train()
    assert trainer.job().state is State.SUCCEEDED
    text = (trainer.place() / "log").read_text()
    assert len(text) < 200 * 1024 + 65536 + 300
    beginning, full, gap, *end = text.splitlines()
    assert beginning == "x" * 200 * 1024
    assert full == "-- the log is full: of what follows only the end is kept --"
    printed = 300001 + sum(len(str(number)) + 1 for number in range(1, 1000001)) + 11
    assert (
        gap == f"-- {printed - 200 * 1024 - 65536} bytes are left out here ([train] log_limit) --"
    )
    assert end[-3:] == ["999999", "1000000", "last words"]


def test_a_failed_training_says_why_behind_a_full_log(trainer: Trainer) -> None:
    trainer.configure(command="seq 100; echo because; exit 3", log_limit="0.1K")
    trainer.train()
    ran = trainer.follow()
    assert "exit status 3" in ran.result.text("fail.message")
    assert ran.lines[-2:] == ("100", "because")


def test_where_no_python_works_the_log_is_kept_without_a_limit(trainer: Trainer) -> None:
    trainer.configure(command=f"{WRITES_A_MODEL} seq 1000", log_limit="1K")
    train = trainer.prepare()
    settings = trainer.settings
    no_python = settings.install.model_copy(update={"python": "/no/python"})
    broken = replace(settings, install=no_python)
    submitted = run(scripts.submit(broken, train, trainer.release, trainer.revision, "ann@here"))
    assert submitted.status == 0
    assert trainer.follow().lines == tuple(map(str, range(1, 1001)))


def test_a_training_whose_log_is_on_a_full_disk_ends_all_the_same() -> None:
    """Run what keeps the log; it is read to its end."""
    keeper = ["python3", "-I", "-S", "-c", program("log_keeper"), "1000000000"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", 'seq 100000 | "$@"', "bash", *keeper],
            stdout=full,
            timeout=30,
        )
    assert done.returncode == 0


def test_nothing_runs_on_when_the_training_has_ended(trainer: Trainer) -> None:
    trainer.configure(command=f"setsid sleep 4711 & sleep 0.2; {WRITES_A_MODEL}")
    trainer.train()
    assert trainer.job().state is State.SUCCEEDED
    running = subprocess.run(["pgrep", "-fx", "sleep 4711"], capture_output=True, text=True)
    assert running.stdout == ""


def test_a_cancelled_job_ends_and_says_who_did_it(trainer: Trainer) -> None:
    trainer.configure(command="trap '' TERM; echo $$ > $JOB_DIR/pid; sleep 60")
    trainer.submit()
    assert eventually(lambda: (trainer.place() / "pid").exists())
    pid = int((trainer.place() / "pid").read_text())
    done = trainer.cancel()
    assert done.result.text("state") == "CANCELLED"
    assert not alive(pid)
    assert "cancelled by ben@there" in trainer.follow().result.text("fail.message")


def test_a_job_whose_keeper_was_killed_is_lost_and_nothing_of_it_survives_the_next(
    trainer: Trainer,
) -> None:
    trainer.configure(command="echo $$ > $JOB_DIR/pid; sleep 60")
    trainer.submit()
    place = trainer.place()
    assert eventually((place / "pid").exists)
    pid = int((place / "pid").read_text())
    keeper = int((place / "started").read_text().split()[0])
    os.kill(keeper, signal.SIGKILL)
    assert eventually(lambda: not alive(keeper))
    # Whoever looked after the limits for it would end the next attempt by those of this one.
    about = ["pgrep", "-f", str(place / "run.sh")]
    assert eventually(lambda: not subprocess.run(about, capture_output=True).stdout)
    # As fab setup puts it there.
    (trainer.root / "metrics.sh").write_text(f"#!/bin/sh\necho told >>'{trainer.root}/told'\n")
    (trainer.root / "metrics.sh").chmod(0o755)
    for _ in range(2):
        assert trainer.job().state is State.LOST
        assert (trainer.root / "told").read_text() == "told\n"
    assert trainer.follow().code == "job-lost"
    assert (trainer.root / "told").read_text() == "told\ntold\n"
    assert (place / "env").exists()
    run(scripts.prune(trainer.settings))
    assert not (place / "env").exists()
    assert not (place / "work").exists()
    again = trainer.submit()
    assert again.status == 0
    assert not alive(pid)
    assert trainer.job().attempt == 2
    assert any("ended LOST" in line for line in again.lines)


def test_the_training_gets_its_environment_as_it_is(trainer: Trainer) -> None:
    value = "a 'b' \"c\" $HOME `id` \\ ü"
    trainer.configure(
        # Long enough for somebody to see its log while it runs.
        command='sleep 1; mkdir model; printf %s "$NASTY" > model/value; echo "$REVISION $JOB";'
        ' stat -c "mode %a" "$JOB_DIR/env"',
        environment={},
    )
    text = (trainer.folder / "hosts.toml").read_text()
    (trainer.folder / "hosts.toml").write_text(
        text.replace("environment = {}", f"environment = {{ NASTY = '''{value}''' }}")
    )
    trainer.submit()
    lines = trainer.follow().lines
    model = trainer.keep().result.text("model")
    assert (trainer.root / "models" / model / "value").read_text() == value
    assert f"{trainer.revision} {trainer.job().id}" in lines
    assert "mode 600" in lines
    left = subprocess.run(
        ["grep", "-rF", "$HOME `id`", trainer.root / "jobs", "--exclude-dir=out"],
        capture_output=True,
    )
    assert left.stdout == b"", "the value is kept nowhere"


def test_processors_and_gpus_are_limited_and_the_log_says_how(trainer: Trainer) -> None:
    # There is no GPU here: a program that answers like nvidia-smi stands in.
    tools = trainer.folder / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text(
        '#!/bin/sh\ncase "$1" in *memory.free,index*) echo "100, 0\n9000, 1\n500, 2" ;;\n'
        "*) printf '0\\n1\\n2\\n' ;; esac\n"
    )
    (tools / "nvidia-smi").chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    trainer.configure(
        command=f"{WRITES_A_MODEL} echo on $(nproc) with $CUDA_VISIBLE_DEVICES",
        resources="{ cpus = 1, gpus = 2 }",
    )
    trainer.submit(PATH=path)
    lines = trainer.follow().lines
    assert "on 1 with 1,2" in lines
    assert any(line.startswith("-- limits: ") and "DEVICES=1,2" in line for line in lines)
    trainer.configure(command=WRITES_A_MODEL, resources="{ gpus = 4 }", outputs="model/a")
    refused = trainer.train(PATH=path)
    assert refused.code == "no-gpu"
    assert "needs 4 GPUs and nvidia-smi shows 3" in refused.result.text("fail.message")


# -- nothing is trained twice ------------------------------------------------------------------


def train_again(trainer: Trainer, environment: str = "e1", **train: object) -> Ran:
    """Submit a training that counts itself."""
    trainer.configure(
        **{"command": f"{WRITES_A_MODEL} echo x >> '{trainer.folder}/counter'", **train}
    )
    return trainer.submit(environment)


def finish(trainer: Trainer) -> None:
    assert trainer.follow().status == 0
    assert trainer.keep().status == 0


def test_the_same_inputs_are_not_trained_twice(trainer: Trainer) -> None:
    train_again(trainer)
    finish(trainer)
    trainer.commit()  # an empty one: other commit, same files
    again = train_again(trainer)
    assert again.result.text("reused") == "yes"
    finish(trainer)
    assert (trainer.folder / "counter").read_text() == "x\n"
    assert (trainer.root / "releases" / trainer.release / "model/a/weights").exists()


def test_what_a_training_said_is_shown_once_even_if_it_is_over_already(trainer: Trainer) -> None:
    trainer.configure(command=f"{WRITES_A_MODEL} echo one")
    trainer.submit()
    run(scripts.follow(trainer.settings, job=trainer.job().id))
    assert trainer.follow().lines == ("one",)
    trainer.submit()
    assert trainer.follow().lines == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"outputs": "model/a"}, "outputs"),
        ({"data_version": "echo two"}, "the data version"),
        ({"environment": "e2"}, "the packages"),
        ({"commit": True}, "readme.md"),
    ],
    ids=["outputs", "data", "environment", "files"],
)
def test_other_inputs_are_trained_and_what_changed_is_said(
    trainer: Trainer, change: dict[str, object], says: str
) -> None:
    train_again(trainer, data_version="echo one")
    finish(trainer)
    if change.pop("commit", False):
        trainer.commit(readme__md="two\n")
    again = train_again(
        trainer, str(change.pop("environment", "e1")), **{"data_version": "echo one", **change}
    )
    finish(trainer)
    assert again.result.text("reused") == ""
    assert again.lines[-1].endswith(f": {says} --"), again.lines
    assert (trainer.folder / "counter").read_text() == "x\nx\n"


def test_only_the_named_inputs_count(trainer: Trainer) -> None:
    train_again(trainer, inputs=["*.py"])
    finish(trainer)
    trainer.commit(readme__md="two\n")
    assert train_again(trainer, inputs=["*.py"]).result.text("reused") == "yes"
    trainer.commit(train__py="print(2)\n")
    changed = train_again(trainer, inputs=["*.py"])
    assert changed.lines[-1].endswith(": train.py --")
    finish(trainer)
    wrong = train_again(trainer, inputs=["*.cpp"])
    assert wrong.code == "no-inputs"


@pytest.mark.parametrize("says", ["false", "true", "sleep 0; kill $$"])
def test_data_without_a_version_is_refused(trainer: Trainer, says: str) -> None:
    trainer.configure(command=WRITES_A_MODEL, data_version=says)
    assert trainer.train().code == "no-data-version"
    assert trainer.jobs() == {}


def test_the_data_version_is_recorded_and_told_to_the_training(trainer: Trainer) -> None:
    trainer.configure(
        command=f"{WRITES_A_MODEL} echo with $DATA_VERSION", data_version='echo "v\\"1\\\\"'
    )
    trainer.submit()
    assert 'with v"1\\' in trainer.follow().lines
    assert trainer.job().data_version == 'v"1\\'


def test_a_failed_training_is_tried_again_and_its_log_is_kept(trainer: Trainer) -> None:
    flag = trainer.folder / "flag"
    trainer.configure(command=f"echo attempt; {WRITES_A_MODEL} [ -e '{flag}' ]")
    assert trainer.train().code == "training-failed"
    flag.touch()
    again = trainer.submit()
    assert any("attempt 2: the one before ended FAILED" in line for line in again.lines)
    finish(trainer)
    job = trainer.job()
    assert (job.attempt, job.state) == (2, State.SUCCEEDED)
    first = run(scripts.log(trainer.settings, job.id, 1, 10)).result.data("log")
    assert first == b"attempt\n"


def test_a_job_that_runs_is_found_not_begun_again(trainer: Trainer) -> None:
    trainer.configure(command=f"{WRITES_A_MODEL} echo one; sleep 1.5; echo two")
    trainer.submit()
    started = (trainer.place() / "started").read_text()
    again = trainer.submit()
    assert again.result.text("attached") == "yes"
    assert trainer.follow().lines == ("one", "two")
    assert (trainer.place() / "started").read_text() == started


def test_one_training_at_a_time(trainer: Trainer) -> None:
    trainer.configure(command="sleep 60")
    trainer.submit()
    running = trainer.job()
    trainer.configure(command="sleep 61")
    refused = trainer.submit()
    assert refused.code == "job-busy"
    assert f"fab train.cancel --job {running.short}" in refused.result.text("fail.next")
    assert list(trainer.jobs()) == [running.id]


def test_a_model_that_was_pruned_is_had_again_from_its_job_if_it_is_whole(trainer: Trainer) -> None:
    trainer.train()
    model = trainer.job().model
    subprocess.run(["rm", "-rf", trainer.root / "models" / model], check=True)
    assert trainer.train().result.text("model") == model
    subprocess.run(["rm", "-rf", trainer.root / "models" / model], check=True)
    (trainer.place() / "out/model/a/weights").write_text("W\n")
    assert trainer.train().code == "damaged"
    # Then it is trained anew.
    assert trainer.train().result.text("model") == model


def test_pruning_keeps_what_lives_what_is_used_and_the_newest(trainer: Trainer) -> None:
    for number in range(4):
        trainer.configure(command=f"{WRITES_A_MODEL} echo {number} > model/number")
        trainer.train()
        time.sleep(1.01)  # Their age is told by the second.
    oldest, second, *newest = sorted(trainer.jobs().values(), key=lambda job: str(job.began))
    subprocess.run(["rm", "-rf", trainer.root / "models" / second.model], check=True)
    trainer.configure(command="sleep 60")
    trainer.submit()
    (running,) = (job.id for job in trainer.jobs().values() if not job.state.is_over)
    prune = scripts.prune(trainer.settings)
    run(replace(prune, args=(prune.args[0], "2")))
    assert set(trainer.jobs()) == {oldest.id, *(job.id for job in newest), running}
    venv = trainer.root / "venvs/e1"
    host = HostFacts("h", PurePosixPath(trainer.root))
    finished = run(service.finish(trainer.settings, host, (), ()))
    assert finished.status == 0
    assert venv.exists(), "the running job needs it"
    assert not (trainer.root / "venvs/e2").exists()
