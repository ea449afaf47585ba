"""The image that a release is served from: pulled or built, and the same bytes on every host.

Pure: which scripts to run and what their answers mean. `images` calls it on the way of a deploy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from aideploy.errors import PhaseFailed
from aideploy.events import Phase
from aideploy.phases import facts
from aideploy.remote.result import Result
from aideploy.remote.script import Script

if TYPE_CHECKING:
    from aideploy.settings import Settings
    from aideploy.settings.serve import Serve

_ID = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Image:
    """The image of a release.

    Args:
        id: the sha256 of its configuration, which names the content of all its layers.
        source: where it comes from: the image of hosts.toml by its digest, or the Dockerfile.
    """

    id: str
    source: str

    def record(self) -> dict[str, str]:
        """Return what release.json says of it."""
        return {"id": self.id, "source": self.source}


def pull(settings: Settings, serve: Serve, release: str, image: str) -> Script:
    """Return the script that gets an image from its registry."""
    return _script("image_pull", settings, serve, release, image)


def build(settings: Settings, serve: Serve, release: str) -> Script:
    """Return the script that builds the image of the release."""
    return _script("image_build", settings, serve, release, str(serve.dockerfile))


def look(settings: Settings, serve: Serve, release: str, image: str) -> Script:
    """Return the script that says whether a host has an image."""
    return _script("image_look", settings, serve, release, image)


def save(settings: Settings, serve: Serve, release: str, image: str) -> Script:
    """Return the script that lays an image ready for `send`, and emits its `size`."""
    return _script("image_save", settings, serve, release, image)


def send(root: PurePosixPath) -> Script:
    """Return the script that writes that image to its standard output; root is the app's folder."""
    return Script("send_image", (str(root),))


def take(serve: Serve) -> Script:
    """Return the script that takes an image on its standard input."""
    return Script("take_image", (serve.runtime,))


def prune(settings: Settings) -> tuple[Script, ...]:
    """Return the script that removes the images of releases that are gone; none without images."""
    serve = settings.serve
    if serve is None or not serve.contained:
        return ()
    arguments = (str(settings.app.deploy_to), settings.app.name, serve.runtime)
    return (Script("image_prune", arguments, libraries=("containers",)),)


def check(serve: Serve) -> Script:
    """Return the script that says whether a host could run the container."""
    words = (serve.runtime, str(serve.gpus))
    return Script("image_check", words, libraries=("containers",), limit=facts.LIMIT)


def obstacles(result: Result) -> tuple[tuple[str, str], ...]:
    """Return what is in the way of the container, each with what to do about it."""
    found = (said.partition("\t") for said in result.all("no-container"))
    return tuple((what, next_step) for what, _, next_step in found)


def read(result: Result, source: str) -> Image:
    """Make a typed answer of what a script emitted that pulls or builds."""
    pin = result.exact("pin", _pinned(source)) if result.text("pin") else source
    return Image(result.exact("image", _ID), pin)


def _pinned(image: str) -> re.Pattern[str]:
    """Return what an image of hosts.toml is called by its digest: the same name, without a tag."""
    name = image.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    plain = re.escape(folder + slash + last.partition(":")[0])
    return re.compile(rf"{re.escape(image)}|{plain}@sha256:[0-9a-f]{{64}}")


def has_it(result: Result) -> bool:
    """Whether the host that was asked has the image."""
    return bool(result.text("image"))


def same(found: Mapping[str, Image]) -> Image:
    """Return the image that all hosts have.

    Raises:
        PhaseFailed: they have not the same one.
    """
    first, image = next(iter(found.items()))
    for host, other in found.items():
        if other.id != image.id:
            raise PhaseFailed(
                f"{image.source} is another image on {host} than on {first}; nothing was switched",
                why=f"{other.id} and {image.id}: hosts of different architectures?",
                next_step="give hosts that differ environments of their own",
                phase=Phase.INSTALL,
            )
    return image


def _script(name: str, settings: Settings, serve: Serve, release: str, what: str) -> Script:
    root, app = str(settings.app.deploy_to), settings.app.name
    return Script(name, (root, app, release, serve.runtime, what), libraries=("containers",))
