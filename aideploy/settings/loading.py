"""From the file hosts.toml to `Settings`, or to all of its mistakes at once.

Every command starts here, before the first connection. The whole file is judged, not only the
environment that is asked for: a mistake should be met when it is written, not on the day when
staging is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from aideploy.errors import SettingsError, UsageError
from aideploy.settings import positions
from aideploy.settings.analysis import Analysis
from aideploy.settings.app import App
from aideploy.settings.checks import Tables, mismatches
from aideploy.settings.document import CORRECT, Document, read, table
from aideploy.settings.drift import Drift
from aideploy.settings.gate import Gate
from aideploy.settings.golden import Golden
from aideploy.settings.health import Health
from aideploy.settings.hooks import HooksTable
from aideploy.settings.hosts import HostTable, resolve
from aideploy.settings.install import Install
from aideploy.settings.model import Settings
from aideploy.settings.monitoring import Monitoring
from aideploy.settings.notify import Notify
from aideploy.settings.problems import Problem, found_at, hint, problems_of, written
from aideploy.settings.review import Review
from aideploy.settings.rollout import Rollout
from aideploy.settings.serve import Manager, Serve
from aideploy.settings.source import Model
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
    "model": Model,
    "serve": Serve,
    "health": Health,
    "golden": Golden,
    "rollout": Rollout,
    "monitoring": Monitoring,
    "review": Review,
    "notify": Notify,
    "hooks": HooksTable,
    "drift": Drift,
}
# What is written as [[name]], once for each of them.
LISTS: Mapping[str, type[Table]] = {"gate": Gate, "analysis": Analysis}
# What a project may do without; the others are read even when the file does not mention them.
_OPTIONAL = frozenset({"test", "train", "serve", "golden", "review", "notify", "hooks", "drift"})
_FIRST_HOST = 'one host at least, as in [environments.production.hosts.web1] with its "address"'
_NAME = TypeAdapter(Name)

FILE_NAME = "hosts.toml"

T = TypeVar("T", bound=Table)


def find(named: str | None) -> Path:
    """Return the file to read: the one named, else hosts.toml here or in a folder above."""
    if named is not None:
        return Path(named)
    here = Path.cwd()
    found = (folder / FILE_NAME for folder in (here, *here.parents))
    return next((path for path in found if path.is_file()), here / FILE_NAME)


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
    document = read(path)
    if problems := set(_problems(document)):
        raise _mistakes(document, problems)
    name = _chosen(document, environment)
    default = document.values["app"].get("default_environment")
    by_default = len(document.environments) == 1 or name == default
    tables = _Reading(document, name).tables()
    return replace(_settings(path, name, tables), environment_by_default=by_default)


def _mistakes(document: Document, problems: Iterable[Problem]) -> SettingsError:
    path = document.path
    lines = sorted(
        (document.line(problem.path), written(problem.path), problem.text) for problem in problems
    )
    return SettingsError(
        f"{path} has {'one mistake' if len(lines) == 1 else f'{len(lines)} mistakes'}",
        problems=tuple(f"{path}:{line}: {key}: {text}" for line, key, text in lines),
        next_step=CORRECT,
    )


def _problems(document: Document) -> Iterator[Problem]:
    yield from _unknown_tables((), document.values, (*TABLES, *LISTS, "environments"))
    if document.values.get("environments") is None:
        yield Problem(("environments",), f"missing; expected {_FIRST_HOST}")
    elif not document.environments:
        found = found_at((), document.values["environments"])
        yield Problem(("environments",), f"found {found}, expected {_FIRST_HOST}")
    yield from _default_environment(document)
    # What an environment replaces is judged as well; what it may add is not missed here.
    shared = _Reading(document, None)
    shared.tables()
    yield from (
        problem
        for problem in shared.problems
        if problem.path in document.lines or problem.path[0] in LISTS or not document.environments
    )
    for name, value in document.environments.items():
        yield from _bad_name(("environments", name), name)
        if not isinstance(value, Mapping):
            found = found_at((), value)
            yield Problem(("environments", name), f"found {found}, expected {_FIRST_HOST}")
            continue
        yield from _unknown_tables(("environments", name), value, (*TABLES, *LISTS, "hosts"))
        reading = _Reading(document, name)
        tables = reading.tables()
        yield from reading.problems
        yield from (
            Problem(reading.origin(problem.path), problem.text) for problem in mismatches(tables)
        )


def _unknown_tables(
    path: positions.Path, values: Mapping[str, Any], known: Iterable[str]
) -> Iterator[Problem]:
    known = tuple(known)
    for name in values:
        if name not in known:
            yield Problem((*path, name), f"unknown table; {hint(name, known)}")


def _default_environment(document: Document) -> Iterator[Problem]:
    default = table(document.values, "app").get("default_environment")
    known = document.environments
    if isinstance(default, str) and known and default not in known:
        text = f"found {default!r}, expected an environment of this file; {hint(default, known)}"
        yield Problem(("app", "default_environment"), text)
    for name, environment in known.items():
        if "default_environment" in table(environment, "app"):
            path = ("environments", name, "app", "default_environment")
            yield Problem(path, "this key belongs in [app]")


def _bad_name(path: positions.Path, name: str) -> Iterator[Problem]:
    try:
        _NAME.validate_python(name)
    except ValidationError as error:
        expected = error.errors()[0]["ctx"]["error"]
        yield Problem(path, f"found a name that cannot be used, expected {expected}")


def _chosen(document: Document, environment: str | None) -> str:
    known = tuple(document.environments)
    default = table(document.values, "app").get("default_environment")
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

    def __init__(self, document: Document, environment: str | None) -> None:
        self.problems: list[Problem] = []
        self._document = document
        self._environment = environment
        self._overrides = (
            table(document.environments, environment) if environment is not None else {}
        )
        self._refused: set[str] = set()

    def tables(self) -> Tables:
        found = self._hosts()
        return Tables(
            hosts=found,
            all_hosts=len(found) == len(table(self._overrides, "hosts")) > 0,
            app=self._read("app", App),
            ssh=self._read("ssh", Ssh),
            install=self._read("install", Install),
            test=self._read("test", ProjectTests),
            train=self._read("train", Train),
            model=self._read("model", Model),
            gates=self._read_list("gate", Gate),
            analyses=self._read_list("analysis", Analysis),
            serve=self._read("serve", Serve),
            health=self._read("health", Health),
            golden=self._read("golden", Golden),
            rollout=self._read("rollout", Rollout),
            monitoring=self._read("monitoring", Monitoring),
            review=self._read("review", Review),
            notify=self._read("notify", Notify),
            hooks=self._read("hooks", HooksTable),
            drift=self._read("drift", Drift),
            refused=frozenset(self._refused),
        )

    def origin(self, path: positions.Path) -> positions.Path:
        """Where in the file a key comes from: from the environment or from the shared table."""
        if self._environment is None:
            return path
        override = ("environments", self._environment, *path)
        if override in self._document.lines:
            return override
        if path[0] in self._overrides and (
            path[0] in LISTS or path[0] not in self._document.values
        ):
            return override
        return path

    def _hosts(self) -> Mapping[str, HostTable]:
        if self._environment is None:
            return {}
        written_hosts = self._overrides.get("hosts")
        if not isinstance(written_hosts, Mapping) or not written_hosts:
            kind = found_at((), written_hosts)
            found = "missing" if written_hosts is None else f"found {kind}"
            path = ("environments", self._environment, "hosts")
            self.problems.append(Problem(path, f"{found}, expected {_FIRST_HOST}"))
            return {}
        hosts = {}
        for name, values in written_hosts.items():
            self.problems.extend(_bad_name(self.origin(("hosts", name)), name))
            if host := self._validated(("hosts", name), HostTable, values):
                hosts[name] = host
        return hosts

    def _read(self, name: str, model: type[T]) -> T | None:
        shared, own = self._document.values.get(name), self._overrides.get(name)
        if shared is None and own is None and name in _OPTIONAL:
            return None
        values = shared if own is None else _merged(shared, own)
        return self._validated((name,), model, {} if values is None else values)

    def _read_list(self, name: str, model: type[T]) -> tuple[T, ...]:
        """Read the tables of a list. Those of an environment stand in place of the shared ones."""
        holder = self._overrides if name in self._overrides else self._document.values
        written_tables = holder.get(name, [])
        if not isinstance(written_tables, list):
            found = found_at((), written_tables)
            text = f"found {found}, expected a list of tables, each below a line [[{name}]]"
            self.problems.append(Problem(self.origin((name,)), text))
            self._refused.add(name)
            return ()
        read = (self._validated((name, i), model, each) for i, each in enumerate(written_tables))
        return tuple(each for each in read if each is not None)

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
    assert app and ssh and tables.install and tables.model and tables.health
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
        model=tables.model,
        gates=tables.gates,
        analyses=tables.analyses,
        serve=serve,
        health=tables.health,
        golden=tables.golden,
        rollout=tables.rollout,
        monitoring=tables.monitoring,
        review=tables.review,
        notify=tables.notify,
        hooks=tables.hooks,
        drift=tables.drift,
    )
