"""Put recorded requests to a service on this host and compare what it answers.

Runs on the hosts, by their Python (3.8 or later, standard library only), with golden_file.py and
golden_rules.py in one text (`phases/golden.py` puts it together):

    python3 -c PROGRAM prove REQUEST FILE PID    are the answers as the golden file says?
    python3 -c PROGRAM check FILE NAME           is the golden file (called NAME) right?
    python3 -c PROGRAM record REQUEST < LINES    what does the service answer today?

REQUEST is JSON, from `phases/golden.py`. PID is the service's main process. The last line that
`prove` prints is the result in words; exit status 0: ready. `record` prints one line of JSON for
each request.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import sys
import time
from typing import NamedTuple

from aideploy.scripts.golden_file import ABSENT, MOST_BYTES, Line, read
from aideploy.scripts.golden_rules import Comparison, Number, Rules, constants, not_finite, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import Any

# So often all requests are put to a service that is still warming up.
MOST_ROUNDS = 10
SHOWN_ANSWERS = 5
SHOWN_DIFFERENCES = 3


# -- asking ---------------------------------------------------------------------------------------


class TimeIsUp(Exception):
    """The time for all requests is over."""


class Answer(NamedTuple):
    """What came back: a status and JSON, or `failed`, which says why there is none."""

    seconds: float
    status: int = 0
    found: Any = None
    failed: str = ""


class Judged(NamedTuple):
    """An answer and what is wrong with it. `warming`: it may still become right."""

    line: Line
    seconds: float
    wrong: tuple[str, ...] = ()
    warming: bool = False
    numbers: tuple[Number, ...] = ()


def ask(request: dict[str, Any], line: Line) -> Answer:
    """Put one request to the service, on a connection of its own."""
    body = json.dumps(line.written["request"]).encode() if "request" in line.written else None
    headers = {"Accept": "application/json", "Connection": "close"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    headers.update(line.written.get("headers", {}))
    connection = http.client.HTTPConnection(request["host"], request["port"])
    began = time.monotonic()
    try:
        path = line.written.get("path", request["path"])
        connection.request(line.method, path, body, headers)
        response = connection.getresponse()
        content = response.read(MOST_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        return Answer(
            time.monotonic() - began, failed=f"no answer: {str(error) or type(error).__name__}"
        )
    finally:
        connection.close()
    took = time.monotonic() - began
    if len(content) > MOST_BYTES:
        return Answer(took, response.status, failed="the answer is larger than 16 MiB")
    try:
        return Answer(took, response.status, json.loads(content.decode("utf-8")))
    except (ValueError, RecursionError):
        start = ascii(content[:80].decode("utf-8", "replace"))
        return Answer(took, response.status, failed=f"the answer is not JSON: {start}")


def judge(line: Line, answer: Answer, rules: Rules) -> Judged:
    """Say whether the answer is right."""
    if answer.status != line.status:
        said = answer.failed if not answer.status else f"answered {answer.status}"
        if answer.status and not answer.failed:
            said += f", {shown(answer.found)}"
        warming = answer.status == 0 or answer.status >= 500
        return Judged(line, answer.seconds, (f"{said}; expected {line.status}",), warming)
    if answer.failed:
        return Judged(line, answer.seconds, (answer.failed,))
    comparison = Comparison(rules.replaced(line.written))
    try:
        odd = [f"{where} is not a finite number" for where in not_finite(answer.found)]
        if not odd and line.expected is not ABSENT:
            comparison.compare(line.expected, answer.found)
    except RecursionError:
        odd = ["the answer is nested too deeply"]
    wrong = (*odd, *comparison.wrong)
    return Judged(line, answer.seconds, wrong, numbers=tuple(comparison.numbers))


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeIsUp in the body after so many seconds, also where an answer drips byte by byte."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeIsUp

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


# -- the proof ------------------------------------------------------------------------------------


class Refusal(NamedTuple):
    """Why a service is not ready. Not final: another round may still help."""

    words: str
    final: bool


class Proof:
    """The rounds of requests that a service has to answer; they warm it up, too.

    Every round puts every request. What an answer says is final at the end of its round; that
    there is none yet, or that it took too long, may be better in the next.
    """

    def __init__(self, request: dict[str, Any], lines: list[Line], pid: str) -> None:
        self._request = request
        self._lines = lines
        self._pid = pid
        self._rules = Rules(
            request["tolerance"], request["tolerance_rel"], frozenset(request["ignore"])
        )
        self._round: list[Judged] = []
        self._seconds: list[float] = []

    def run(self) -> tuple[bool, str]:
        """Return whether the service is ready, and the result in words."""
        refusal: Refusal | None = Refusal("", final=False)
        seconds = self._request["timeout"]
        try:
            with time_limit(seconds):
                for _ in range(MOST_ROUNDS):
                    self._ask_all()
                    refusal = self._refusal()
                    if refusal is None or refusal.final:
                        break
        except TimeIsUp:
            if refusal is not None:
                words = self._wrong_words() or refusal.words or self._unanswered()
                refusal = Refusal(f"{words}; {seconds:g} s are over", final=True)
        if refusal is None:
            return True, f"{len(self._lines)} golden answers right"
        return False, refusal.words

    def details(self) -> Iterator[str]:
        """Yield lines that show the wrong answers of the last round."""
        wrong = self._wrong()
        for judged in wrong[:SHOWN_ANSWERS]:
            asked = judged.line.written.get("request", judged.line.method)
            yield f"{judged.line.where}: asked {shown(asked)}"
            yield from (f"    {one}" for one in judged.wrong[:SHOWN_DIFFERENCES])
            if len(judged.wrong) > SHOWN_DIFFERENCES:
                yield f"    and {len(judged.wrong) - SHOWN_DIFFERENCES} more differences"
        if len(wrong) > SHOWN_ANSWERS:
            yield f"and {len(wrong) - SHOWN_ANSWERS} more wrong answers"

    def measured(self) -> Iterator[str]:
        """Yield how far off and how fast the answers were, and how large the service is."""
        for number in sorted(self._numbers(), key=Number.off)[-1:]:
            yield f"at most {number.off():.3g} off: {number.where}"
        used = memory(self._pid)
        yield self._pace() + (f"; {in_mib(used)} of memory" if used is not None else "")

    def _numbers(self) -> list[Number]:
        return [number for judged in self._round for number in judged.numbers]

    def _ask_all(self) -> None:
        self._round = []
        # A round is long enough to judge the last answers by.
        repeats = -(-self._request["last"] // len(self._lines))
        for line in self._lines * repeats:
            judged = judge(line, ask(self._request, line), self._rules)
            self._round.append(judged)
            self._seconds.append(judged.seconds)
            if judged.warming and not alive(self._pid):
                return

    def _refusal(self) -> Refusal | None:
        if not alive(self._pid):
            return Refusal(f"the service ended when asked {self._round[-1].line.where}", final=True)
        for same in constants([judged.numbers for judged in self._round]):
            return Refusal(f"the answers do not depend on what is asked: {same}", final=True)
        if wrong := self._wrong():
            return Refusal(self._wrong_words(), any(not judged.warming for judged in wrong))
        limit = self._request["max_latency"]
        if limit and self._slowest() > limit:
            return Refusal(f"too slow: {self._pace()}, limit {in_ms(limit)}", final=False)
        return self._too_large()

    def _too_large(self) -> Refusal | None:
        most = self._request["max_memory"]
        if not most:
            return None
        used = memory(self._pid)
        if used is None:
            return Refusal("the memory of the service cannot be read from /proc here", final=True)
        if used > most:
            words = f"the service uses {in_mib(used)} of memory, limit {in_mib(most)}"
            return Refusal(words, final=True)
        return None

    def _wrong(self) -> list[Judged]:
        return [judged for judged in self._round if judged.wrong]

    def _wrong_words(self) -> str:
        wrong = self._wrong()
        if not wrong:
            return ""
        count = len({judged.line.where for judged in wrong})
        verb = "is" if count == 1 else "are"
        return (
            f"{count} of {len(self._lines)} golden answers {verb} wrong: "
            f"{wrong[0].line.where}: {wrong[0].wrong[0]}"
        )

    def _unanswered(self) -> str:
        return f"only {len(self._round)} of {len(self._lines)} golden requests were answered"

    def _slowest(self) -> float:
        return max(self._seconds[-self._request["last"] :])

    def _pace(self) -> str:
        ordered = sorted(self._seconds)
        return (
            f"median {in_ms(ordered[len(ordered) // 2])}, "
            f"last {self._request['last']} within {in_ms(self._slowest())}"
        )


def alive(pid: str) -> bool:
    return pid in ("", "0") or os.path.exists(f"/proc/{pid}")


def memory(pid: str) -> int | None:
    """Return the bytes of memory of a process and all below it, as `ps` adds them up (VmRSS).

    A page that several of them share counts for each. None where /proc does not tell.
    """
    children: dict[str, list[str]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            parent = of_process(name, "PPid")
            children.setdefault(parent, []).append(name)
    total = 0
    family = [pid]
    while family:
        member = family.pop()
        family += children.get(member, [])
        size = of_process(member, "VmRSS")
        total += int(size.split()[0]) * 1024 if size else 0
    return total or None


def of_process(pid: str, key: str) -> str:
    """Return what /proc says of a process under this key; nothing when it is gone or hidden."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            found = re.search(rf"^{key}:\s*(.*)$", file.read(), re.MULTILINE)
    except OSError:
        return ""
    return found.group(1) if found else ""


def in_ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def in_mib(size: float) -> str:
    return f"{size / 1024 / 1024:.0f} MiB"


def prove(request: dict[str, Any], file: str, pid: str) -> int:
    """Put the golden file's requests to the service; print what is wrong, then the result."""
    lines, problems = read(content_of(file), request["name"])
    if problems:
        print("\n".join(problems))
        return 1
    proof = Proof(request, lines, pid)
    ready, words = proof.run()
    for line in proof.measured() if ready else proof.details():
        print(line)
    print(words)
    return 0 if ready else 1


def check(file: str, name: str) -> int:
    """Print what is wrong with a golden file."""
    problems = read(content_of(file), name)[1]
    print("\n".join(problems))
    return 1 if problems else 0


# -- recording ------------------------------------------------------------------------------------


def record(request: dict[str, Any], content: bytes) -> int:
    """Print for each request, as a line of JSON, what the service answers.

    Each is put twice: a field that differs between two answers to the same request is `unsteady`.
    """
    lines, _ = read(content, request["name"])
    rules = Rules(request["tolerance"], request["tolerance_rel"], frozenset(request["ignore"]))
    try:
        with time_limit(request["timeout"]):
            for line in lines:
                print(json.dumps(recorded(request, line, rules)), flush=True)
    except TimeIsUp:
        print(f"{request['timeout']:g} s are over", file=sys.stderr)
        return 1
    return 0


def recorded(request: dict[str, Any], line: Line, rules: Rules) -> dict[str, Any]:
    """Return `answer` and `unsteady` fields, or `wrong`: why the answer cannot be recorded."""
    plain = Line(line.where, {k: v for k, v in line.written.items() if k != "expected"})
    first, second = ask(request, plain), ask(request, plain)
    for answer in (first, second):
        judged = judge(plain, answer, rules)
        if judged.wrong:
            return {"wrong": judged.wrong[0]}
    comparison = Comparison(rules.replaced(line.written))
    comparison.compare(first.found, second.found)
    return {"answer": second.found, "unsteady": comparison.wrong}


def content_of(file: str) -> bytes:
    with open(file, "rb") as opened:
        return opened.read(MOST_BYTES + 1)


def main(words: list[str]) -> int:
    if words[0] == "check":
        return check(words[1], words[2])
    request = json.loads(words[1])
    if not request["host"]:
        # It is for a slot, whose address is in our environment.
        request["host"], request["port"] = os.environ["BIND"], int(os.environ["PORT"])
    if words[0] == "record":
        return record(request, sys.stdin.buffer.read(MOST_BYTES + 1))
    return prove(request, words[2], words[3])
