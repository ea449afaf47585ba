"""Environment variables as a file.

One format for every reader, assignments that a POSIX shell and systemd's EnvironmentFile= read
alike, and another one for containers, whose runtimes know no quotes. Who writes the file, and
where, is not decided here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from aideploy.errors import SettingsError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# What bash keeps for itself: an assignment to these fails or is lost (bash(1), "Shell Variables").
_BASH_OWN = frozenset(
    {"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"}
    | {"BASH_ARGC", "BASH_ARGV", "BASH_LINENO", "BASH_SOURCE", "DIRSTACK", "FUNCNAME", "GROUPS"}
    | {"BASHPID", "BASH_COMMAND", "BASH_SUBSHELL", "EPOCHREALTIME", "EPOCHSECONDS", "LINENO"}
    | {"RANDOM", "SECONDS", "SRANDOM", "_"}
)


def environment_file(variables: Mapping[str, str]) -> str:
    """Return the text of a file that sets these variables, one `NAME="value"` after another.

    Args:
        variables: names and values. A value may hold any text, newlines too, but NUL.

    Raises:
        SettingsError: a name or a value that no environment can hold. Values are not shown.
    """
    return "".join(f'{_name(name)}="{_value(name, text)}"\n' for name, text in variables.items())


def container_environment_file(variables: Mapping[str, str]) -> str:
    """Return the same for `--env-file` of podman and docker, which take each line as it is.

    Raises:
        SettingsError: also a value of more than one line, which such a file cannot hold.
    """
    for name, text in variables.items():
        if "\n" in text or "\r" in text:
            raise SettingsError(
                f"the value of {name} has more than one line, which a container cannot be given",
                next_step="put it into a file, and name that in [serve] linked",
            )
    return "".join(f"{_name(name)}={_text(name, text)}\n" for name, text in variables.items())


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{name!r} cannot be the name of an environment variable")
    if name in _BASH_OWN:
        raise SettingsError(f"the environment variable {name} belongs to the shell")
    return name


def _value(name: str, value: str) -> str:
    return re.sub(r'([\\"$`])', r"\\\1", _text(name, value))


def _text(name: str, value: str) -> str:
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise SettingsError(f"the value of the environment variable {name} is not text")
    return value
