"""Programs of this machine that some tests need."""

from __future__ import annotations

import os
import shutil

import pytest

# Where the package of Debian has another name.
_PACKAGE_OF = {
    "cvtsudoers": "sudo",
    "promtool": "prometheus",
    "sftp": "openssh-client",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "systemd-analyze": "systemd",
    "visudo": "sudo",
}


def need(program: str) -> str:
    """Return the path of a program; without it the test is skipped.

    Where all tests must run, one that was skipped has failed: `tests/lab/plugin.py`.
    """
    # Only root has the folder of the administrator's programs among its own.
    found = shutil.which(program, path=os.pathsep.join([*os.get_exec_path(), "/usr/sbin"]))
    if found is None:
        pytest.skip(f"no {program} here: apt-get install {_PACKAGE_OF.get(program, program)}")
    return found
