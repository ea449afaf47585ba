"""What the last lines of a service give away of why it ended. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_NAME = r"[A-Z][A-Z0-9_]{2,}"
# In prose a word in capitals may be anything, such as ERROR.
_PLAIN_NAME = r"[A-Z][A-Z0-9]*_[A-Z0-9_]+"
# Each group is the name of a variable that somebody missed.
_MISSED_VARIABLE = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\bKeyError: '({_NAME})'",
        rf"\b({_NAME}): (?:unbound variable|parameter null or not set|parameter not set)",
        rf"\b({_PLAIN_NAME})['\"`]? (?:is |was |must be )?"
        r"(?:not set|not defined|unset|missing|required|empty|undefined)\b",
        rf"(?:environment variable|env var|secret|missing|undefined|set)(?: variable)?:? ['\"`]?"
        rf"({_PLAIN_NAME})\b",
    )
)
_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded|Errno 28\b|ENOSPC")
_ADDRESS = re.compile(r"[Aa]ddress already in use|EADDRINUSE|Errno 98\b|port is already allocated")
_NO_MEMORY = re.compile(
    r"oom-kill|OOM killer|Out of memory: Killed|\bMemoryError\b|Cannot allocate memory"
)
_KILLED = re.compile(r"code=killed, status=9/KILL")
_ASKED_TO_STOP = re.compile(r" systemd\[\d+\]: Stopping |timed out\. Killing")
_NO_GPU_MEMORY = re.compile(r"CUDA out of memory|OutOfMemoryError|CUDA_ERROR_OUT_OF_MEMORY")
_GPU = re.compile(
    r"no CUDA-capable device|CUDA driver|CUDA_ERROR_(?!OUT)|CUDA error|GPU is lost|Found no NVIDIA"
    r"|fallen off the bus|NVML.*(?:[Ff]ailed|error)|NVIDIA-SMI has failed"
)
_ENVIRONMENT = re.compile(
    r"ModuleNotFoundError: .*|ImportError: .*|error while loading shared libraries: .*"
    r"|/\.venv/bin/\S+: (?:No such file or directory|not found|Permission denied)|bad interpreter.*"
    r"|\b[\w.-]+: command not found|exec: [\w./-]+: not found"
    r"|init_fs_encoding|No module named \S+"
)
_NOT_THERE = re.compile(
    r"FileNotFoundError|No such file or directory|NotADirectoryError|does not exist"
    r"|[Cc]annot open|[Uu]nable to open|[Nn]ot a directory|IsADirectoryError|[Nn]ot found"
)


def no_space(lines: Iterable[str]) -> str:
    """Return the line that says that a disk is full; empty when none does."""
    return _last(_NO_SPACE, lines)


def address_taken(lines: Iterable[str]) -> str:
    """Return the line that says that the address is somebody else's."""
    return _last(_ADDRESS, lines)


def no_memory(lines: Iterable[str]) -> str:
    """Return the line that says that there was no memory left."""
    return _last(_NO_MEMORY, lines)


def killed(lines: Iterable[str]) -> str:
    """Return the line that says that the service was killed while nobody had told it to stop."""
    asked = False
    found = ""
    for line in lines:
        asked = asked or bool(_ASKED_TO_STOP.search(line))
        if _KILLED.search(line):
            found = "" if asked else line
            asked = False
    return found


def no_gpu_memory(lines: Iterable[str]) -> str:
    """Return the line that says that a GPU had no memory left."""
    return _last(_NO_GPU_MEMORY, lines)


def no_gpu(lines: Iterable[str]) -> str:
    """Return the line that says that a GPU does not work."""
    return _last(_GPU, lines)


def broken_environment(lines: Iterable[str]) -> str:
    """Return the line that says that a module, a program or a library is not there."""
    return _last(_ENVIRONMENT, lines)


def no_model(lines: Iterable[str], places: Iterable[str]) -> str:
    """Return the line that says that a file below one of these places is not there."""
    parts = [re.escape(place) for place in places if place]
    if not parts:
        return ""
    below = re.compile(rf"(?<![\w.-])(?:{'|'.join(parts)})(?![\w-])")
    return next(
        (line for line in _back(lines) if _NOT_THERE.search(line) and below.search(line)), ""
    )


def missed_variable(lines: Iterable[str], known: Iterable[str]) -> tuple[str, str]:
    """Return the variable that was missed and the line that says so; two empty texts if none was.

    Args:
        lines: of the log.
        known: variables that have a value.
    """
    there = frozenset(known)
    for line in _back(lines):
        for pattern in _MISSED_VARIABLE:
            for match in pattern.finditer(line):
                if match[1] not in there:
                    return match[1], line
    return "", ""


def _last(pattern: re.Pattern[str], lines: Iterable[str]) -> str:
    return next((line for line in _back(lines) if pattern.search(line)), "")


def _back(lines: Iterable[str]) -> Iterator[str]:
    return reversed(tuple(lines))
