"""The first hosts.toml of a project, written from what stands in its folder.

`fab init` calls it. It reads files and asks git, and changes nothing; what it cannot know (the
address of a host) is left out, so that no command runs before a person has put it in.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from aideploy.gates.suggestion import known_metrics, suggested, suggested_gate
from aideploy.rendering import render

_SERVICE_FILES = ("app", "main", "serve", "server", "api", "wsgi", "asgi")
_TEST_FOLDERS = ("tests", "test")
_HEALTH_PATHS = ("/healthz", "/health", "/healthcheck", "/livez", "/ping")
_ASGI = ("FastAPI", "Starlette", "Litestar", "Quart")
_WSGI = ("Flask",)
_PYTEST = re.compile(r"(?<![\w-])pytest(?![\w-])")
_LONGEST_NAME = 31


@dataclass(frozen=True)
class Found:
    """What a folder says about its project; None is what it does not say."""

    name: str
    repository: str | None
    source: str | None
    branch: str | None
    subdirectory: str | None
    requirements: tuple[str, ...]
    test: str | None
    train: str | None
    serve: str | None
    health_path: str | None
    metrics: Mapping[str, Any]

    @property
    def judged_metric(self) -> str | None:
        """The metric that a first [[gate]] judges; None where none is known."""
        metric = suggested(self.metrics)
        return metric.metric if metric else None


def first_file(found: Found, address: str | None = None) -> str:
    """Write a hosts.toml that is complete, but for the address of a host where none is given.

    Args:
        found: what the project's folder says.
        address: of the first host.
    """
    values = {**asdict(found), "address": address, "gate": suggested_gate(found.metrics)}
    return render("hosts.toml.j2", values)


def look(repo: Path) -> Found:
    """Look for what a deploy needs to know.

    Args:
        repo: the folder of the project; it need not be a git repository, or hold anything.
    """
    repo = repo.absolute()
    repository, source = _repository(repo)
    requirements = _requirements(repo)
    service = next(_services(repo), None)
    return Found(
        name=_name(repo),
        repository=repository,
        source=source,
        branch=_branch(repo),
        subdirectory=(_git(repo, "rev-parse", "--show-prefix") or "").rstrip("/") or None,
        requirements=requirements,
        test=_test(repo, requirements),
        train=_train(repo),
        serve=service.command if service else None,
        health_path=service.health_path if service else None,
        metrics=known_metrics(repo / "metrics.json"),
    )


def _name(repo: Path) -> str:
    # Letters with accents become the plain ones, others are left out.
    plain = unicodedata.normalize("NFKD", repo.name).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", plain.lower())
    name = "-".join(words) or "app"
    if not name[0].isalpha():
        name = f"app-{name}"
    return name[:_LONGEST_NAME].rstrip("-")


def _git(repo: Path, *arguments: str) -> str | None:
    """What git prints; None when it fails, prints nothing or is not there."""
    try:
        result = subprocess.run(
            ["git", "-C", repo, *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return (result.stdout.strip() or None) if result.returncode == 0 else None


def _repository(repo: Path) -> tuple[str | None, str | None]:
    """Where the repository is, and how it comes to the hosts if they cannot fetch it."""
    if _git(repo, "rev-parse", "--is-inside-work-tree") != "true":
        return None, None
    remote = _git(repo, "remote", "get-url", "origin")
    if remote is None:
        return _git(repo, "rev-parse", "--show-cdup") or ".", "push"
    if re.match(r"[a-z+]+://", remote):
        return _without_password(remote), "push" if remote.startswith("file:") else None
    return remote, None if re.match(r"[^/]+:", remote) else "push"


def _without_password(url: str) -> str:
    """The same URL without what must not stand in a file that is committed."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if parts.scheme in ("http", "https"):
        return urlunsplit(parts._replace(netloc=host))
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}"))


def _branch(repo: Path) -> str | None:
    """The branch to deploy, if it is not the one that is meant anyway."""
    default = _git(repo, "symbolic-ref", "--short", "refs/remotes/origin/HEAD")
    if default:
        branch: str | None = default.removeprefix("origin/")
    else:
        branch = _git(repo, "symbolic-ref", "--short", "HEAD")
    return None if branch == "main" else branch


def _requirements(repo: Path) -> tuple[str, ...]:
    if (repo / "uv.lock").is_file() and (repo / "pyproject.toml").is_file():
        return ("uv.lock",)
    if (repo / "requirements.txt").is_file():
        return ("requirements.txt",)
    return ("pyproject.toml",) if _project_dependencies(repo) else ()


def _project_dependencies(repo: Path) -> str:
    try:
        project = tomllib.loads(_text(repo / "pyproject.toml")).get("project", {})
        return "\n".join(map(str, project.get("dependencies", ())))
    except (tomllib.TOMLDecodeError, AttributeError, TypeError):
        return ""


def _text(path: Path) -> str:
    """The text of a file; nothing, if it is no readable text."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _test(repo: Path, requirements: tuple[str, ...]) -> str | None:
    """The command of the tests, if the environment of a release will be able to run it."""
    for folder in (*_TEST_FOLDERS, "."):
        files = [*(repo / folder).glob("test*.py"), *(repo / folder).glob("*/test*.py")]
        if not files:
            continue
        installed = "\n".join(
            _project_dependencies(repo) if file == "pyproject.toml" else _text(repo / file)
            for file in requirements
        )
        if _PYTEST.search(installed):
            return "python -m pytest -q"
        texts = [_text(file) for file in files]
        if not any(_PYTEST.search(text) for text in texts) and any("unittest" in t for t in texts):
            return f"python -m unittest discover -s {folder}"
    return None


def _train(repo: Path) -> str | None:
    for file in _files(repo, ("train",)):
        return f"python {file}"
    return None


def _files(repo: Path, stems: tuple[str, ...]) -> Iterator[PurePosixPath]:
    """The Python files of these names, at the top first, then one folder down."""
    folders = [repo, *sorted(path.parent for path in repo.glob("[A-Za-z]*/*.py"))]
    for folder in dict.fromkeys(folders):
        inside = PurePosixPath(folder.relative_to(repo))
        if folder.name in _TEST_FOLDERS or not re.fullmatch(r"[\w./-]+", str(inside), re.ASCII):
            continue
        yield from (inside / f"{stem}.py" for stem in stems if (folder / f"{stem}.py").is_file())


@dataclass(frozen=True)
class _Service:
    """How a web service is started, and the path it answers when it is well."""

    command: str
    health_path: str | None


def _services(repo: Path) -> Iterator[_Service]:
    for file in _files(repo, _SERVICE_FILES):
        try:
            module = ast.parse(_text(repo / file))
        except (SyntaxError, ValueError, RecursionError):
            continue
        if command := _command(file, module):
            texts = {node.value for node in ast.walk(module) if isinstance(node, ast.Constant)}
            yield _Service(command, next((p for p in _HEALTH_PATHS if p in texts), None))


def _command(file: PurePosixPath, module: ast.Module) -> str | None:
    """How to start what a file defines: an ASGI or WSGI application, or a program."""
    folder, target = _import_path(file)
    for statement in module.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=variable)], value=ast.Call(func=function)):
                maker = _last_name(function)
                if maker in _ASGI or (file.stem == "asgi" and variable == "application"):
                    return _uvicorn(f"{target}:{variable}", folder)
                if maker in _WSGI or (file.stem == "wsgi" and variable == "application"):
                    return _gunicorn(f"{target}:{variable}", folder)
            case ast.FunctionDef(name="create_app"):
                made = {_last_name(n.func) for n in ast.walk(statement) if isinstance(n, ast.Call)}
                if made.intersection(_ASGI):
                    return _uvicorn(f"--factory {target}:create_app", folder)
                if made.intersection(_WSGI):
                    return _gunicorn(f"'{target}:create_app()'", folder)
    starts = any("__main__" in ast.unparse(s.test) for s in module.body if isinstance(s, ast.If))
    return f"python {file}" if starts else None


def _import_path(file: PurePosixPath) -> tuple[str | None, str]:
    """The folder to import from, if it is not the top, and the name of the module there."""
    if file.parts[0] == "src":
        return "src", file.stem
    return None, ".".join(file.with_suffix("").parts)


def _last_name(function: ast.expr) -> str:
    return ast.unparse(function).rpartition(".")[2]


def _uvicorn(target: str, folder: str | None) -> str:
    place = f" --app-dir {folder}" if folder else ""
    return f"uvicorn {target} --host $BIND --port $PORT{place}"


def _gunicorn(target: str, folder: str | None) -> str:
    place = f" --chdir {folder}" if folder else ""
    return f"gunicorn {target} --bind $BIND:$PORT{place}"
