"""A lab: a few real Debian hosts, booted in seconds, that can be cut off, filled up and killed.

    with Lab(count=3) as lab:
        lab.hosts[0].exec("systemctl is-active ssh")

Used by the fleet tests, the fault tests and the benchmarks. Each host is a systemd-nspawn container
on an overlay over the shared base tree, in a network namespace and control group of its own.
A container shares the machine's kernel and clock: what needs another kernel cannot be tested here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Self

from tests.lab import network, registry
from tests.lab.delay import Address, DelayProxy
from tests.lab.layer import lower_layers

SSH_PORT = 22
PROXY_PORT = 2222
BOOT_SECONDS = 120.0
STOP_SECONDS = 60.0
BOOT = Path(__file__).with_name("boot.sh")
DISTANCE = Path(__file__).with_name("distance.py")
# Every systemd watches files with a few instances, and all of them count as root's.
INOTIFY_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_INSTANCES_NEEDED = 8192
USERS = ("root", "deploy", "stranger")


class Sudo(Enum):
    """What the user `deploy` may do as root without a password."""

    ALL = "deploy ALL=(ALL) NOPASSWD: ALL\n"
    NONE = ""


@dataclass(frozen=True)
class Bind:
    """A folder of this machine that the hosts see, read-only."""

    source: Path
    target: PurePosixPath


@dataclass(frozen=True)
class ProxiedLine:
    """The same hosts at other addresses, behind a proxy.

    Attributes:
        addresses: where each host listens now, in the order of the lab's hosts.
        ssh_config: a file for `ssh -F` in which the names of the hosts mean these addresses.
        proxy: to freeze all connections or to reset them.
    """

    addresses: tuple[Address, ...]
    ssh_config: Path
    proxy: DelayProxy


class Host:
    """One host of a lab. It is made, booted and removed by its lab.

    Attributes:
        name: its host name, `h1` and so on; the lab's ssh_config knows it.
        address: its address on the lab's private network; sshd listens on port 22.
        root: its root folder as this machine sees it: the disk, without what the host mounted.
    """

    def __init__(self, lab: Lab, number: int) -> None:
        self.name = f"h{number}"
        self.address = network.host_address(lab.number, number)
        self.port = SSH_PORT
        self._lab = lab
        self._number = number
        self._layers = lab.folder / self.name
        self.root = self._layers / "root"
        self._container: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """Switch it on and return when systemd says `running`."""
        self.switch_on()
        self.wait_running()

    def stop(self) -> None:
        """Shut down in order, as `systemctl poweroff` does, and return when it is off."""
        container = self._running()
        container.terminate()
        container.wait(STOP_SECONDS)
        self._off()

    def power_off(self) -> None:
        """Pull the plug: every process of the host is killed at once, nothing is told."""
        container = self._running()
        # Killing the container's manager would leave the container; its init takes all with it.
        os.kill(self._init(), signal.SIGKILL)
        container.wait(STOP_SECONDS)
        self._off()

    def cut(self) -> None:
        """Pull the network cable out. Connections are not closed; nothing arrives any more."""
        network.set_line(self._lab.number, self._number, up=False)

    def mend(self) -> None:
        """Plug the network cable in again."""
        network.set_line(self._lab.number, self._number, up=True)

    def drop(self, port: int | None = None) -> None:
        """Become a black hole: the cable is in, every packet vanishes in a firewall.

        Args:
            port: only what goes to this port of the host, and its answers; by default everything.
        """
        network.drop(self._lab.number, self._number, port)

    def undrop(self) -> None:
        """Let packets through again."""
        network.undrop(self._lab.number, self._number)

    def exec(
        self, command: str, *, check: bool = True, timeout: timedelta = timedelta(minutes=2)
    ) -> subprocess.CompletedProcess[str]:
        """Run a bash command on the host as root. Works without the network too.

        Raises:
            RuntimeError: it ended badly, and `check` is set.
            subprocess.TimeoutExpired: it took too long.
        """
        namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
        ran = subprocess.run(
            ["nsenter", f"--target={self._init()}", *namespaces, "bash", "-c", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout.total_seconds(),
            check=False,
            env={"PATH": os.defpath + ":/usr/sbin:/sbin", "HOME": "/root", "LANG": "C.UTF-8"},
        )
        if check and ran.returncode != 0:
            raise RuntimeError(
                f"{self.name}: {command!r} ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}"
            )
        return ran

    def fill_disk(self, path: str, size: int) -> None:
        """Put a small empty disk over a folder of the host: what does not fit fails.

        Args:
            path: a folder on the host; made if it is not there. Its owner and mode are kept, what
                it holds is hidden. `path()` does not see what is written there.
            size: in bytes.
        """
        self.exec(
            f"mkdir -p '{path}' && "
            f"mount -t tmpfs -o size={size},$(stat -c uid=%u,gid=%g,mode=%a '{path}') lab '{path}'"
        )

    def free_disk(self, path: str) -> None:
        """Take the small disk away again, with what was written to it."""
        self.exec(f"umount '{path}'")

    def limit_memory(self, size: int) -> None:
        """Give it so much memory in all, in bytes, until it is switched off or `free_memory`.

        Whoever wants more is killed, the largest process first. What was taken before does not
        count: pages stay with the group in which they were touched first.
        """
        group = registry.MEMORY / network.namespace(self._lab.number, self._number)
        group.mkdir(exist_ok=True)
        (group / "memory.limit_in_bytes").write_text(str(size))
        self._move_all(group)

    def free_memory(self) -> None:
        """Take the limit away again."""
        self._move_all(registry.MEMORY)
        registry.remove_control_groups(
            network.namespace(self._lab.number, self._number), trees=(registry.MEMORY,)
        )

    def _move_all(self, group: Path) -> None:
        # Those that are started meanwhile are where the one is that started them.
        moved: set[int] = set()
        while left := set(network.pids_inside(self._lab.number, self._number)) - moved:
            for pid in left:
                with suppress(ProcessLookupError):
                    (group / "cgroup.procs").write_text(str(pid))
            moved |= left

    def grant(self, sudo: Sudo) -> None:
        """Set what `deploy` may do as root, from now on."""
        rule = self.path("/etc/sudoers.d/lab")
        rule.unlink(missing_ok=True)
        if sudo is not Sudo.NONE:
            rule.write_text(sudo.value)
            rule.chmod(0o440)

    def path(self, path: str | PurePosixPath) -> Path:
        """Where this machine sees a path of the host's disk, also while the host is off."""
        return self.root / PurePosixPath(path).relative_to("/")

    def build(self, sudo: Sudo) -> None:
        """Make its disk: the base tree, an own name and host key, the lab's key for each user."""
        for layer in ("upper", "work", "root"):
            (self._layers / layer).mkdir(parents=True)
        own = f"upperdir={self._layers}/upper,workdir={self._layers}/work"
        lower = ":".join(map(str, lower_layers(self._lab.packages)))
        layers = f"lowerdir={lower},{own}"
        subprocess.run(
            ["mount", "-t", "overlay", "-o", layers, "overlay", str(self.root)], check=True
        )
        self.path("/etc/hostname").write_text(f"{self.name}\n")
        _make_key(self.path("/etc/ssh/ssh_host_ed25519_key"))
        for user in USERS:
            home = self.path("/root" if user == "root" else f"/home/{user}")
            keys = home / ".ssh" / "authorized_keys"
            keys.write_text(self._lab.public_key)
            os.chown(keys, home.stat().st_uid, home.stat().st_gid)
        self.grant(sudo)

    @property
    def host_key(self) -> str:
        """Its true host key, as a known_hosts file has it."""
        kind, key, *_ = self.path("/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()
        return f"{kind} {key}"

    def switch_on(self) -> None:
        """Begin to boot; `wait_running` waits for the end."""
        name = network.namespace(self._lab.number, self._number)
        itself = [f"--directory={self.root}", f"--machine={name}", f"--hostname={self.name}"]
        line = [f"--network-namespace-path=/run/netns/{name}"]
        unmanaged = ["--register=no", "--keep-unit", "--link-journal=no"]
        untouched = ["--resolv-conf=off", "--timezone=off"]
        binds = [f"--bind-ro={bind.source}:{bind.target}" for bind in self._lab.binds]
        options = ["--quiet", "--boot", *itself, *line, *unmanaged, *untouched, *binds]
        with self._console.open("ab") as console:
            self._container = subprocess.Popen(
                ["bash", str(BOOT), name, "systemd-nspawn", *options],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                # Ctrl-C in the terminal is for the test, not for the host.
                start_new_session=True,
            )
        self._lab.remember(self._container.pid)

    def wait_running(self) -> None:
        """Return when systemd says `running`.

        Raises:
            RuntimeError: it says something else, or nothing in time; with the console's last lines.
        """
        try:
            registry.wait_until(self._is_running, f"{self.name} to boot", BOOT_SECONDS)
        except RuntimeError as error:
            tail = self._console.read_text(errors="replace").splitlines()[-20:]
            raise RuntimeError("\n".join([str(error), *tail])) from None

    def _is_running(self) -> bool:
        """Whether systemd has finished its start; it is asked to answer when it has."""
        if self._running().poll() is not None:
            raise RuntimeError(f"{self.name} ended while it booted")
        try:
            state = self.exec("systemctl is-system-running --wait", check=False).stdout.strip()
        except ProcessLookupError:
            return False
        if state == "degraded":
            failed = self.exec("systemctl --failed --no-legend --plain").stdout
            raise RuntimeError(f"{self.name} booted, but these units failed:\n{failed}")
        return state == "running"

    @property
    def _console(self) -> Path:
        return self._lab.folder / f"{self.name}.console"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._container is None:
            raise RuntimeError(f"{self.name} is switched off")
        return self._container

    def _init(self) -> int:
        """The host's init, as this machine numbers it: it is number 1 in its own namespace."""
        container = self._running().pid
        children = Path(f"/proc/{container}/task/{container}/children").read_text().split()
        for child in children:
            try:
                status = Path(f"/proc/{child}/status").read_text().splitlines()
            except FileNotFoundError:
                # One of nspawn's helpers, which ended in this moment.
                continue
            numbers = next(line for line in status if line.startswith("NSpid:")).split()[1:]
            if len(numbers) > 1 and numbers[-1] == "1":
                return int(child)
        raise ProcessLookupError(f"{self.name} has no init yet")

    def _off(self) -> None:
        self._container = None
        registry.remove_control_groups(network.namespace(self._lab.number, self._number))


class Lab:
    """Hosts on a private network of this machine, for the length of a `with` block.

    Args:
        count: how many hosts.
        sudo: what the user `deploy` may do as root on each; `Host.grant` changes it later.
        binds: folders of this machine that every host sees.
        packages: Debian packages that every host has beyond those of the base tree.

    Attributes:
        hosts: the hosts, booted.
        address: this machine's address on their network.
        key: a private key that lets in as `root`, `deploy` and `stranger` (who has no sudo).
        known_hosts: a file with the true host keys.
        ssh_config: a file for `ssh -F` and for Fabric: names, user `deploy`, key, known hosts.
    """

    def __init__(
        self,
        count: int,
        *,
        sudo: Sudo = Sudo.NONE,
        binds: Sequence[Bind] = (),
        packages: Sequence[str] = (),
    ) -> None:
        if not 1 <= count <= network.MAX_HOSTS:
            raise ValueError(f"a lab has 1 to {network.MAX_HOSTS} hosts, not {count}")
        self.count = count
        self.binds = tuple(binds)
        self.packages = tuple(packages)
        self._sudo = sudo
        self._writing = threading.Lock()

    def __enter__(self) -> Self:
        # What is slow to build is built before the lab has anything that must be taken down.
        lower_layers(self.packages)
        self._record = registry.claim(self.count)
        try:
            self._build()
        except BaseException:
            self._dismantle()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._dismantle()

    @property
    def number(self) -> int:
        """Which lab of this machine it is; all its names and addresses follow from it."""
        return self._record.number

    @property
    def folder(self) -> Path:
        """What the lab keeps on this machine's disk until it ends."""
        return self._record.folder

    @contextmanager
    def distant(self, round_trip: timedelta) -> Iterator[None]:
        """All hosts are so far away from this machine (not from each other), addressed as usual.

        This is what measures time: every packet travels, so TCP behaves as over such a distance.
        """
        near, far = network.taps(self.number)
        one_way = round_trip.total_seconds() / 2
        with subprocess.Popen(
            [sys.executable, str(DISTANCE), str(one_way), near, far],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        ) as carrier:
            self.remember(carrier.pid)
            assert carrier.stdout is not None
            if not carrier.stdout.readline():
                raise RuntimeError("the process that carries the frames did not start")
            network.move_away(self.number, self._record.host_numbers)
            try:
                yield
            finally:
                network.move_back(self.number, self._record.host_numbers)
                # It ends with its input; so it also ends when this process is killed.
                carrier.communicate()

    @contextmanager
    def proxied(self, round_trip: timedelta = timedelta(0)) -> Iterator[ProxiedLine]:
        """The same hosts behind a proxy that can freeze or reset their SSH connections.

        For measuring time `distant` is better: see `delay` about what a proxy cannot show.
        """
        addresses = tuple(
            (network.proxy_address(self.number, number), PROXY_PORT)
            for number in self._record.host_numbers
        )
        direct: tuple[Address, ...] = tuple((host.address, host.port) for host in self.hosts)
        ssh_config = self.folder / "ssh_config.proxied"
        self._write_ssh_config(ssh_config, addresses)
        with DelayProxy(dict(zip(addresses, direct, strict=True)), round_trip) as proxy:
            yield ProxiedLine(addresses, ssh_config, proxy)

    def remember(self, pid: int) -> None:
        """Write down a process that has to be gone when the lab is."""
        with self._writing:
            self._record = self._record.with_process(pid)

    def _build(self) -> None:
        _raise_inotify_limit()
        self.address = network.controller_address(self.number)
        self.key = self.folder / "id_ed25519"
        _make_key(self.key)
        self.public_key = self.key.with_suffix(".pub").read_text()
        self.hosts = tuple(Host(self, number) for number in self._record.host_numbers)
        for host in self.hosts:
            host.build(self._sudo)
            host.path("/etc/hosts").write_text(self._names())
        self.known_hosts = self.folder / "known_hosts"
        self.known_hosts.write_text("".join(map(self._known_host, self._record.host_numbers)))
        self.ssh_config = self.folder / "ssh_config"
        self._write_ssh_config(self.ssh_config, [(host.address, host.port) for host in self.hosts])
        network.build(self.number, self._record.host_numbers)
        for host in self.hosts:
            host.switch_on()
        for host in self.hosts:
            host.wait_running()

    def _names(self) -> str:
        """The hosts' /etc/hosts: they know each other by name."""
        lines = [f"{host.address} {host.name}" for host in self.hosts]
        return "\n".join(["127.0.0.1 localhost", *lines, ""])

    def _known_host(self, number: int) -> str:
        host = self.hosts[number - 1]
        proxied = f"[{network.proxy_address(self.number, number)}]:{PROXY_PORT}"
        return f"{host.name},{host.address},{proxied} {host.host_key}\n"

    def _write_ssh_config(self, file: Path, addresses: Sequence[Address]) -> None:
        own = [
            f"Host {host.name}\n    HostName {address}\n    Port {port}\n"
            for host, (address, port) in zip(self.hosts, addresses, strict=True)
        ]
        every = (
            "Host *\n"
            "    User deploy\n"
            f"    IdentityFile {self.key}\n"
            "    IdentitiesOnly yes\n"
            f"    UserKnownHostsFile {self.known_hosts}\n"
            "    GlobalKnownHostsFile /dev/null\n"
            "    StrictHostKeyChecking yes\n"
            "    BatchMode yes\n"
        )
        file.write_text("".join([*own, every]))

    def _dismantle(self) -> None:
        try:
            registry.dismantle(self._record)
        except KeyboardInterrupt:
            # Whoever is in a hurry must not leave hosts running: once more, for what is left.
            registry.dismantle(self._record)
            raise


def _make_key(file: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(file)], check=True
    )


def _raise_inotify_limit() -> None:
    """Allow enough file watches for dozens of hosts. Stays raised, as other labs may be running."""
    if int(INOTIFY_INSTANCES.read_text()) < INOTIFY_INSTANCES_NEEDED:
        INOTIFY_INSTANCES.write_text(f"{INOTIFY_INSTANCES_NEEDED}\n")
        print(
            f"lab: raised fs.inotify.max_user_instances to {INOTIFY_INSTANCES_NEEDED};"
            " it stays so until the machine restarts",
            file=sys.stderr,
        )
