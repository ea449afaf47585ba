"""The kinds of values that hosts.toml holds: durations, sizes, names, paths, commands.

Every table is built from these types, and the command line checks `--revision` with `git_ref`. A
refused value says what is expected and never repeats what was found: a caller that knows whether
the value is private does that. Nothing here knows a table, a key or a file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    Strict,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_LONGEST = timedelta(days=366)
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([KMGT])", re.ASCII)
_BYTES = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# Beyond this a float is no number to compare with.
_MOST = 1e300
_PERCENT = re.compile(r"([1-9]\d{0,5})%", re.ASCII)


def duration(value: object) -> timedelta:
    """Read `"90s"`, `"15m"`, `"6h"`, `"500ms"` or `"2d"`; at most a year."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a duration in quotes, as "90s", "15m" or "6h"')
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > _LONGEST.total_seconds():
        raise ValueError("a duration of at most a year")
    return timedelta(seconds=seconds)


def _some_time(value: object) -> timedelta:
    length = duration(value)
    if not length:
        raise ValueError('a duration longer than nothing, as "90s"')
    return length


def size(value: object) -> int:
    """Read `"512M"` or `"4G"` (powers of 1024) as a number of bytes."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or not float(match[1]):
        raise ValueError('a size in quotes, as "512M" or "4G"')
    return math.floor(float(match[1]) * _BYTES[match[2]])


def amount(value: object) -> float:
    """Read a number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number of at least 0")
    number = float(value) if abs(value) <= _MOST else math.inf
    if not 0 <= number <= _MOST:
        raise ValueError("a number of at least 0")
    return number


def percent(value: object) -> int:
    """Read `"200%"` as 200."""
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a percentage in quotes, as "200%"')
    return int(match[1])


def _weight(value: object) -> int:
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) > 99:
        raise ValueError('a part of the requests in quotes, "1%" to "99%"')
    return int(match[1])


def number(value: object) -> float:
    """Read a finite number; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number without quotes, as 0.7")
    try:
        read = float(value)
    except OverflowError:
        read = math.inf
    if not math.isfinite(read):
        raise ValueError("a finite number, as 0.7")
    return read


def _allowance(value: object) -> float:
    read = number(value)
    if read < 0:
        raise ValueError("a number that is not below 0, as 0.01")
    return read


def _share(value: object) -> float:
    read = number(value)
    if not 0 <= read <= 1:
        raise ValueError("a share from 0 to 1, as 0.05 for 5 %")
    return read


@dataclass(frozen=True)
class HostCount:
    """A number of hosts, or a part of them.

    Args:
        number: how many, or how many percent.
        is_part: whether it is percent.
    """

    number: int
    is_part: bool = False

    def of(self, hosts: int) -> int:
        """Return how many that is of so many hosts: a part is rounded up, and never above all."""
        wanted = -(-hosts * self.number // 100) if self.is_part else self.number
        return min(wanted, hosts)


def host_count(value: object) -> HostCount:
    """Read `2` or `"25%"`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return HostCount(value)
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) > 100:
        raise ValueError('a number of hosts, as 2, or a part of them in quotes, "1%" to "100%"')
    return HostCount(int(match[1]), is_part=True)


def _some_hosts(value: object) -> HostCount:
    count = host_count(value)
    if not count.number:
        raise ValueError('at least one host: a number, as 2, or a part in quotes, as "25%"')
    return count


def git_ref(value: str) -> str:
    """Return a branch, tag or commit that git itself would accept as a name.

    The rules are those of git-check-ref-format(1). A leading dash is refused as well, because
    a program could take it for an option.

    Raises:
        ValueError: what is expected instead.
    """
    parts = value.split("/")
    if value.startswith("-"):
        raise ValueError("a branch, tag or commit, which cannot start with a dash")
    if not value or value == "@" or value.endswith(".") or ".." in value or "@{" in value:
        raise ValueError("a branch, tag or commit as git allows it: no '..', no '@{', no '.' last")
    if any(not part or part.startswith(".") or part.endswith(".lock") for part in parts):
        raise ValueError("a branch, tag or commit as git allows it: no empty, hidden or .lock part")
    if any(c.isspace() or not c.isprintable() or c in "~^:?*[\\" for c in value):
        raise ValueError("a branch, tag or commit without spaces, control characters or ~^:?*[\\")
    return value


@dataclass(frozen=True)
class Matches:
    """Text that a pattern describes, refused with a sentence that says what is expected."""

    pattern: str
    expected: str

    def check(self, value: object) -> object:
        """Let matching text pass; whatever is no text is the next validator's to refuse."""
        if isinstance(value, str) and not re.fullmatch(self.pattern, value):
            raise ValueError(self.expected)
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True)
class Linked:
    """A file or a folder that all releases share."""

    path: PurePosixPath
    directory: bool


# Letters that no shell, unit file, configuration file or URL gives a meaning to.
_SAFE_PATH = r"[A-Za-z0-9._@+-]+"
# One part of a path that is neither "." nor ".." nor looks like an option.
_PART = rf"(?!\.{{1,2}}(?:/|$))(?!-){_SAFE_PATH}"
_RELATIVE = rf"{_PART}(?:/{_PART})*"
_RELATIVE_EXPECTED = "a path inside the project, of letters, digits and ._@+-, without '..'"


def _ip4(value: str) -> str:
    try:
        if ip_address(value).version == 4:
            return value
    except ValueError:
        pass
    raise ValueError('an IPv4 address of the host, as "127.0.0.1" or "0.0.0.0"')


def _address(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}", value):
        return value
    try:
        # What stands after "%" in an IPv6 address may be anything at all.
        if re.fullmatch(r"[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?", value) and ip_address(value):
            return value
    except ValueError:
        pass
    raise ValueError(
        "a host name, an IP address or an alias of ~/.ssh/config; "
        "user and port have keys of their own"
    )


def _linked(value: object) -> Linked:
    if not isinstance(value, str) or not re.fullmatch(rf"{_RELATIVE}/?", value):
        raise ValueError(f"{_RELATIVE_EXPECTED}; a folder ends with '/'")
    return Linked(PurePosixPath(value), directory=value.endswith("/"))


def _scalar(value: object) -> object:
    if not isinstance(value, str | int | float):
        raise ValueError("a text, a number, true or false")
    return value


def _checked(check: Any) -> BeforeValidator:
    """Apply a check to text only; whatever is no text is the type's to refuse."""
    return BeforeValidator(lambda value: check(value) if isinstance(value, str) else value)


Duration = Annotated[
    timedelta,
    PlainValidator(duration),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$"}),
]
Timeout = Annotated[
    timedelta,
    PlainValidator(_some_time),
    WithJsonSchema({"type": "string", "pattern": f"^(?=.*[1-9]){_DURATION.pattern}$"}),
]
Size = Annotated[
    int,
    PlainValidator(size),
    WithJsonSchema({"type": "string", "pattern": f"^(?=.*[1-9]){_SIZE.pattern}$"}),
]
Amount = Annotated[
    float,
    PlainValidator(amount),
    WithJsonSchema({"type": "number", "minimum": 0}),
]
Percent = Annotated[
    int,
    PlainValidator(percent),
    WithJsonSchema({"type": "string", "pattern": f"^{_PERCENT.pattern}$"}),
]
Weight = Annotated[
    int,
    PlainValidator(_weight),
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]?%$"}),
]
_PART_OF_HOSTS = {"type": "string", "pattern": "^([1-9][0-9]?|100)%$"}
Hosts = Annotated[
    HostCount,
    PlainValidator(host_count),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, _PART_OF_HOSTS]}),
]
SomeHosts = Annotated[
    HostCount,
    PlainValidator(_some_hosts),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, _PART_OF_HOSTS]}),
]

Number = Annotated[float, PlainValidator(number), WithJsonSchema({"type": "number"})]
Allowance = Annotated[
    float, PlainValidator(_allowance), WithJsonSchema({"type": "number", "minimum": 0})
]
Share = Annotated[
    float, PlainValidator(_share), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})
]
Whole = Annotated[int, Strict()]
Port = Annotated[Whole, Field(ge=1, le=65535)]

# It becomes the name of a folder, of units and of a Linux user (31 letters at most). The endings
# are those of the units that belong to an app.
AppName = Annotated[
    str,
    Matches(
        r"[a-z](?:[a-z0-9-]{0,29}[a-z0-9])?(?<!-due)(?<!-drift)(?<!-haproxy)",
        "up to 31 lower case letters, digits and dashes, a letter first, "
        "and not -due, -drift or -haproxy at the end",
    ),
]
Name = Annotated[
    str,
    Matches(
        r"[a-z0-9](?:[a-z0-9-]{0,39}[a-z0-9])?",
        "up to 41 lower case letters, digits and dashes",
    ),
]
VariableName = Annotated[
    str, Matches(r"[A-Za-z_][A-Za-z0-9_]*", "letters, digits and underscores, no digit first")
]
# Of a variable on hosts. Those of our scripts, which set it, are in small letters.
HostVariable = Annotated[
    str,
    Matches(
        r"(?=[^A-Z]*(?:[A-Z]|_proxy$))[A-Za-z_][A-Za-z0-9_]*",
        "letters, digits and underscores, no digit first, with a capital letter, or …_proxy",
    ),
]
# The names that Prometheus allows; those with two underscores first are its own.
LabelName = Annotated[
    str,
    Matches(
        r"(?!__)[A-Za-z_][A-Za-z0-9_]*",
        "a Prometheus label: letters, digits and underscores, no digit and no '__' first",
    ),
]
LinuxUser = Annotated[
    str,
    Matches(
        r"[a-z_][a-z0-9_-]{0,30}",
        "a Linux user: up to 31 lower case letters, digits, '_' and '-', no digit first",
    ),
]
LoginUser = Annotated[
    str, Matches(r"[A-Za-z0-9_][A-Za-z0-9._@-]*", "a user name of letters, digits and ._@-")
]
Address = Annotated[str, _checked(_address)]
Gateway = Annotated[
    str,
    Matches(
        r"[A-Za-z0-9_\[][A-Za-z0-9._@:\[\]-]*",
        'one jump host: "host", "user@host" or "user@host:port"',
    ),
]
ListenAddress = Annotated[str, _checked(_ip4)]

MetricName = Annotated[
    str,
    Matches(
        r"(?!\s)[^\x00-\x1f\x7f]{0,199}[^\x00-\x20\x7f]",
        "a name on one line, of at most 200 characters, no space first or last",
    ),
]
GitRef = Annotated[str, _checked(git_ref)]
# A part of the grammar of https://github.com/distribution/reference: what has neither a tag nor a
# digest is refused, for it would be whatever is the latest.
_IMAGE_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE_TAG = r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_IMAGE_DIGEST = r"@sha256:[0-9a-f]{64}"
ImageName = Annotated[
    str,
    Matches(
        r"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::\d{1,5})?/)?"
        rf"{_IMAGE_PART}(?:/{_IMAGE_PART})*(?:{_IMAGE_TAG}(?:{_IMAGE_DIGEST})?|{_IMAGE_DIGEST})",
        "an image with a tag or a digest, as "
        '"registry.example/team/ranker:1.4" or "…/ranker@sha256:…"',
    ),
]
Repository = Annotated[
    str,
    Matches(
        r"(?![\s-])[^\x00-\x1f\x7f]*[^\x00-\x20\x7f]",
        "the URL or the path of a git repository, on one line, no dash first",
    ),
]
Command = Annotated[
    str, Matches(r"(?=[\s\S]*\S)[^\x00]+", "a command for the shell, without a NUL character")
]
Line = Annotated[str, Matches(r"[^\x00-\x08\x0a-\x1f\x7f]*", "text on one line")]
Environment = Mapping[HostVariable, Line]
Url = Annotated[
    str, Matches(r"(?:https?|file)://[!-~]+", "a URL that starts with https:// and has no spaces")
]
Location = Annotated[
    str, Matches(r"(?!-)[^\s\x00-\x1f\x7f]+", "a URL or an absolute path, without spaces")
]
UrlPath = Annotated[str, Matches(r"/[!-~]*", "a path that starts with '/', without spaces")]
Interpreter = Annotated[
    str,
    Matches(
        r"(?!-)[A-Za-z0-9._/+-]+", 'a program on the host, as "python3.12" or "/opt/py/bin/python3"'
    ),
]

ControllerPath = Annotated[
    Path, Matches(r"[^\x00-\x1f\x7f]*[^\x00-\x20\x7f]", "the path of a file on this machine")
]
HostFolder = Annotated[
    PurePosixPath,
    Matches(
        rf"(?:/{_PART}|~)(?:/{_PART})+/?",
        'a path on the host, below a folder such as "/srv" or below "~" (the SSH user\'s home), '
        "of letters, digits and ._@+-, without '..'",
    ),
]
ProjectPath = Annotated[PurePosixPath, Matches(rf"{_RELATIVE}/?", _RELATIVE_EXPECTED)]
# For git's own matching, as ":(glob)PATTERN": what would be another kind of pattern is refused.
FilePattern = Annotated[
    str,
    Matches(
        r"(?![-:/])(?!(?:.*/)?\.\.(?:/|$))[^\x00-\x1f\x7f\\]+",
        'files inside the project, as "train.py", "src/" or "data/**/*.csv"',
    ),
]
LinkedPath = Annotated[
    Linked,
    PlainValidator(_linked, json_schema_input_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_RELATIVE}/?$"}),
]
Scalar = Annotated[
    str | int | float | bool,
    PlainValidator(_scalar),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
