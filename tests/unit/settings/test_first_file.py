"""Promises of `fab init`: from a repository to settings that lack nothing but an address."""

from __future__ import annotations

from pathlib import Path

import pytest

from aideploy.errors import SettingsError
from aideploy.settings import Settings, load
from aideploy.settings.app import Source
from aideploy.settings.first_file import first_file, look
from tests.git import git

FLASK = """\
import flask
app = flask.Flask(__name__)

@app.get("/health")
def health():
    return "ok"
"""


def project(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def accepted(repo: Path, where: Path) -> Settings:
    """What `load` makes of the file with the address of a host."""
    path = where / "hosts.toml"
    path.write_text(first_file(look(repo), "gpu1"), encoding="utf-8")
    return load(path, None)


def test_the_first_file_lacks_a_host_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    text = first_file(look(project(tmp_path / "ranker", {"train.py": ""})))
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(path, None)
    (problem,) = caught.value.problems
    assert "environments: missing; expected one host at least" in problem

    for line in ("[environments.production.hosts.host1]", 'address = "host1.example"'):
        text = text.replace(f"# {line}", line)
    path.write_text(text)
    (host,) = load(path, None).hosts
    assert host.address == "host1.example"


def test_an_empty_folder_gives_a_file_that_says_what_to_fill_in(tmp_path: Path) -> None:
    repo = project(tmp_path / "My  Ränker_2", {})
    settings = accepted(repo, tmp_path)
    assert settings.app.name == "my-ranker-2"
    assert settings.install.requirements == ()
    assert settings.train is None
    assert settings.test is None
    assert settings.serve
    text = first_file(look(repo))
    assert "No git repository" in text
    assert "No web service" in text


def test_a_usual_project_is_recognized(tmp_path: Path) -> None:
    repo = project(
        tmp_path / "ranker",
        {
            "requirements.txt": "flask==3.0\ngunicorn==22.0\npytest>=8\n",
            "train.py": "print('training')",
            "app.py": FLASK,
            "tests/test_app.py": "def test_it(): pass",
        },
    )
    git(repo, "init", "--initial-branch=master")
    git(repo, "remote", "add", "origin", "git@github.com:acme/ranker.git")
    settings = accepted(repo, tmp_path)
    assert settings.app.name == "ranker"
    assert settings.app.repository == "git@github.com:acme/ranker.git"
    assert settings.app.source is Source.PULL
    assert settings.app.branch == "master"
    assert [str(file) for file in settings.install.requirements] == ["requirements.txt"]
    assert settings.test and settings.train and settings.serve
    assert settings.test.command == "python -m pytest -q"
    assert settings.train.command == "python train.py"
    assert settings.serve.command == "gunicorn app:app --bind $BIND:$PORT"
    assert settings.health.path == "/health"


@pytest.mark.parametrize(
    ("files", "command"),
    [
        (
            {"main.py": "from fastapi import FastAPI\napi = FastAPI(title='x')\n"},
            "uvicorn main:api --host $BIND --port $PORT",
        ),
        (
            {"src/app.py": "from flask import Flask\napp = Flask(__name__)\n"},
            "gunicorn app:app --bind $BIND:$PORT --chdir src",
        ),
        (
            {"ranker/api.py": "import fastapi\napp = fastapi.FastAPI()\n"},
            "uvicorn ranker.api:app --host $BIND --port $PORT",
        ),
        (
            {"app.py": "def create_app():\n    app = Flask('x')\n    return app\n"},
            "gunicorn 'app:create_app()' --bind $BIND:$PORT",
        ),
        (
            {"app.py": "def create_app():\n    return FastAPI()\n"},
            "uvicorn --factory app:create_app --host $BIND --port $PORT",
        ),
        (
            {"manage.py": "", "shop/wsgi.py": "application = get_wsgi_application()\n"},
            "gunicorn shop.wsgi:application --bind $BIND:$PORT",
        ),
        ({"serve.py": "if __name__ == '__main__':\n    main()\n"}, "python serve.py"),
        ({"app.py": "not python at all (", "tests/app.py": FLASK}, "python app.py"),
        (
            {"app.py": "x = 1\n", "main.py": "app = Flask(__name__)\n"},
            "gunicorn main:app --bind $BIND:$PORT",
        ),
    ],
)
def test_the_web_service_is_found(tmp_path: Path, files: dict[str, str], command: str) -> None:
    serve = accepted(project(tmp_path / "x", files), tmp_path).serve
    assert serve
    assert serve.command == command


@pytest.mark.parametrize(
    ("files", "requirements"),
    [
        ({"uv.lock": "", "pyproject.toml": "", "requirements.txt": ""}, ["uv.lock"]),
        ({"pyproject.toml": "[project]\ndependencies = ['flask']"}, ["pyproject.toml"]),
        ({"pyproject.toml": "[tool.ruff]\nline-length = 100"}, []),
        ({"pyproject.toml": "not toml"}, []),
    ],
)
def test_the_files_that_name_the_dependencies_are_found(
    tmp_path: Path, files: dict[str, str], requirements: list[str]
) -> None:
    install = accepted(project(tmp_path / "x", files), tmp_path).install
    assert [str(file) for file in install.requirements] == requirements


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"tests/test_a.py": "import unittest"}, "python -m unittest discover -s tests"),
        ({"test_a.py": "import unittest"}, "python -m unittest discover -s ."),
        ({"tests/test_a.py": "import pytest"}, None),
        ({"tests/test_a.py": "def test_a(): pass"}, None),
        ({"tests/test_a.py": "", "requirements.txt": "pytest-mock\n"}, None),
        ({"tests/test_a.py": "", "requirements.txt": "pytest[x]>=8\n"}, "python -m pytest -q"),
        (
            {
                "tests/test_a.py": "import unittest",
                "pyproject.toml": "[project]\ndependencies = ['x']\n[tool.pytest.ini_options]\n",
            },
            "python -m unittest discover -s tests",
        ),
    ],
)
def test_tests_are_only_run_with_what_the_environment_will_have(
    tmp_path: Path, files: dict[str, str], command: str | None
) -> None:
    test = accepted(project(tmp_path / "x", files), tmp_path).test
    assert (test.command if test else None) == command


@pytest.mark.parametrize(
    ("remote", "repository", "source"),
    [
        ("https://me:hunter2@git.acme.example/x.git", "https://git.acme.example/x.git", "pull"),
        ("ssh://git:hunter2@git.acme.example:22/x", "ssh://git@git.acme.example:22/x", "pull"),
        ("git@github.com:acme/x.git", "git@github.com:acme/x.git", "pull"),
        ("/backup/x.git", "/backup/x.git", "push"),
        ("file:///backup/x.git", "file:///backup/x.git", "push"),
    ],
)
def test_the_remote_is_written_without_its_password(
    tmp_path: Path, remote: str, repository: str, source: str
) -> None:
    repo = project(tmp_path / "x", {})
    git(repo, "init", "--initial-branch=main")
    git(repo, "remote", "add", "origin", remote)
    app = accepted(repo, tmp_path).app
    assert (app.repository, app.source, app.branch) == (repository, source, "main")


def test_a_folder_of_a_larger_repository_is_deployed_from_there(tmp_path: Path) -> None:
    repo = project(tmp_path / "all", {"services/ranker/train.py": ""})
    git(repo, "init", "--initial-branch=main")
    app = accepted(repo / "services/ranker", tmp_path).app
    assert (app.name, str(app.subdirectory)) == ("ranker", "services/ranker")
    assert (app.repository, app.source) == ("../../", Source.PUSH)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("2024", "app-2024"),
        ("模型", "app"),
        ("a" * 60, "a" * 31),
        ("x-" * 16 + "y", "x-" * 15 + "x"),
    ],
)
def test_any_folder_gives_a_name_that_can_be_used(tmp_path: Path, folder: str, name: str) -> None:
    assert accepted(project(tmp_path / folder, {}), tmp_path).app.name == name
