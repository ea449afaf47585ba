"""What the example application promises to those who deploy it: demo, fleet tests and docs.

Its own tests stand beside it and are run from here as a deploy runs them. Here it is trained and
served for real, with few rows, in each of its versions.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import ranker_versions
from aideploy.phases import golden
from aideploy.settings.golden import Golden
from tests.git import git
from tests.waiting import eventually

Version = Callable[[Path], None]

QUESTION = {
    "user": {"id": "user-17", "interest": "sports", "days": 3},
    "ads": [{"id": "ad-1", "category": "sports"}, {"id": "ad-2", "category": "garden"}],
    "context": {"device": "mobile", "site": "site-4", "hour": 20},
}
IDENTITY = {"REVISION": "4f2c1aa", "RELEASE": "20260101T000000Z-4f2c1aa", "SLOT": "blue"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of the first version, trained on few rows."""
    folder = tmp_path_factory.mktemp("first")
    ranker_versions.first(folder)
    train(folder, rows=20_000)
    return folder / "model"


# Training


def test_the_improved_version_is_measurably_better_on_the_same_traffic(tmp_path: Path) -> None:
    auc, data = {}, {}
    for version in (ranker_versions.first, ranker_versions.improved):
        folder = tmp_path / version.__name__
        version(folder)
        train(folder, rows=150_000)
        auc[version.__name__] = json.loads((folder / "metrics.json").read_text())["auc"]
        description = json.loads((folder / "model" / "model.json").read_text())
        data[version.__name__] = description["training"]["data_sha256"]
    assert auc["improved"] > auc["first"] + 0.02
    assert data["improved"] == data["first"]


def test_two_processes_train_the_same_bytes(tmp_path: Path) -> None:
    ranker_versions.first(tmp_path)
    models = []
    for hash_seed in ("1", "2"):
        train(tmp_path, rows=5_000, PYTHONHASHSEED=hash_seed)
        models.append([each.read_bytes() for each in sorted((tmp_path / "model").iterdir())])
    assert len(models[0]) == 3
    assert models[0] == models[1]


@pytest.mark.slow
@pytest.mark.parametrize("version", [ranker_versions.first, ranker_versions.improved])
@pytest.mark.timeout(900)
def test_twenty_retrainings_with_other_traffic_give_the_golden_answers(
    version: Version, tmp_path: Path
) -> None:
    version(tmp_path)
    said = {}
    for seed in range(1, 21):
        train(tmp_path, rows=600_000, seed=seed)
        with served(tmp_path, tmp_path / "model") as service:
            said[seed] = golden_answers(tmp_path, int(service.url.rpartition(":")[2]))
    assert {
        seed: words for seed, words in said.items() if "10 golden answers right" not in words
    } == {}
    # They are models of their own.
    assert len({words.partition("\n")[0] for words in said.values()}) > 10


# Serving


def test_health_repeats_the_identity_that_the_deploy_gave(model: Path) -> None:
    with served(model.parent, model, **IDENTITY) as service:
        answer = service.ask("/healthz")
    assert answer.status == 200
    checksums = subprocess.run(
        "sha256sum model.json weights.npz | sha256sum",
        shell=True,
        cwd=model,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.json() == {
        "status": "ok",
        "revision": "4f2c1aa",
        "release": "20260101T000000Z-4f2c1aa",
        "model": checksums.stdout.split()[0],
        "slot": "blue",
    }


def test_it_listens_where_the_command_line_says(model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [*GUNICORN, "--bind", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, cwd=model.parent, stderr=subprocess.DEVNULL)
    try:
        service = Service(f"http://127.0.0.1:{port}")
        assert eventually(lambda: predicts(service))
    finally:
        process.terminate()
        assert process.wait(timeout=10) == 0


def test_two_slots_of_one_user_have_no_file_in_common(model: Path, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    with served(model.parent, model, **home) as service:
        assert service.ask("/predict", QUESTION).status == 200
        time.sleep(0.2)  # gunicorn opens its control socket after the first worker is up
        assert list(tmp_path.iterdir()) == []


def test_a_damaged_model_ends_the_service_and_says_why(model: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "model"
    damaged.mkdir()
    (damaged / "model.json").write_bytes((model / "model.json").read_bytes())
    (damaged / "weights.npz").write_bytes((model / "weights.npz").read_bytes()[:-100])
    ended = subprocess.run(
        [*GUNICORN, "--bind", "127.0.0.1:0"],
        cwd=model.parent,
        env={**os.environ, "MODEL_DIR": str(damaged)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode != 0
    assert f"ranker: {damaged}/weights.npz is damaged" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_no_request_is_lost_while_the_service_restarts_behind_its_socket(model: Path) -> None:
    answers: Counter[int | str] = Counter()
    over = threading.Event()

    def customer(service: Service) -> None:
        while not over.is_set():
            try:
                answers[service.ask("/predict", QUESTION).status] += 1
            except OSError as error:
                answers[repr(error)] += 1

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        service = Service(f"http://127.0.0.1:{listener.getsockname()[1]}")
        customers = [threading.Thread(target=customer, args=(service,)) for _ in range(4)]
        process = activated(listener, model.parent, model)
        for each in customers:
            each.start()
        try:
            for _ in range(3):
                await_answers(answers, 50)
                process.terminate()
                assert process.wait(timeout=10) == 0
                process = activated(listener, model.parent, model)
            await_answers(answers, 50)
        finally:
            over.set()
            for each in customers:
                each.join(timeout=20)
            process.terminate()
            process.wait(timeout=10)
    assert set(answers) == {200}


# Versions


@pytest.mark.parametrize("version", [ranker_versions.first, ranker_versions.broken])
def test_the_tests_of_a_version_pass_where_it_is_deployed(version: Version, tmp_path: Path) -> None:
    version(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "unittest"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Ran 0 tests" not in done.stderr


def test_only_its_health_check_shows_what_is_wrong_with_the_broken_version(
    model: Path, tmp_path: Path
) -> None:
    ranker_versions.broken(tmp_path)
    with served(tmp_path, model, RELEASE_DIR="/srv/ranker/releases/1", **IDENTITY) as service:
        assert service.ask("/predict", QUESTION).status == 200
        assert service.ask("/healthz").status == 500


def test_an_edit_that_no_longer_fits_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "changed"
    ranker_versions.first(changed)
    (changed / "features.py").write_text("# all new\n")
    monkeypatch.setattr(ranker_versions, "_APPLICATION", changed)
    with pytest.raises(ranker_versions.EditDoesNotFit, match=r"features\.py: .* found 0 times"):
        ranker_versions.improved(tmp_path / "improved")


def test_what_was_generated_beside_the_sources_is_not_part_of_a_version(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranker_versions, "_APPLICATION", model.parent)
    ranker_versions.first(tmp_path)
    assert (model.parent / "metrics.json").exists()
    assert (tmp_path / "train.py").exists()
    assert not {"model", "metrics.json"} & {each.name for each in tmp_path.iterdir()}


# History


def test_the_history_is_three_commits_on_main_that_hold_the_versions(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    revisions = ranker_versions.history(repo)
    assert git(repo, "log", "--reverse", "--format=%H", "main").split() == list(revisions)
    assert git(repo, "status", "--porcelain") == ""
    for name, revision in revisions._asdict().items():
        version = tmp_path / name
        getattr(ranker_versions, name)(version)
        git(repo, "checkout", "--quiet", revision)
        assert contents(repo) == contents(version)


def test_training_and_testing_leave_a_clone_clean(tmp_path: Path) -> None:
    ranker_versions.history(tmp_path)
    train(tmp_path, rows=2_000)
    assert (tmp_path / "metrics.json").exists()
    assert git(tmp_path, "status", "--porcelain") == ""


def test_the_history_is_the_same_whoever_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ranker_versions.history(tmp_path / "mine")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\nname = Grace\n[commit]\ngpgsign = true\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Grace")
    assert ranker_versions.history(tmp_path / "theirs") == expected


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(FileExistsError):
        ranker_versions.history(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.txt"]


# Helpers

# Of the sd_listen_fds(3) protocol: LISTEN_PID has to be the process that takes the descriptor.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""
GUNICORN = (sys.executable, "-m", "gunicorn", "app:app", "--workers", "1", "--threads", "4")


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Service:
    """The service as those who call it see it."""

    url: str

    def ask(self, path: str, question: object | None = None) -> Answer:
        body = None if question is None else json.dumps(question).encode()
        try:
            with urllib.request.urlopen(self.url + path, body, timeout=10) as response:
                return Answer(response.status, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read())


def predicts(service: Service) -> bool:
    """Whether it answers, and well; it may not listen yet."""
    try:
        return service.ask("/predict", QUESTION).status == 200
    except OSError:
        return False


@contextmanager
def served(folder: Path, model: Path, **environment: str) -> Iterator[Service]:
    """Run the version in the folder behind a socket that listens already."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = activated(listener, folder, model, **environment)
        try:
            yield Service(f"http://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            process.terminate()
            process.wait(timeout=10)


def activated(
    listener: socket.socket, folder: Path, model: Path, **environment: str
) -> subprocess.Popen[bytes]:
    """Start the service as systemd does for a socket unit: the listener is its descriptor 3."""
    return subprocess.Popen(
        [sys.executable, "-c", ACTIVATE, str(listener.fileno()), *GUNICORN],
        cwd=folder,
        env={**os.environ, "MODEL_DIR": str(model), **environment},
        pass_fds=[listener.fileno()],
        stderr=subprocess.DEVNULL,
    )


def golden_answers(folder: Path, port: int) -> str:
    """What a host says when it puts the golden requests to the service."""
    settings = Golden.model_validate({"file": "golden.jsonl"})
    program, request, file = golden.proof(settings, "127.0.0.1", port)
    command = [sys.executable, "-c", program, "prove", request, str(folder / file), ""]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def train(folder: Path, rows: int, seed: int = 1, **environment: str) -> None:
    """Train the version in the folder as a deploy does."""
    subprocess.run(
        [sys.executable, "train.py", "--rows", str(rows), "--seed", str(seed)],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def await_answers(answers: Counter[int | str], more: int) -> None:
    enough = answers[200] + more
    assert eventually(lambda: answers[200] >= enough), answers


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a version by its path, without git's own."""
    files = (each.relative_to(folder) for each in folder.rglob("*") if each.is_file())
    return {str(each): (folder / each).read_bytes() for each in files if each.parts[0] != ".git"}
