"""The values of the secrets that hosts.toml names.

They come from this machine and from nowhere else. A deploy resolves them before it connects; the
values then travel inside a session only. Errors name the secrets, never what they hold.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from aideploy.errors import SettingsError
from aideploy.settings.serve import Serve

_COMMAND_TIMEOUT = timedelta(seconds=60)


def resolve(serve: Serve, environ: Mapping[str, str], base_dir: Path) -> dict[str, str]:
    """Find the value of every secret of the service; see `find`."""
    return find(serve.secrets, serve, environ, base_dir)


def find(
    names: Sequence[str], serve: Serve | None, environ: Mapping[str, str], base_dir: Path
) -> dict[str, str]:
    """Find the value of every secret: in the environment, then the file, then the command.

    A later source is only asked for what the earlier ones did not have. An empty value counts as
    none: it is what a CI system hands over for a secret that it does not know.

    Args:
        names: the secrets.
        serve: the table that says where they come from besides the environment, if there is one.
        environ: the environment variables of this machine.
        base_dir: the folder of hosts.toml.

    Raises:
        SettingsError: secrets have no value; it names each of them. Or a source cannot be read.
    """
    values: dict[str, str] = {}
    for source in _sources(serve, environ, base_dir):
        found = {name: value for name in names if (value := source.get(name))}
        values = found | values
        if len(values) == len(set(names)):
            return {name: values[name] for name in names}
    missing = [name for name in dict.fromkeys(names) if name not in values]
    raise SettingsError(
        f"{'one secret has' if len(missing) == 1 else f'{len(missing)} secrets have'} no value",
        problems=tuple(f"{name}: not in {_searched(serve)}" for name in missing),
        next_step=f"set {missing[0]} in one of these places",
    )


def as_token(value: str, name: str) -> str:
    """Return the value of a token as a header can hold it.

    An HTTP client would name what it cannot send in its error.

    Args:
        value: of the secret.
        name: of the secret.

    Raises:
        SettingsError: no header can hold it.
    """
    token = value.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(
            f"the value of {name} is no token: it holds spaces or other odd characters",
            next_step=f"set {name} to the token and nothing else",
        )
    return token


def _sources(
    serve: Serve | None, environ: Mapping[str, str], base_dir: Path
) -> Iterator[Mapping[str, str | None]]:
    yield environ
    if serve is None:
        return
    if serve.secrets_file is not None:
        yield _file(base_dir / serve.secrets_file.expanduser())
    if serve.secrets_command is not None:
        yield _variables(_output(serve.secrets_command, environ, base_dir))


def _searched(serve: Serve | None) -> str:
    places = ["the environment of this machine"]
    if serve and serve.secrets_file is not None:
        places.append(f"the file {serve.secrets_file}")
    if serve and serve.secrets_command is not None:
        places.append("the output of secrets_command")
    return ", nor in ".join(places)


def _file(path: Path) -> Mapping[str, str | None]:
    try:
        return _variables(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        # The last error names the file, and the secrets that are missed because of it.
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(
            f"the file of secrets {path} cannot be read", problems=(f"{reason}",)
        ) from None


def _variables(text: str) -> Mapping[str, str | None]:
    # A "$" in a password is a "$".
    return dotenv_values(stream=StringIO(text), interpolate=False)


def _output(command: str, environ: Mapping[str, str], base_dir: Path) -> str:
    """Run the command in a process group of its own, so that a timeout ends all of it."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        cwd=base_dir,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        process_group=0,
    )
    try:
        output, _ = process.communicate(timeout=_COMMAND_TIMEOUT.total_seconds())
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            seconds = _COMMAND_TIMEOUT.total_seconds()
            raise SettingsError(f"secrets_command did not end within {seconds:.0f} s") from None
        raise
    if process.returncode != 0:
        raise SettingsError(
            f"secrets_command failed with status {process.returncode}",
            next_step="run it by hand in the folder of hosts.toml",
        )
    try:
        return output.decode()
    except UnicodeDecodeError:
        raise SettingsError("secrets_command printed something that is not UTF-8 text") from None
