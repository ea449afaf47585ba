"""The private network of a lab: a bridge, and for each host a namespace with one cable to it.

Called by `hosts` and, to take it all down again, by `registry`. Every name and address follows from
the number of the lab and the number of the host, so nothing has to be remembered. Hosts reach each
other and the controller, and nothing else: they have no default route.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Iterable

from tests.lab.programs import run

MAX_LABS = 200
MAX_HOSTS = 200


def bridge(lab: int) -> str:
    """The name of the lab's bridge; also the first part of all its other names."""
    return f"adl{lab}"


def namespace(lab: int, host: int) -> str:
    """The name of a host's network namespace, control group and container."""
    return f"{bridge(lab)}-h{host}"


def controller_address(lab: int) -> str:
    """The address of this machine on the lab's bridge."""
    return f"10.213.{lab}.1"


def host_address(lab: int, host: int) -> str:
    """The address of a host; hosts are counted from 1."""
    return f"10.213.{lab}.{10 + host}"


def proxy_address(lab: int, host: int) -> str:
    """The loopback address where a proxy stands for the host."""
    return f"127.213.{lab}.{10 + host}"


def is_free(lab: int) -> bool:
    """Whether no interface of this machine has the addresses or the name of that lab."""
    wanted = ipaddress.ip_network(f"10.213.{lab}.0/24")
    listed = json.loads(_ip("-json", "address", "show"))
    if bridge(lab) in (link["ifname"] for link in listed):
        return False
    used = (
        ipaddress.ip_network(f"{address['local']}/{address['prefixlen']}", strict=False)
        for link in listed
        for address in link["addr_info"]
        if address["family"] == "inet"
    )
    return not any(wanted.overlaps(network) for network in used)


def build(lab: int, hosts: Iterable[int]) -> None:
    """Make the bridge and, for each host, its namespace with `eth0` up and addressed."""
    # A fixed hardware address: the bridge would take another whenever a cable is moved, and the
    # hosts would have to look for it.
    hardware = f"02:00:0a:d5:{lab:02x}:01"
    _batch(
        f"link add {bridge(lab)} address {hardware} type bridge",
        f"address add {controller_address(lab)}/24 dev {bridge(lab)}",
        f"link set {bridge(lab)} up",
    )
    for host in hosts:
        name, cable = namespace(lab, host), _cable(lab, host)
        _batch(
            f"netns add {name}",
            f"link add {cable} type veth peer name eth0 netns {name}",
            f"link set {cable} master {bridge(lab)} up",
        )
        _batch(
            "link set lo up",
            f"address add {host_address(lab, host)}/24 dev eth0",
            "link set eth0 up",
            inside=name,
        )


def taps(lab: int) -> tuple[str, str]:
    """The names of the two ends of the long cable: the controller's and the hosts'."""
    return f"{bridge(lab)}-near", f"{bridge(lab)}-far"


def move_away(lab: int, hosts: Iterable[int]) -> None:
    """Put the hosts on a bridge of their own, with the long cable between it and the first one.

    The taps are there already: the process that carries the frames makes them, and they go with it.
    """
    near, far = taps(lab)
    _batch(
        f"link add {_far_bridge(lab)} type bridge",
        f"link set {_far_bridge(lab)} up",
        f"link set {near} master {bridge(lab)} up",
        f"link set {far} master {_far_bridge(lab)} up",
        *(f"link set {_cable(lab, host)} master {_far_bridge(lab)}" for host in hosts),
    )


def move_back(lab: int, hosts: Iterable[int]) -> None:
    """Put the hosts on the controller's bridge again."""
    _batch(
        *(f"link set {_cable(lab, host)} master {bridge(lab)}" for host in hosts),
        f"link delete {_far_bridge(lab)}",
    )


def demolish(lab: int, hosts: Iterable[int]) -> None:
    """Remove all that `build` made, or as much of it as is there."""
    links = {link["ifname"] for link in json.loads(_ip("-json", "link", "show"))}
    # json is empty, not an empty list, where there is no namespace at all.
    namespaces = {space["name"] for space in json.loads(_ip("-json", "netns", "list") or "[]")}
    for host in hosts:
        if _cable(lab, host) in links:
            _ip("link", "delete", _cable(lab, host))
        if namespace(lab, host) in namespaces:
            _ip("netns", "delete", namespace(lab, host))
    for made in (_far_bridge(lab), bridge(lab)):
        if made in links:
            _ip("link", "delete", made)


def pids_inside(lab: int, host: int) -> tuple[int, ...]:
    """The processes of the host, as this machine numbers them; none if the host is not there."""
    listed = subprocess.run(
        ["ip", "netns", "pids", namespace(lab, host)], capture_output=True, text=True, check=False
    )
    return tuple(int(pid) for pid in listed.stdout.split())


def set_line(lab: int, host: int, *, up: bool) -> None:
    """Plug the host's cable in, or pull it out."""
    _ip("-netns", namespace(lab, host), "link", "set", "eth0", "up" if up else "down")


def drop(lab: int, host: int, port: int | None) -> None:
    """Let every packet to and from the host, or a port of it, vanish without a word."""
    for chain, line, side in (("INPUT", "--in", "--dport"), ("OUTPUT", "--out", "--sport")):
        only = ["--protocol", "tcp", side, str(port)] if port else []
        eth0 = [f"{line}-interface", "eth0"]
        _iptables(lab, host, "--append", chain, *eth0, *only, "--jump", "DROP")


def undrop(lab: int, host: int) -> None:
    """Let packets through again."""
    _iptables(lab, host, "--flush")


def _far_bridge(lab: int) -> str:
    return f"{bridge(lab)}-away"


def _cable(lab: int, host: int) -> str:
    """The end of the host's cable that is plugged into the bridge."""
    return f"{bridge(lab)}h{host}"


def _iptables(lab: int, host: int, *arguments: str) -> None:
    run(["ip", "netns", "exec", namespace(lab, host), "iptables", "--wait", *arguments])


def _ip(*arguments: str) -> str:
    return run(["ip", *arguments])


def _batch(*commands: str, inside: str | None = None) -> None:
    where = ["-netns", inside] if inside else []
    run(["ip", *where, "-batch", "-"], "\n".join(commands) + "\n")
