"""The golden requests: what a host is sent to put them to a service, and what they may hold.

Pure. `service` proves releases with it, `story` has golden files checked before anything is done,
and `fab golden.record` records new ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aideploy.phases.health import address
from aideploy.phases.programs import loaded
from aideploy.remote.result import Result
from aideploy.remote.script import Script
from aideploy.scripts.golden_file import Line

if TYPE_CHECKING:
    from aideploy.settings import Settings
    from aideploy.settings.golden import Golden

_MODULES = ("golden_rules", "golden_file", "golden")


def program() -> str:
    """Return the text of golden.py with the modules that it needs, which the hosts run."""
    return loaded(*_MODULES)


def proof(golden: Golden | None, bind: str, port: int) -> tuple[str, str, str]:
    """Return program, request and file for the function `golden` of release.sh.

    All are empty where there are no golden requests.

    Args:
        golden: the settings.
        bind, port: where the service listens on its host.
    """
    if golden is None:
        return "", "", ""
    return program(), _request(golden, bind, port), str(golden.file)


def check(settings: Settings, golden: Golden, release: str) -> Script:
    """Return the script that reads the golden file of a release; it fails with `bad-golden`."""
    words = (str(settings.app.deploy_to), release, settings.install.python, program())
    return Script("golden_check", (*words, str(golden.file)))


def record(
    settings: Settings, golden: Golden, bind: str, port: int, lines: Sequence[Line]
) -> Script:
    """Return the script that puts these requests to the live service.

    Args:
        settings, golden: of the environment.
        bind, port: where the service listens on its host.
        lines: the requests; the script emits an answer for each, in their order.
    """
    requests = "".join(f"{json.dumps(line.written)}\n" for line in lines)
    request = _request(golden, bind, port)
    words = (str(settings.app.deploy_to), settings.install.python, program())
    return Script("golden_record", (*words, request, requests))


@dataclass(frozen=True)
class Recorded:
    """What the live service answered to one request.

    Args:
        answer: as JSON values.
        wrong: why it cannot be recorded; empty where it can.
        unsteady: how a second answer to the same request differed, a sentence each.
    """

    answer: Any = None
    wrong: str = ""
    unsteady: tuple[str, ...] = ()


def read_recorded(result: Result) -> tuple[Recorded, ...]:
    """Make typed answers of what the script emitted."""
    values = (json.loads(line) for line in result.data("answers").decode().splitlines())
    return tuple(
        Recorded(value.get("answer"), value.get("wrong", ""), tuple(value.get("unsteady", ())))
        for value in values
    )


def _request(golden: Golden, bind: str, port: int) -> str:
    return json.dumps(
        {
            "name": str(golden.file),
            "host": address(bind),
            "port": port,
            "path": golden.path,
            "tolerance": golden.tolerance,
            "tolerance_rel": golden.tolerance_rel,
            "ignore": golden.ignore,
            "last": golden.last,
            "max_latency": golden.max_latency.total_seconds() if golden.max_latency else 0,
            "max_memory": golden.max_memory or 0,
            "timeout": golden.timeout.total_seconds(),
        }
    )
