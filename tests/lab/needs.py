"""What a lab needs from this machine, and what of it is missing.

Called by `plugin`, which skips the fleet tests or, where they are required, fails. Looks only;
installs and changes nothing.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.lab.base import RELEASE, is_built, mirror
from tests.lab.cache import cache_folder

# The programs a lab calls, and the Debian packages they come in.
PACKAGE_OF = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "ip": "iproute2",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "git": "git",
}
PROBE = Path(__file__).with_name("probe.sh")


def missing() -> list[str]:
    """What stands in the way of a lab, one entry each, with what to do about it; empty if nothing.

    What can only be tried when something else is there is tried only then.
    """
    if platform.system() != "Linux":
        return ["Linux"]
    # Only root has the folder of the administrator's programs among its own.
    searched = os.pathsep.join([*os.get_exec_path(), *([] if _is_root() else ["/usr/sbin"])])
    absent = [program for program in PACKAGE_OF if shutil.which(program, path=searched) is None]
    found = []
    if not _is_root():
        found.append("root rights (run as root, and not in a user namespace)")
    if absent:
        packages = " ".join(sorted({PACKAGE_OF[program] for program in absent}))
        command = f"apt-get install --no-install-recommends {packages}"
        found.append(f"{', '.join(absent)} ({command})")
    return found or _refused() or _unbuildable()


def _is_root() -> bool:
    """Whether this is the machine's root: the root of a user namespace may not boot a host."""
    all_users = ["0", "0", str(2**32 - 1)]
    return os.geteuid() == 0 and Path("/proc/self/uid_map").read_text().split() == all_users


def _refused() -> list[str]:
    """What the kernel or the container around this machine does not allow, tried for real."""
    with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
        tried = subprocess.run(
            ["bash", str(PROBE), folder], capture_output=True, text=True, check=False
        )
    return [] if tried.returncode == 0 else [(tried.stdout + tried.stderr).strip()]


def _unbuildable() -> list[str]:
    if is_built() or mirror() is not None:
        return []
    return [f"a mirror of Debian {RELEASE} in apt's sources, to build the hosts from"]
