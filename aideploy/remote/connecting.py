"""Opening a Fabric connection to a host, strictly and quickly.

Fabric accepts any host key and leaves Nagle's algorithm on; a dead peer is never noticed. This
module makes a connection that verifies the host key against known_hosts, sends at once, and notices
a dead peer within half a minute; and it turns each way to fail into an error that says what to do.
Called by the session only.
"""

from __future__ import annotations

import logging
import shlex
import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fabric
import paramiko
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey
from paramiko.ssh_exception import NoValidConnectionsError

from aideploy.errors import Unreachable, words_of

if TYPE_CHECKING:
    from aideploy.settings import Host

KEEPALIVE_SECONDS = 5
SILENCE_SECONDS = 30
_UNACKNOWLEDGED_MILLISECONDS = 15_000
_POLL_SECONDS = 2.0
# Encrypts and authenticates in one pass of the processor's own instructions: large models travel
# with it at the speed of OpenSSH, and with Paramiko's first choice at two thirds of it.
_FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")

# What goes wrong is told once, in our own words; Paramiko would add a traceback.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


class UnknownHostKey(paramiko.SSHException):  # type: ignore[misc]
    """The host is in no known_hosts file."""

    def __init__(self, key: paramiko.PKey) -> None:
        super().__init__("unknown host key")
        self.key = key


class _Refuse(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    def missing_host_key(self, client: Any, hostname: str, key: paramiko.PKey) -> None:
        raise UnknownHostKey(key)


def connect(host: Host, config: fabric.Config) -> fabric.Connection:
    """Open a connection to the host and return it.

    Args:
        host: address and SSH options; what it leaves open comes from ~/.ssh/config.
        config: Fabric's configuration (of `fab`, so that `--ssh-config` and the like count).

    Raises:
        Unreachable: whatever kept it from opening, in words, with the `ssh` command that shows it.
    """
    connection = _connection(host, config)
    try:
        connection.open()
    except (OSError, EOFError, paramiko.SSHException, ValueError) as error:
        unreachable = _unreachable(host, connection, error)
        disconnect(connection)
        raise unreachable from error
    transport = connection.transport
    transport.set_keepalive(KEEPALIVE_SECONDS)
    # Paramiko wakes up ten times a second to look whether it was closed; twice in four seconds is
    # enough and costs a hundred hosts nothing.
    transport.sock.settimeout(_POLL_SECONDS)
    return connection


def disconnect(connection: fabric.Connection) -> None:
    """Close a connection and those to the jump hosts on its way."""
    for hop in _hops(connection):
        if hop.is_connected and isinstance(hop.transport.sock, socket.socket):
            # Paramiko's reader would notice at its next look; this wakes it up.
            with suppress(OSError):
                hop.transport.sock.shutdown(socket.SHUT_RDWR)
        hop.close()


def ssh_command(host: Host, connection: fabric.Connection | None = None) -> str:
    """Return the command a person types to try the same connection."""
    words = ["ssh"]
    port = host.port or (connection.port if connection else None)
    if port and port != 22:
        words += ["-p", str(port)]
    if host.key:
        words += ["-i", str(host.key)]
    if host.known_hosts:
        words += ["-o", f"UserKnownHostsFile={host.known_hosts}"]
    if host.gateway:
        words += ["-J", host.gateway]
    user = host.user or (connection.user if connection else None)
    words.append(f"{user}@{host.address}" if user else host.address)
    return shlex.join(words)


def _connection(host: Host, config: fabric.Config) -> fabric.Connection:
    # A connection writes into its configuration as it is made, which is empty meanwhile: that of
    # all threads would be missed by the others.
    config = config.clone()
    options: dict[str, Any] = {
        "transport_factory": _transport,
        "banner_timeout": host.connect_timeout.total_seconds(),
        "auth_timeout": SILENCE_SECONDS,
        "channel_timeout": SILENCE_SECONDS,
    }
    own_key: dict[str, Any] = {}
    if host.key:
        own_key = {"key_filename": str(Path(host.key).expanduser()), "look_for_keys": False}
    common = _configured(config)
    gateway = None
    if host.gateway:
        gateway = fabric.Connection(
            host.gateway, config=config, connect_kwargs={**common, **options}
        )
    connection = fabric.Connection(
        host.address,
        user=host.user,
        port=host.port,
        config=config,
        gateway=gateway,
        connect_kwargs={**common, **own_key, **options},
    )
    for hop in _hops(connection):
        hop.connect_timeout = max(1, round(host.connect_timeout.total_seconds()))
        hop.connect_kwargs = {**hop.connect_kwargs, **options}
        _trust_known_hosts_only(hop, host.known_hosts)
    return connection


def _configured(config: fabric.Config) -> dict[str, Any]:
    """Return a copy of what Fabric's configuration says of connections, without the key files.

    Fabric adds those by itself. Given no options of its own, a connection would write the key
    files of its host into the configuration: all threads share it, and the next host would be
    offered them.
    """
    return {name: value for name, value in config.connect_kwargs.items() if name != "key_filename"}


def _hops(connection: fabric.Connection) -> Iterator[fabric.Connection]:
    """Yield the connection, then that to the jump host before it, and so on."""
    hop = connection
    while isinstance(hop, fabric.Connection):
        yield hop
        hop = hop.gateway


def _transport(sock: Any, **options: Any) -> paramiko.Transport:
    # A connection through a jump host has a channel in place of a socket.
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MILLISECONDS
            )
    transport = paramiko.Transport(sock, **options)
    choice = transport.get_security_options()
    # What a user has disabled is not among them.
    fast = tuple(cipher for cipher in _FAST_CIPHERS if cipher in choice.ciphers)
    choice.ciphers = (*fast, *(cipher for cipher in choice.ciphers if cipher not in fast))
    return transport


def _trust_known_hosts_only(connection: fabric.Connection, own_file: Path | None) -> None:
    client = connection.client
    client.set_missing_host_key_policy(_Refuse())
    configured = connection.ssh_config.get("userknownhostsfile", "~/.ssh/known_hosts")
    files = [str(own_file)] if own_file else [*configured.split(), "/etc/ssh/ssh_known_hosts"]
    name = connection.ssh_config.get("hostkeyalias", connection.host)
    plain = connection.host
    if connection.port != 22:
        name, plain = f"[{name}]:{connection.port}", f"[{plain}]:{connection.port}"
    for file in files:
        with suppress(OSError):
            text = Path(file).expanduser().read_text(encoding="utf-8", errors="replace")
            for kind, key in (_known_hosts(text).lookup(name) or {}).items():
                client.get_host_keys().add(plain, kind, key)


@cache
def _known_hosts(text: str) -> paramiko.HostKeys:
    """Take a file apart as OpenSSH does: a line that makes no sense is passed over."""
    keys = paramiko.HostKeys()
    for line in text.splitlines():
        with suppress(paramiko.SSHException, InvalidHostKey, ValueError):
            entry = HostKeyEntry.from_line(line.strip())
            for name in entry.hostnames if entry else ():
                keys.add(name, entry.key.get_name(), entry.key)
    return keys


def _unreachable(host: Host, connection: fabric.Connection, error: Exception) -> Unreachable:
    # Jump hosts are opened first: the last hop that is not open is the one that failed.
    hop = [hop for hop in _hops(connection) if not hop.is_connected][-1]
    key = host.key if hop is connection else None
    where = f"{hop.host}:{hop.port}"
    if hop is not connection:
        where = f"the jump host {where}"
    why = words_of(error)
    next_step = f"try it by hand: {ssh_command(host, connection)}"
    match error:
        case UnknownHostKey():
            why = (
                f"the host key of {where} is in no known_hosts file; the host shows "
                f"{error.key.get_name()} {error.key.fingerprint}"
            )
            next_step = (
                "compare that fingerprint with the one the host's owner gives you, then accept it: "
                f"{ssh_command(host, connection)}"
            )
        case paramiko.BadHostKeyException():
            why = (
                f"the host key of {where} CHANGED: known_hosts has "
                f"{error.expected_key.fingerprint}, the host shows {error.key.fingerprint}. "
                "Either the host was installed anew, or someone is in between"
            )
            next_step = (
                "only when the host's owner confirms the new key, remove the old one: "
                f"{_forget_command(host, hop)}"
            )
        case socket.gaierror():
            why = f"the name {hop.host} does not resolve"
            next_step = "check the address in hosts.toml, or the alias in ~/.ssh/config"
        case NoValidConnectionsError() | ConnectionRefusedError():
            why = f"nothing listens on {where} (connection refused)"
        case paramiko.ChannelException():
            why = f"the jump host {host.gateway} cannot reach {where}: {error.text}"
        case paramiko.PasswordRequiredException():
            why = "the private key has a passphrase and no agent holds it"
            next_step = (
                f"add it to the agent: {shlex.join(['ssh-add', *([str(key)] if key else [])])}"
            )
        case paramiko.AuthenticationException():
            keys = f"the key {key}" if key else "the keys of the agent and of ~/.ssh"
            why = f"{where} does not let the user {hop.user} in with {keys}"
        case OSError() if error.filename:
            reason = "does not exist" if isinstance(error, FileNotFoundError) else error.strerror
            why = f"the key file {error.filename}: {reason}"
            next_step = "correct `key` in hosts.toml, or IdentityFile in ~/.ssh/config"
        case TimeoutError():
            why = f"no answer from {where} within {hop.connect_timeout} s"
        case paramiko.SSHException() | ValueError() if "private key" in why:
            why = f"the key file {key or 'that ~/.ssh/config names'} cannot be used: {why}"
            next_step = "correct `key` in hosts.toml: it names the private key, not the .pub file"
        case paramiko.SSHException() if "banner" in why.lower() or "session" in why.lower():
            why = f"{where} accepts connections but does not answer as an SSH server"
        case paramiko.SSHException():
            why = f"{where} does not answer as an SSH server should: {why}"
        case EOFError():
            why = f"{where} closed the connection during the handshake"
    return Unreachable(
        f"cannot connect to {host.name}", why=why, next_step=next_step, host=host.name, phase="open"
    )


def _forget_command(host: Host, hop: fabric.Connection) -> str:
    own_file = ["-f", str(host.known_hosts)] if host.known_hosts else []
    known_as = str(hop.host) if hop.port == 22 else f"[{hop.host}]:{hop.port}"
    return shlex.join(["ssh-keygen", "-R", known_as, *own_file])
