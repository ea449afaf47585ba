"""`fab sandbox.up`, `sandbox.status` and `sandbox.down`: hosts on this machine, ready to deploy to.

The sandbox lies beside hosts.toml. What makes it deployable is the environment `sandbox` there:
printed for a person to paste, or written between two marker lines that the next `up` finds again.
"""

from __future__ import annotations

import json as encoding
import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aideploy.errors import UsageError
from aideploy.report.output import Output
from aideploy.report.tables import print_table
from aideploy.sandbox.lifecycle import DEFAULT_FOLDER, Condition, Sandbox, Status
from aideploy.settings import load
from aideploy.settings.document import Document, read, table
from aideploy.settings.loading import find

_ENVIRONMENT = "sandbox"
_BEGIN = "# The sandbox of this machine, from here: written by fab sandbox.up --write."
_END = "# The sandbox of this machine, to here."


def bring_up(config: str | None, count: int, *, write: bool) -> None:
    """Bring the hosts up, and say or write what makes them an environment of hosts.toml.

    Raises:
        UsageError: hosts.toml is wrong, or the count is.
        HostNotReady: the sandbox does not come up.
    """
    file = find(config)
    document = read(file) if file.exists() or config is not None else None
    app = _app_name(document) if document else None
    status = _sandbox(config).up(count)
    out = Output(sys.stdout)
    out.line(f"{count} {'host is' if count == 1 else 'hosts are'} up in {status.layout.folder}")
    if status.note:
        out.line(f"Note: {status.note}")
    if document is None or app is None:
        out.line("Next: fab init, then fab sandbox.up --write")
        return
    tables = status.environment_toml(app=app, port=_port(document, status))
    if not _holds(document.environments.get(_ENVIRONMENT), _environment(tables)):
        if not write:
            old = "Replace" if _ENVIRONMENT in document.environments else "Add"
            out.line(f"{old} these tables in {file}, or let fab sandbox.up --write do it:\n")
            out.line(tables)
        else:
            _write(file.resolve(), document, tables)
            out.line(f"Wrote the environment {_ENVIRONMENT} into {file}")
            _say_which_is_meant(out, document)
    if write:
        load(file, _ENVIRONMENT)
    out.line(f"Next: fab setup --env {_ENVIRONMENT}, then fab deploy --env {_ENVIRONMENT}")


def print_status(config: str | None, *, json: bool) -> None:
    """Print how the sandbox is, and its hosts."""
    status = _sandbox(config).status()
    out = Output(sys.stdout)
    if json:
        facts = {
            "folder": str(status.layout.folder),
            "condition": status.condition.value,
            "hosts": [
                {**each.host.model_dump(), "processes": each.processes} for each in status.hosts
            ],
        }
        out.line(encoding.dumps(facts, indent=2))
        return
    out.line(f"The sandbox in {status.layout.folder} is {status.condition}")
    if status.hosts:
        rows = [
            (each.host.name, each.host.address, str(each.host.port), str(each.processes))
            for each in status.hosts
        ]
        print_table(("host", "address", "port", "processes"), rows, sys.stdout, os.environ)
    if status.condition is not Condition.UP:
        out.line("Next: fab sandbox.up")


def take_down(config: str | None) -> None:
    """End the sandbox and everything that runs in it; its files stay for the next time.

    Raises:
        HostNotReady: a process would not end.
    """
    sandbox = _sandbox(config)
    sandbox.down()
    Output(sys.stdout).line(f"The sandbox in {sandbox.layout.folder} is down")


def _sandbox(config: str | None) -> Sandbox:
    return Sandbox(find(config).absolute().parent / DEFAULT_FOLDER)


def _app_name(document: Document) -> str:
    name = table(document.values, "app").get("name")
    if not isinstance(name, str):
        raise UsageError(
            f"{document.path} does not say the name of the app",
            next_step='write it there: [app] name = "…"',
        )
    return name


def _port(document: Document, status: Status) -> int:
    """The port of the service: the one of last time, on which it may be running already."""
    earlier = table(table(document.environments, _ENVIRONMENT), "serve").get("port")
    return earlier if isinstance(earlier, int) else status.free_port()


def _environment(tables: str) -> Mapping[str, Any]:
    environment: Mapping[str, Any] = tomllib.loads(tables)["environments"][_ENVIRONMENT]
    return environment


def _holds(have: object, wanted: Mapping[str, Any]) -> bool:
    """Whether an environment has these hosts, no others, and says all that is wanted of them."""
    if not isinstance(have, Mapping):
        return False
    if set(table(have, "hosts")) != set(table(wanted, "hosts")):
        return False
    return all(
        _holds(have.get(key), value) if isinstance(value, Mapping) else have.get(key) == value
        for key, value in wanted.items()
    )


def _write(file: Path, document: Document, tables: str) -> None:
    text = file.read_text(encoding="utf-8")
    block = f"{_BEGIN}\n{tables.strip()}\n{_END}\n"
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(f"{_END}\n")
    if begin and end:
        text = before + block + after
    elif _ENVIRONMENT in document.environments:
        raise UsageError(
            f"{document.path} has an environment {_ENVIRONMENT} that is not of this sandbox",
            next_step="remove or rename it, then the same command again",
        )
    else:
        text = f"{text.rstrip()}\n\n{block}"
    unfinished = file.with_name(f"{file.name}.new")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.chmod(file.stat().st_mode)
    unfinished.replace(file)


def _say_which_is_meant(out: Output, document: Document) -> None:
    """With a second environment, a command without --env is no longer plain."""
    others = [name for name in document.environments if name != _ENVIRONMENT]
    if len(others) == 1 and "default_environment" not in table(document.values, "app"):
        out.line(
            f"There are two environments now: say --env, "
            f'or write [app] default_environment = "{others[0]}"'
        )
