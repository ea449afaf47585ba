"""The image on the way of a deploy: one host pulls or builds it, and all others get the same.

The story calls it where a container serves. A tag is resolved once, on the first host, and all
others pull that digest; what is built is built once and streamed to the others, because two builds
of one Dockerfile are seldom the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aideploy.errors import Interrupted, PhaseFailed
from aideploy.events import Events, Phase, StepStarted
from aideploy.phases import image as images
from aideploy.phases.image import Image
from aideploy.remote import transfer
from aideploy.remote.session import Session

if TYPE_CHECKING:
    from aideploy.remote.fleet import Fleet
    from aideploy.settings import Settings
    from aideploy.settings.serve import Serve

Each = Callable[..., Mapping[str, Any]]


def deliver(
    settings: Settings,
    serve: Serve,
    fleet: Fleet,
    each: Each,
    events: Events,
    *,
    release: str,
    hosts: tuple[str, ...],
) -> Image:
    """Bring the image of a release to these hosts.

    Args:
        settings, serve: of the environment; a container serves.
        fleet: its open sessions.
        each: runs work on hosts in a phase, as the story does.
        events: where steps are told.
        release: the id of the release, which the image is kept for.
        hosts: those that serve, at least one.

    Returns:
        the image, which every one of them has.

    Raises:
        AideployError: one of them has not got it, or another one.
    """
    if serve.image is not None:
        return _pulled(settings, serve, each, serve.image, release, hosts)
    return _built(settings, serve, fleet, each, events, release, hosts)


def _pulled(
    settings: Settings, serve: Serve, each: Each, name: str, release: str, hosts: tuple[str, ...]
) -> Image:
    def pull(what: str, names: Iterable[str]) -> dict[str, Image]:
        script = images.pull(settings, serve, release, what)
        return dict(
            each(
                Phase.INSTALL,
                lambda session: images.read(session.run(Phase.INSTALL, script)[0], what),
                names,
            )
        )

    if "@" in name:
        return images.same(pull(name, hosts))
    found = pull(name, hosts[:1])
    first = found[hosts[0]]
    if hosts[1:]:
        found |= pull(first.source, hosts[1:])
    return images.same(found)


def _built(
    settings: Settings,
    serve: Serve,
    fleet: Fleet,
    each: Each,
    events: Events,
    release: str,
    hosts: tuple[str, ...],
) -> Image:
    build = images.build(settings, serve, release)
    source = f"{serve.dockerfile} of the release"
    first, others = hosts[0], hosts[1:]
    found = each(
        Phase.INSTALL,
        lambda session: images.read(session.run(Phase.INSTALL, build)[0], source),
        [first],
    )
    image: Image = found[first]

    def lacking(names: Iterable[str]) -> list[str]:
        script = images.look(settings, serve, release, image.id)
        have = each(
            Phase.INSTALL,
            lambda session: images.has_it(session.run(Phase.INSTALL, script)[0]),
            names,
        )
        return [name for name, has in have.items() if not has]

    if others and (wanting := lacking(others)):
        _stream(serve, fleet, events, image, first, wanting)
        if without := lacking(wanting):
            raise PhaseFailed(
                f"{', '.join(without)} has not got the image that {first} built; "
                "nothing was switched",
                why=f"{serve.runtime} load took it, and has no image {image.id}",
                next_step="see whether the disk is full, then run the same command again",
                phase=Phase.INSTALL,
            )
    return image


def _stream(
    serve: Serve, fleet: Fleet, events: Events, image: Image, first: str, names: Iterable[str]
) -> None:
    targets: dict[Session, Any] = {}
    for name in names:
        events.publish(StepStarted(phase=Phase.INSTALL, host=name, text="receive the image"))
        targets[fleet.sessions[name]] = images.take(serve)
    try:
        outlet = images.send(serve, image.id)
        transfer.relay(Phase.INSTALL, fleet.sessions[first], outlet, targets)
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted; nothing was switched", phase=Phase.INSTALL) from error
