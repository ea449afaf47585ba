"""The environment of every command on a sandbox host: clean, and the same for everybody.

Read by the SSH server when it starts a command and by `processes`, which finds a sandbox's
processes by the mark that is set here.
"""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from aideploy.sandbox.layout import Host, Layout

SHELL = "/bin/bash"

# Every process of a sandbox inherits these two. By the first it is found again, whatever process
# group, session or parent it has moved to.
SANDBOX_MARK = "AIDEPLOY_SANDBOX"
HOST_MARK = "AIDEPLOY_SANDBOX_HOST"

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# This machine's way to the package index. A host at work has its own; a sandbox host stands
# behind the same proxy and trusts the same certificates as the machine that it is on.
_NETWORK_PREFIXES = ("PIP_", "UV_")
_NETWORK_NAMES = frozenset(
    {
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    }
)


def environment_of(layout: Layout, host: Host) -> dict[str, str]:
    """The whole environment of a command on this host."""
    home = layout.home(host)
    user = getpass.getuser()
    return {
        **_network_settings(),
        "HOME": str(home),
        "USER": user,
        "LOGNAME": user,
        "SHELL": SHELL,
        "PATH": f"{home}/bin:{_SYSTEM_PATH}",
        # Downloads are shared with the invoking user: many hosts, one machine.
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
        SANDBOX_MARK: str(layout.folder),
        HOST_MARK: host.name,
    }


def _network_settings() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_NETWORK_PREFIXES) or name.upper() in _NETWORK_NAMES
    }
