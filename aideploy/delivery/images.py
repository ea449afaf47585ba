"""The image on the way of a deploy: one host pulls or builds it, and all others get the same.

The story calls it where a container serves. A tag is resolved once, on the first host, and all
others pull that digest; what is built is built once and streamed to the others, because two builds
of one Dockerfile are seldom the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from aideploy.delivery.participants import Participants
from aideploy.errors import Interrupted, PhaseFailed
from aideploy.events import Events, Phase, StepStarted
from aideploy.phases import image as images
from aideploy.phases.image import Image
from aideploy.remote import transfer
from aideploy.remote.result import Result

if TYPE_CHECKING:
    from aideploy.remote.script import Script
    from aideploy.settings import Settings
    from aideploy.settings.serve import Serve

_PHASE = Phase.INSTALL


class ImageDelivery:
    """The image of one release, for the hosts that serve it.

    Args:
        settings, serve: of the environment; a container serves.
        participants: the hosts; at least one serves.
        events: where steps are told.
        release: the id of the release, which the image is kept for.
    """

    def __init__(
        self,
        settings: Settings,
        serve: Serve,
        participants: Participants,
        events: Events,
        *,
        release: str,
    ) -> None:
        self._settings = settings
        self._serve = serve
        self._participants = participants
        self._events = events
        self._release = release
        self._roots = {name: known.root for name, known in participants.serving.items()}

    def deliver(self) -> Image:
        """Return the image, which every host has then.

        Raises:
            AideployError: one of them has not got it, or another one.
        """
        if self._serve.image is not None:
            return self._pulled(self._serve.image)
        return self._built()

    def _pulled(self, name: str) -> Image:
        if "@" in name:
            return images.same(self._pull(name, self._roots))
        first, *others = self._roots
        found = self._pull(name, [first])
        if others:
            found |= self._pull(found[first].source, others)
        return images.same(found)

    def _pull(self, name: str, hosts: Iterable[str]) -> dict[str, Image]:
        script = images.pull(self._settings, self._serve, self._release, name)
        results = self._run(script, hosts)
        return {host: images.read(result, name) for host, result in results.items()}

    def _built(self) -> Image:
        first, *others = self._roots
        script = images.build(self._settings, self._serve, self._release)
        source = f"{self._serve.dockerfile} of the release"
        image = images.read(self._run(script, [first])[first], source)
        lacking = self._lacking(image, others)
        if lacking:
            self._stream(image, first, lacking)
            lacking = self._lacking(image, lacking)
        if lacking:
            raise PhaseFailed(
                f"{', '.join(lacking)} took the image that {first} built, and has not got it; "
                "nothing was switched",
                why=f"there is no image {image.id} after {self._serve.runtime} load",
                next_step="see whether the disk is full, then run the same command again",
                phase=_PHASE,
            )
        return image

    def _lacking(self, image: Image, hosts: Iterable[str]) -> list[str]:
        script = images.look(self._settings, self._serve, self._release, image.id)
        results = self._run(script, hosts)
        return [name for name, result in results.items() if not images.has_it(result)]

    def _stream(self, image: Image, first: str, names: Iterable[str]) -> None:
        script = images.save(self._settings, self._serve, self._release, image.id)
        size = self._run(script, [first])[first].number("size")
        outlet = transfer.Outlet(images.send(self._roots[first]), 0, size)
        inlet = transfer.Inlet(images.take(self._serve), 0)
        sessions = self._participants.sessions
        for name in names:
            self._events.publish(StepStarted(phase=_PHASE, host=name, text="receive the image"))
        try:
            broken = transfer.relay(
                _PHASE,
                sessions[first],
                outlet,
                {sessions[name]: inlet for name in names},
                lambda _: None,
            )
        except KeyboardInterrupt as error:
            raise Interrupted("interrupted; nothing was switched", phase=_PHASE) from error
        for reason in broken.values():
            raise reason

    def _run(self, script: Script, hosts: Iterable[str]) -> dict[str, Result]:
        names = list(hosts)
        if not names:
            return {}
        each = self._participants.each
        return dict(each(_PHASE, lambda session: session.run(_PHASE, script)[0], names))
