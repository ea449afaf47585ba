"""The keys of a sandbox: one per host, one for the client, and what OpenSSH is told of them.

Called by `lifecycle` while a sandbox goes up. Existing keys are kept: a host that changed its key
would rightly be refused.
"""

from __future__ import annotations

import os
from pathlib import Path

import asyncssh

from aideploy.sandbox.layout import Host, Layout


def ensure_keys(layout: Layout, hosts: tuple[Host, ...]) -> None:
    """Make the missing keys, and write `known_hosts` for exactly these hosts."""
    _ensure_key(layout.client_key)
    lines = []
    for host in hosts:
        _ensure_key(layout.host_key(host))
        public_key = _public_file(layout.host_key(host)).read_text()
        lines.append(f"[{host.address}]:{host.port} {public_key}")
    layout.known_hosts.write_text("".join(lines))


def _ensure_key(path: Path) -> None:
    if _public_file(path).exists():
        return
    path.parent.mkdir(mode=0o700, exist_ok=True)
    key = asyncssh.generate_private_key("ssh-ed25519")
    # Written before the public half, whose existence says that the pair is complete.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.export_private_key())
    _public_file(path).write_bytes(key.export_public_key())


def _public_file(path: Path) -> Path:
    return path.with_name(path.name + ".pub")
