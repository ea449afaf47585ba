"""From the file hosts.toml to `Settings`, or to all of its mistakes at once.

Every command starts here, before the first connection. The whole file is judged, not only the
environment that is asked for: a mistake should be met when it is written, not on the day when
staging is needed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from aideploy.errors import SettingsError, UsageError
from aideploy.settings import positions
from aideploy.settings.app import App
from aideploy.settings.checks import Tables, mismatches
from aideploy.settings.health import Health
from aideploy.settings.hosts import HostTable, resolve
from aideploy.settings.install import Install
from aideploy.settings.later import later_table
from aideploy.settings.model import Settings
from aideploy.settings.monitoring import Monitoring
from aideploy.settings.problems import Problem, found_at, hint, problems_of, written
from aideploy.settings.rollout import Rollout
from aideploy.settings.serve import Manager, Serve
from aideploy.settings.ssh import Ssh
from aideploy.settings.table import Table
from aideploy.settings.train import ProjectTests, Train
from aideploy.settings.values import Name

TABLES: Mapping[str, type[Table]] = {
    "app": App,
    "ssh": Ssh,
    "install": Install,
    "test": ProjectTests,
    "train": Train,
    "serve": Serve,
    "health": Health,
    "rollout": Rollout,
    "monitoring": Monitoring,
}
# The others have a default for every key.
_NOT_WITHOUT_A_TABLE = frozenset({"app", "test", "train", "serve"})
_LARGEST = 2**20
_FIRST_FILE = "write a first one with: fab init"
_CORRECT = "correct the file and run the same command again"
_FIRST_HOST = 'one host at least, as in [environments.production.hosts.web1] with its "address"'
_NAME = TypeAdapter(Name)

T = TypeVar("T", bound=Table)


def load(path: Path, environment: str | None) -> Settings:
    """Read the settings of one environment.

    Args:
        path: the file.
        environment: the name of the environment. Without one it is `[app] default_environment`,
            and without that the only one of the file.

    Raises:
        SettingsError: the file cannot be read or has mistakes; it holds all of them.
        UsageError: it is not clear which environment is meant, or there is none of that name.
    """
    document = _document(path)
    if problems := set(_problems(document)):
        raise _mistakes(document, problems)
    name = _chosen(document, environment)
    return _settings(path, name, _Reading(document, name).tables())


@dataclass(frozen=True)
class _Document:
    """The file as TOML sees it, with the line of each key."""

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[positions.Path, int]

    @property
    def environments(self) -> Mapping[str, Any]:
        """What stands under [environments], if that is a table."""
        return _table(self.values, "environments")

    def line(self, path: positions.Path) -> int:
        """The line of a key; of what holds it, when it is missing itself."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def _table(values: object, name: str) -> Mapping[str, Any]:
    inner = values.get(name) if isinstance(values, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _document(path: Path) -> _Document:
    text = _text(path)
    try:
        values = tomllib.loads(text)
        return _Document(path, values, positions.positions(text))
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(path, str(error)) from None
    except RecursionError:
        raise _no_toml(path, "lists or tables are nested too deeply") from None
    except ValueError as error:
        # A number with thousands of digits, or a date that no calendar has.
        raise _no_toml(path, str(error)) from None


def _no_toml(path: Path, why: str) -> SettingsError:
    place = re.search(r" \(at line (\d+), column (\d+)\)$", why)
    where = f"{path}:{place[1]}:{place[2]}" if place else f"{path}"
    return SettingsError(
        f"{path} is not valid TOML",
        problems=(f"{where}: {why[: place.start()] if place else why}",),
        next_step=_CORRECT,
    )


def _text(path: Path) -> str:
    """The text of the file; what an editor puts first to mark UTF-8 is left out."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise SettingsError(f"there is no file {path}", next_step=_FIRST_FILE) from None
    except IsADirectoryError:
        raise SettingsError(f"{path} is a folder", next_step="name the file in it") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SettingsError(f"{str(path)!r} cannot be read", problems=(f"{reason}",)) from None
    if not content.strip():
        raise SettingsError(f"{path} is empty", next_step=_FIRST_FILE)
    if b"\0" in content:
        raise SettingsError(f"{path} is a binary file", next_step=_FIRST_FILE)
    if len(content) > _LARGEST:
        raise SettingsError(f"{path} is larger than 1 MiB", next_step=_FIRST_FILE)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            f"{path} is not UTF-8 text",
            problems=(f"{path}:{line}: found the byte 0x{content[error.start]:02x}",),
            next_step="save the file as UTF-8",
        ) from None


def _mistakes(document: _Document, problems: Iterable[Problem]) -> SettingsError:
    path = document.path
    lines = sorted(
        (document.line(problem.path), written(problem.path), problem.text) for problem in problems
    )
    return SettingsError(
        f"{path} has {'one mistake' if len(lines) == 1 else f'{len(lines)} mistakes'}",
        problems=tuple(f"{path}:{line}: {key}: {text}" for line, key, text in lines),
        next_step=_CORRECT,
    )


def _problems(document: _Document) -> Iterator[Problem]:
    yield from _unknown_tables((), document.values, (*TABLES, "environments"))
    if document.values.get("environments") is None:
        yield Problem(("environments",), f"missing; expected {_FIRST_HOST}")
    elif not document.environments:
        found = found_at((), document.values["environments"])
        yield Problem(("environments",), f"found {found}, expected {_FIRST_HOST}")
    yield from _default_environment(document)
    if not any("app" in tables for tables in _levels(document)):
        yield Problem(("app",), "missing; expected a table with a name and a repository")
    # What an environment replaces is judged as well; what it may add is not missed here.
    shared = _Reading(document, None)
    shared.tables()
    yield from (p for p in shared.problems if p.path in document.lines or not document.environments)
    for name, value in document.environments.items():
        yield from _bad_name(("environments", name), name)
        if not isinstance(value, Mapping):
            found = found_at((), value)
            yield Problem(("environments", name), f"found {found}, expected {_FIRST_HOST}")
            continue
        yield from _unknown_tables(("environments", name), value, (*TABLES, "hosts"))
        reading = _Reading(document, name)
        tables = reading.tables()
        yield from reading.problems
        yield from (
            Problem(reading.origin(problem.path), problem.text) for problem in mismatches(tables)
        )


def _levels(document: _Document) -> Iterator[Mapping[str, Any]]:
    """The tables that all environments share, then those of each environment."""
    yield document.values
    for name in document.environments:
        yield _table(document.environments, name)


def _unknown_tables(
    path: positions.Path, values: Mapping[str, Any], known: Iterable[str]
) -> Iterator[Problem]:
    known = tuple(known)
    for name in values:
        if name not in known:
            yield Problem((*path, name), later_table(name) or f"unknown table; {hint(name, known)}")


def _default_environment(document: _Document) -> Iterator[Problem]:
    default = _table(document.values, "app").get("default_environment")
    known = document.environments
    if isinstance(default, str) and known and default not in known:
        text = f"found {default!r}, expected an environment of this file; {hint(default, known)}"
        yield Problem(("app", "default_environment"), text)
    for name, environment in known.items():
        if "default_environment" in _table(environment, "app"):
            path = ("environments", name, "app", "default_environment")
            yield Problem(path, "this key belongs in [app]")


def _bad_name(path: positions.Path, name: str) -> Iterator[Problem]:
    try:
        _NAME.validate_python(name)
    except ValidationError as error:
        expected = error.errors()[0]["ctx"]["error"]
        yield Problem(path, f"found a name that cannot be used, expected {expected}")


def _chosen(document: _Document, environment: str | None) -> str:
    known = tuple(document.environments)
    default = _table(document.values, "app").get("default_environment")
    name = environment if environment is not None else default
    if name in known:
        return str(name)
    if name is None and len(known) == 1:
        return known[0]
    raise UsageError(
        f"{document.path} has no environment {name!r}"
        if name is not None
        else f"{document.path} has several environments",
        why=f"{name!r}: {hint(name, known)}" if name is not None else "",
        next_step=f"choose one with --env: {', '.join(known)}",
    )


class _Reading:
    """Reads the tables of one environment, and remembers what is wrong with them.

    Without an environment it reads the shared tables alone.
    """

    def __init__(self, document: _Document, environment: str | None) -> None:
        self.problems: list[Problem] = []
        self._document = document
        self._environment = environment
        self._overrides = _table(document.environments, environment) if environment else {}
        self._refused: set[str] = set()

    def tables(self) -> Tables:
        found = self._hosts()
        return Tables(
            hosts=found,
            all_hosts=len(found) == len(_table(self._overrides, "hosts")) > 0,
            app=self._read("app", App),
            ssh=self._read("ssh", Ssh),
            install=self._read("install", Install),
            test=self._read("test", ProjectTests),
            train=self._read("train", Train),
            serve=self._read("serve", Serve),
            health=self._read("health", Health),
            rollout=self._read("rollout", Rollout),
            monitoring=self._read("monitoring", Monitoring),
            refused=frozenset(self._refused),
        )

    def origin(self, path: positions.Path) -> positions.Path:
        """Where in the file a key comes from: from the environment or from the shared table."""
        if self._environment is None:
            return path
        override = ("environments", self._environment, *path)
        if override in self._document.lines:
            return override
        if path[0] in self._overrides and path[0] not in self._document.values:
            return override
        return path

    def _hosts(self) -> Mapping[str, HostTable]:
        if self._environment is None:
            return {}
        table = self._overrides.get("hosts")
        if not isinstance(table, Mapping) or not table:
            found = "missing" if table is None else f"found {found_at((), table)}"
            path = ("environments", self._environment, "hosts")
            self.problems.append(Problem(path, f"{found}, expected {_FIRST_HOST}"))
            return {}
        hosts = {}
        for name, values in table.items():
            self.problems.extend(_bad_name(self.origin(("hosts", name)), name))
            if host := self._validated(("hosts", name), HostTable, values):
                hosts[name] = host
        return hosts

    def _read(self, name: str, model: type[T]) -> T | None:
        shared, own = self._document.values.get(name), self._overrides.get(name)
        if shared is None and own is None and name in _NOT_WITHOUT_A_TABLE:
            return None
        values = shared if own is None else _merged(shared, own)
        return self._validated((name,), model, {} if values is None else values)

    def _validated(self, path: positions.Path, model: type[T], values: object) -> T | None:
        try:
            return model.model_validate(values)
        except ValidationError as error:
            self._refused.add(str(path[0]))
            self.problems.extend(
                Problem(self.origin(problem.path), problem.text)
                for problem in problems_of(model, path, error)
            )
            return None


def _merged(shared: object, own: object) -> object:
    """The shared table with the environment's keys over it, key by key, tables in it likewise."""
    if not isinstance(shared, Mapping) or not isinstance(own, Mapping):
        return own
    return {**shared, **{key: _merged(shared.get(key), value) for key, value in own.items()}}


def _settings(path: Path, environment: str, tables: Tables) -> Settings:
    """Put the tables of an environment without mistakes together."""
    app, ssh, serve = tables.app, tables.ssh, tables.serve
    assert app and ssh and tables.install and tables.health
    assert tables.rollout and tables.monitoring
    if serve and serve.manager is Manager.SYSTEMD and serve.user is None:
        serve = serve.model_copy(update={"user": app.name})
    return Settings(
        path=path,
        environment=environment,
        app=app,
        ssh=ssh,
        hosts=tuple(
            resolve(name, host, ssh, path.absolute().parent) for name, host in tables.hosts.items()
        ),
        install=tables.install,
        test=tables.test,
        train=tables.train,
        serve=serve,
        health=tables.health,
        rollout=tables.rollout,
        monitoring=tables.monitoring,
    )
