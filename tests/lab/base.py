"""The Debian tree that all hosts of all labs share as the lower layer of their overlay.

Built once with debootstrap (about a minute, 480 MB) and kept in the cache, under a key of all that
went into it. Called by `hosts`; nobody may write into the tree afterwards.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.lab.cache import built_once, cache_folder, key_of

RELEASE = "bookworm"
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "python3",
    "python3-venv",
    "git",
    "ca-certificates",
    "sudo",
    "iproute2",
    "curl",
    "rsync",
    "haproxy",
    "socat",
    "prometheus-node-exporter",
    # What `systemctl --user` and lingering need.
    "libpam-systemd",
    "dbus-user-session",
)
PREPARE = Path(__file__).with_name("prepare_base.sh")


def base_tree() -> Path:
    """The root folder of the base tree; built first if it is not in the cache."""
    return built_once(_place(), _build)


def is_built() -> bool:
    """Whether the next `base_tree()` needs neither time nor network."""
    return _place().exists()


def mirror() -> str | None:
    """The address of the Debian mirror that this machine's own apt uses; None without one.

    apt itself is asked, so that every format of its sources is understood.
    """
    asked = subprocess.run(
        ["apt-get", "update", "--print-uris"], capture_output=True, text=True, check=False
    )
    index = re.compile(rf"^'(\S+)/dists/{RELEASE}/main/binary-", re.MULTILINE)
    found: list[str] = index.findall(asked.stdout)
    # Other people's repositories also call their suites by Debian's names.
    debian = [address for address in found if Path(address).name.startswith("debian")]
    if not debian:
        return None
    if debian[0].startswith("mirror+file:"):
        return _first_of(Path(debian[0].removeprefix("mirror+file:")))
    return debian[0]


def _first_of(mirror_list: Path) -> str:
    lines = mirror_list.read_text().splitlines()
    return next(line.split()[0] for line in lines if line.strip() and line[0] != "#").rstrip("/")


def _place() -> Path:
    return cache_folder() / f"base-{key_of(RELEASE, *PACKAGES, PREPARE.read_text())}"


def _build(tree: Path) -> None:
    address = mirror()
    if address is None:
        raise RuntimeError(f"apt of this machine knows no mirror of Debian {RELEASE}")
    # Namespaces of its own: what debootstrap mounts and starts ends with it, however it ends.
    confined = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    contents = ["--variant=minbase", f"--include={','.join(PACKAGES)}"]
    run([*confined, "debootstrap", *contents, RELEASE, str(tree), address], apt_environment())
    run(["bash", str(PREPARE), str(tree)], {})


def run(command: list[str], environment: dict[str, str]) -> None:
    """Run a command that builds a tree.

    Args:
        command: what to run.
        environment: variables beyond those of this process.

    Raises:
        RuntimeError: it ended badly; with the last lines that it printed.
    """
    ran = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | environment,
        check=False,
    )
    if ran.returncode != 0:
        tail = "\n".join(ran.stdout.splitlines()[-20:])
        raise RuntimeError(f"{' '.join(command)} ended with {ran.returncode}:\n{tail}")


def apt_environment() -> dict[str, str]:
    """The proxy that apt goes through, for downloads of trees that are built."""
    asked = subprocess.run(
        ["apt-config", "shell", "proxy", "Acquire::http::Proxy"],
        capture_output=True,
        text=True,
        check=True,
    )
    named = re.fullmatch(r"proxy='(.+)'\n?", asked.stdout)
    return {"http_proxy": named[1]} if named else {}
