"""Debian packages that only some labs need, as a layer between the base tree and a host's own.

Built once (seconds: the base tree is not copied) and kept in the cache, under a key of the base and
the packages. Called by `hosts`; nobody may write into it afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.lab.base import apt_environment, base_tree, run
from tests.lab.cache import built_once, cache_folder, key_of

BUILD = Path(__file__).with_name("layer.sh")


def lower_layers(packages: Sequence[str]) -> tuple[Path, ...]:
    """The folders below a host's own files, topmost first.

    Args:
        packages: Debian packages beyond those of the base tree.
    """
    base = base_tree()
    if not packages:
        return (base,)
    place = cache_folder() / f"layer-{key_of(base.name, *sorted(packages), BUILD.read_text())}"

    def build(layer: Path) -> None:
        confined = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        command = ["bash", str(BUILD), str(base), str(layer), *sorted(packages)]
        run([*confined, *command], apt_environment())

    return (built_once(place, build) / "files", base)
