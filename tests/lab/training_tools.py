"""A real Ray and a real PyTorch for hosts of a lab, installed once, into the cache.

They are large (several 100 MB each), so they are no part of what developers install. A host gets
them bound in and reads them from an environment of its own, made by `put_on`.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path, PurePosixPath

import uv

from tests.lab.cache import built_once, cache_folder, key_of
from tests.lab.hosts import Bind, Host
from tests.lab.programs import run

RAY = ("ray[default]>=2.40,<3",)
# The wheel without CUDA.
TORCH = ("torch==2.13.0", "numpy>=2,<3")
# What the hosts of a lab run, not what runs the tests.
PYTHON = "3.11"
PROGRAM = "#!{python}\nimport sys\nfrom {module} import main\nsys.exit(main())\n"


def packages(name: str, requirements: tuple[str, ...]) -> Bind:
    """The folder with these packages, where a host sees it."""
    folder = cache_folder() / f"{name}-{key_of(PYTHON, *requirements)}"
    source = built_once(folder, partial(_install, requirements))
    return Bind(source, PurePosixPath("/opt", name))


def put_on(host: Host, packages: Bind, program: str, module: str) -> None:
    """Make an environment that reads the packages, with a program of theirs on the path."""
    name = packages.target.name
    environment = PurePosixPath("/opt", f"{name}-environment")
    host.exec(
        f"python3 -m venv --without-pip {environment}"
        f" && echo {packages.target} >{environment}/lib/python{PYTHON}/site-packages/{name}.pth"
    )
    file = host.path(PurePosixPath("/usr/local/bin", program))
    file.write_text(PROGRAM.format(python=environment / "bin/python", module=module))
    file.chmod(0o755)


def _install(requirements: tuple[str, ...], folder: Path) -> None:
    platform = ["--python-version", PYTHON, "--python", sys.executable]
    command = [uv.find_uv_bin(), "pip", "install", "--quiet", "--target", str(folder), *platform]
    run([*command, "--only-binary", ":all:", *requirements])
