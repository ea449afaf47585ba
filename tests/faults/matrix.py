"""The matrix of faults, as data: which fault, in which phase, on which host, and what cannot hold.

`test_matrix` plays every cell; `breaking` knows how a fault is done. Nothing here touches a host.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from aideploy.errors import ExitStatus
from aideploy.events import Phase


class Fault(StrEnum):
    """What breaks. The value is how the table calls it."""

    CONTROLLER_KILLED = "controller killed"
    CONTROLLER_FROZEN = "controller frozen"
    LINE_CUT = "line cut"
    SSHD_KILLED = "sshd killed"
    HOST_OFF = "host off and on"
    HAPROXY_KILLED = "HAProxy killed"
    OUT_OF_MEMORY = "out of memory"
    CANNOT_START = "service crashes at start"
    DIES_LATER = "service crashes 10 s after the switch"
    HANGS = "service hangs"
    WRONG_REVISION = "wrong revision"


class Where(StrEnum):
    """Which host it happens to, or, where it happens to the controller, whose turn it is."""

    FIRST = "first host"
    LATER = "a later host"


class Check(StrEnum):
    """What has to hold in every cell. The value is how the table says that it does not."""

    TRAFFIC = "failed requests"
    WHOLE = "`current` was not whole"
    STATUS = "another exit status"
    TOGETHER = "hosts on different releases, or not on the one before"
    CLEAN = "one plain deploy did not leave the hosts clean"


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix."""

    fault: Fault
    phase: Phase
    where: Where

    def __str__(self) -> str:
        return f"{self.fault} - {self.phase} - {self.where}"


# The phases in which a deploy can be met, in their order. There is no review in this fleet.
PHASES = (
    Phase.OPEN,
    Phase.FETCH,
    Phase.INSTALL,
    Phase.TEST,
    Phase.TRAIN,
    Phase.EVALUATE,
    Phase.DISTRIBUTE,
    Phase.STAGE,
    Phase.SWITCH,
    Phase.WATCH,
    Phase.CONFIRM,
    Phase.FINISH,
)
# Those in which hosts have their turn one after the other; in the others all are met at once.
IN_BATCHES = (Phase.SWITCH, Phase.WATCH)

OF_THE_CONTROLLER = (Fault.CONTROLLER_KILLED, Fault.CONTROLLER_FROZEN)
OF_A_HOST = (Fault.LINE_CUT, Fault.SSHD_KILLED, Fault.HOST_OFF, Fault.HAPROXY_KILLED)
# Where a release that is ill shows it. Training is on the first host alone.
OF_THE_RELEASE = (
    (Fault.OUT_OF_MEMORY, Phase.TRAIN, (Where.FIRST,)),
    (Fault.OUT_OF_MEMORY, Phase.STAGE, tuple(Where)),
    (Fault.OUT_OF_MEMORY, Phase.WATCH, tuple(Where)),
    (Fault.CANNOT_START, Phase.STAGE, tuple(Where)),
    (Fault.WRONG_REVISION, Phase.STAGE, tuple(Where)),
    (Fault.DIES_LATER, Phase.WATCH, tuple(Where)),
    (Fault.HANGS, Phase.WATCH, tuple(Where)),
)

# The default run: one that the controller does not survive, one that a host does not.
ALWAYS = (
    Cell(Fault.CONTROLLER_KILLED, Phase.SWITCH, Where.LATER),
    Cell(Fault.HOST_OFF, Phase.WATCH, Where.LATER),
)


def cells() -> Iterator[Cell]:
    """The whole matrix, row by row."""
    for fault in OF_THE_CONTROLLER:
        for phase in PHASES:
            for where in Where if phase in IN_BATCHES else (Where.FIRST,):
                yield Cell(fault, phase, where)
    for fault in OF_A_HOST:
        for phase in PHASES:
            for where in Where:
                yield Cell(fault, phase, where)
    for fault, phase, hosts in OF_THE_RELEASE:
        for where in hosts:
            yield Cell(fault, phase, where)


_HALF_CONFIRMED = (
    "the confirmation had reached some hosts and not others: those that heard it stay, the others"
    " go back by themselves; nobody is left who could tell them to wait for each other"
)
# What cannot hold, and why: by fault and phase, for each host.
_KNOWN = {
    (fault, Phase.CONFIRM, Check.TOGETHER): _HALF_CONFIRMED
    for fault in (*OF_THE_CONTROLLER, Fault.LINE_CUT, Fault.SSHD_KILLED, Fault.HOST_OFF)
}


def known(cell: Cell, check: Check) -> str:
    """Why this check cannot hold in this cell; empty where it has to."""
    return _KNOWN.get((cell.fault, cell.phase, check), "")


def statuses(cell: Cell) -> frozenset[ExitStatus]:
    """The exit statuses that the deploy may end with; none where nothing is left to say one."""
    unreached = cell.phase in (Phase.SWITCH, Phase.WATCH, Phase.CONFIRM, Phase.FINISH)
    match cell.fault:
        case Fault.CONTROLLER_KILLED:
            return frozenset()
        case Fault.OUT_OF_MEMORY | Fault.CANNOT_START | Fault.WRONG_REVISION:
            is_refused = cell.phase is Phase.STAGE
            return frozenset({ExitStatus.REFUSED if is_refused else ExitStatus.ROLLED_BACK})
        case Fault.DIES_LATER | Fault.HANGS:
            return frozenset({ExitStatus.ROLLED_BACK})
        case Fault.HAPROXY_KILLED:
            # It is back in a moment; who asks in that moment finds the release, or HAProxy, ill.
            return frozenset({ExitStatus.DONE, ExitStatus.NOT_READY, ExitStatus.ROLLED_BACK})
    lost = {ExitStatus.NOT_READY}
    if cell.fault is Fault.CONTROLLER_FROZEN and cell.phase is Phase.OPEN:
        # It may not hold a lock yet that could be lost: then it just goes on.
        lost |= {ExitStatus.DONE}
    if cell.fault is Fault.CONTROLLER_FROZEN and cell.phase is Phase.STAGE:
        # The hosts were done before they missed it: it hears of that first, and then loses them.
        lost |= {ExitStatus.ROLLED_BACK}
    if unreached:
        lost = {ExitStatus.ROLLED_BACK, ExitStatus.NEEDS_PERSON}
    if cell.phase in (Phase.EVALUATE, Phase.CONFIRM, Phase.FINISH):
        # Over in a moment: it may hit the phase before or the one behind.
        lost |= {ExitStatus.DONE, ExitStatus.NOT_READY, ExitStatus.NEEDS_PERSON}
    return frozenset(lost)
