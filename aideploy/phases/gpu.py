"""The memory of GPUs: whether two copies of a model fit, and who waits for it to become free.

Pure: which script to run and what its answer means. The waiting itself is done on the host, by
scripts/gpu.py, when `recreate` stops a service.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from aideploy.phases import facts as looking
from aideploy.remote.result import Result
from aideploy.remote.script import Script
from aideploy.settings.hosts import Role
from aideploy.settings.serve import Strategy

if TYPE_CHECKING:
    from aideploy.phases.facts import HostFacts
    from aideploy.settings import Host, Settings
    from aideploy.settings.serve import Serve

# A driver that needs longer to give memory back is ill.
RELEASE_LIMIT = timedelta(seconds=60)
_FIELDS = 4


@cache
def program() -> str:
    """Return the text of gpu.py, which the hosts run."""
    return resources.files("aideploy.scripts").joinpath("gpu.py").read_text(encoding="utf-8")


def waiting(serve: Serve) -> tuple[str, str]:
    """Return the program that waits and for how many seconds; nothing where no GPU has to be free.

    With `blue_green` the old release keeps its memory, with `socket` it keeps its socket.
    """
    waits = serve.gpus > 0 and serve.strategy is Strategy.RECREATE
    return (program(), str(round(RELEASE_LIMIT.total_seconds()))) if waits else ("", "0")


def needs_room(settings: Settings, host: Host) -> bool:
    """Whether two copies of a model have to fit on the host."""
    serve = settings.serve
    return (
        serve is not None
        and serve.gpus > 0
        and serve.strategy is Strategy.BLUE_GREEN
        and Role.SERVE in host.roles
    )


def script(settings: Settings, facts: HostFacts) -> Script:
    """Return the script that asks the GPUs of a host."""
    words = (str(facts.root), settings.app.name, settings.install.python, program())
    return Script("gpu_room", words, limit=looking.LIMIT)


def obstacles(result: Result) -> Iterator[tuple[str, str]]:
    """Yield each GPU on which a second copy does not fit, and what to do about it.

    The copy that runs says how much one needs. What stands by is stopped before another one
    starts, so that its memory counts as free. A GPU that does not tell is no obstacle.
    """
    for line in result.all("gpu"):
        fields = line.split()
        if len(fields) != _FIELDS or not all(field.isdecimal() for field in fields[1:]):
            continue
        gpu, (free, live, other) = fields[0], map(int, fields[1:])
        if live > free + other:
            yield (
                f"two copies of the model do not fit on {gpu}: the one that runs uses {live} MiB, "
                f"{free + other} MiB are free for another",
                'strategy = "recreate" in [serve], then fab setup',
            )
