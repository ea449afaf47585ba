"""The golden file: recorded requests, one a line, with what has to be answered.

Runs on the hosts as a part of golden.py (Python 3.8 or later, standard library only), and on the
controller, so that a file means the same on both sides. docs/golden.md tells what a line may hold.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from aideploy.scripts.golden_rules import is_finite, is_number, kind, not_finite, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

MOST_BYTES = 16 * 1024 * 1024
MOST_LINES = 10_000
MOST_PROBLEMS = 20
METHODS = ("POST", "PUT", "GET")
KEYS = ("request", "expected", "tolerance", "tolerance_rel", "path", "method", "headers", "status")
ABSENT = object()


class Line(NamedTuple):
    """One request of a golden file. `written` is the line as it stands there."""

    where: str
    written: dict[str, Any]

    @property
    def expected(self) -> Any:
        """What the answer has to hold; ABSENT where the request is there to warm up."""
        return self.written.get("expected", ABSENT)

    @property
    def method(self) -> str:
        default = "POST" if "request" in self.written else "GET"
        return str(self.written.get("method", default))

    @property
    def status(self) -> int:
        return int(self.written.get("status", 200))

    def asks(self) -> str:
        """What tells this request from others."""
        same = ("request", "path", "method", "headers")
        return json.dumps({name: self.written.get(name) for name in same}, sort_keys=True)


def read(content: bytes, name: str) -> tuple[list[Line], list[str]]:
    """Return the requests of a golden file, and what is wrong with it: `NAME:LINE: what`."""
    if len(content) > MOST_BYTES:
        return [], [f"{name}: larger than {MOST_BYTES >> 20} MiB"]
    lines: list[Line] = []
    problems: list[str] = []
    for number, text in enumerate(content.split(b"\n"), 1):
        if number == 1 and text.startswith(b"\xef\xbb\xbf"):
            text = text[3:]
        if not text.strip():
            continue
        where = f"{name}:{number}"
        written, wrong = read_line(text)
        problems += [f"{where}: {one}" for one in wrong]
        lines.append(Line(where, written))
        if len(problems) >= MOST_PROBLEMS or len(lines) > MOST_LINES:
            break
    if not lines:
        problems.append(f"{name}: it holds no request")
    if len(lines) > MOST_LINES:
        problems.append(f"{name}: more than {MOST_LINES} requests")
    return lines, problems


def read_line(text: bytes) -> tuple[dict[str, Any], list[str]]:
    """Return what the line holds and what is wrong with it."""
    try:
        written = json.loads(text.decode("utf-8"), parse_constant=no_json)
    except UnicodeDecodeError:
        return {}, ["not UTF-8 text"]
    except RecursionError:
        return {}, ["nested too deeply"]
    except ValueError as error:
        return {}, [f"not JSON: {error}"]
    if not isinstance(written, dict):
        return {}, [f'found {kind(written)}, expected an object, as {{"request": ...}}']
    try:
        return written, list(mistakes(written))
    except RecursionError:
        return {}, ["nested too deeply"]


def mistakes(written: dict[str, Any]) -> Iterator[str]:
    """Say what a line holds that it may not, or lacks."""
    for key in written:
        if key not in KEYS:
            yield f"unknown key {shown(key)}; known: {', '.join(KEYS)}"
    method = written.get("method", "GET")
    if method not in METHODS:
        yield f"method: found {shown(method)}, expected one of {', '.join(METHODS)}"
    elif "request" not in written and ("method" not in written or method != "GET"):
        yield 'missing: request (or "method": "GET")'
    elif "request" in written and "method" in written and method == "GET":
        yield "request: a GET has none"
    for key in ("tolerance", "tolerance_rel"):
        value = written.get(key, 0)
        if not is_number(value) or not is_finite(value) or value < 0:
            yield f"{key}: found {shown(value)}, expected a number of at least 0"
    path = written.get("path", "/")
    if not isinstance(path, str) or not re.fullmatch(r"/[!-~]*", path):
        yield f"path: found {shown(path)}, expected a path that starts with '/', without spaces"
    status = written.get("status", 200)
    if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status <= 599:
        yield f"status: found {shown(status)}, expected a whole number from 100 to 599"
    headers = written.get("headers", {})
    if not isinstance(headers, dict):
        yield f"headers: found {kind(headers)}, expected an object"
        return
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9-]+", name):
            yield f"headers: {shown(name)} is no name of a header"
        elif not isinstance(value, str) or not re.fullmatch(r"[ -~]*", value):
            yield f"headers: {name}: found {shown(value)}, expected a text of ASCII letters"
    numbers = (written.get("request"), written.get("expected"))
    if any(odd for value in numbers for odd in not_finite(value)):
        yield "a number in it is too large"


def no_json(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")
