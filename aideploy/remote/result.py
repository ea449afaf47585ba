"""What came back from one script on one host."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field

from aideploy.errors import AideployError, HostNotReady
from aideploy.remote.script import TAIL_LINES


@dataclass(frozen=True)
class Result:
    """The facts that a script emitted, in order.

    Args:
        script: its name.
        facts: every (key, value) pair it emitted.
        tail: the last lines of its output.
        host: the name of the host that it ran on.
    """

    script: str
    facts: tuple[tuple[str, str], ...] = ()
    tail: tuple[str, ...] = ()
    host: str = ""
    _last: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_last", dict(self.facts))

    def text(self, key: str, default: str = "") -> str:
        """Return the last value emitted for the key."""
        return self._last.get(key, default)

    def exact(self, key: str, pattern: re.Pattern[str]) -> str:
        """Return a value that other hosts are told, who make paths and commands of it.

        Args:
            key: as for `text`.
            pattern: what it has to be, from its beginning to its end.

        Raises:
            HostNotReady: it is something else. One host that lies must not harm another.
        """
        value = self.text(key)
        if not pattern.fullmatch(value):
            raise HostNotReady(
                f"{self.host} says something that cannot be: its {key} is {value[:80]!r}",
                next_step="see who has changed what on that host; take it out until then",
                host=self.host or None,
            )
        return value

    def all(self, key: str) -> tuple[str, ...]:
        """Return every value emitted for the key, in order."""
        return tuple(value for name, value in self.facts if name == key)

    def number(self, key: str, default: int = 0) -> int:
        """Return the value as an integer; the default where the host gave none."""
        try:
            return int(self._last[key])
        except (KeyError, ValueError):
            return default

    def data(self, key: str) -> bytes:
        """Return the bytes that `emit_file` sent; nothing where what came is not such a thing."""
        try:
            return base64.b64decode(self._last.get(key, ""))
        except ValueError:
            return b""


# ENOSPC in the words of the C library.
_NO_SPACE = "No space left on device"
# The table that has a phase's time limit, where its name is another one.
_TABLE_OF = {"distribute": "model"}
# Phases that only ask: nobody could give them more time.
_LOOKING = ("open", "look")
_SAID_WELL = ("cancelled", "timeout", "no-space")


class ScriptFailed(AideployError):
    """A script on a host ended badly. `code` is the word it gave to `fail`, or how it ended."""

    def __init__(self, code: str, result: Result, *, host: str, phase: str) -> None:
        what = result.text("fail.message") or _how(code, result)
        next_step = result.text("fail.next")
        tail = result.tail[-TAIL_LINES:]
        if code not in _SAID_WELL and any(_NO_SPACE in line for line in tail):
            # Whatever failed first, and however it put it: that is why.
            code, what = "no-space", f"no room on the disk of {host}: {what}"
            next_step = "make room there, then run the same command again"
        super().__init__(
            what,
            next_step=next_step or (_when_slow(phase) if code == "timeout" else ""),
            host=host,
            phase=phase,
            tail=tail,
        )
        self.code = code
        self.result = result


def _when_slow(phase: str) -> str:
    if phase in _LOOKING:
        return "something hangs on that host: fab diagnose; there: ps -eo state,pid,args | grep ^D"
    return f"see why, or raise timeout in [{_TABLE_OF.get(phase, phase)}]"


def _how(code: str, result: Result) -> str:
    match code:
        case "cancelled":
            return "stopped, because the command was stopped or another host failed"
        case "timeout":
            return "took longer than its time limit and was ended"
    command = result.text("fail.command")
    if command:
        return f"the command {command} failed"
    return f"the script {result.script} ended with status {code}"
