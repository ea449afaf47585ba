"""The rules about one host: its disks, its GPUs, and what it tried to do by itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from aideploy.diagnosis import service_rules, words
from aideploy.diagnosis.cause import SYMPTOMS, Cause, Kind, Sure
from aideploy.diagnosis.look import Disk, HostLook
from aideploy.diagnosis.seen import Seen
from aideploy.phases.facts import LEAST_FREE_BYTES
from aideploy.settings.hosts import Role

if TYPE_CHECKING:
    from aideploy.settings import Host, Settings

_FULL_PART = 0.01
# A disk of many terabytes is not full with so much left.
_NEVER_FULL_BYTES = 1024**3
_LOST = ("fallen off the bus", "GPU is lost", "Xid")
# What alone keeps a service from working, whatever its log says.
_BLOCKING = frozenset(
    {
        Kind.MODEL_MISSING,
        Kind.SECRET_MISSING,
        Kind.ENVIRONMENT_BROKEN,
        Kind.PORT_TAKEN,
        Kind.HAPROXY_DOWN,
        Kind.OUT_OF_MEMORY,
        Kind.GPU_LOST,
    }
)


def of_host(settings: Settings, host: Host, look: HostLook) -> tuple[Cause, ...]:
    """Return what is wrong with a host; what is only seen of another cause is left out."""
    if look.unanswered and not look.set_up:
        return tuple(_hanging(look))
    if not look.set_up:
        what = f"there is no folder {settings.app.deploy_to}"
        return (Cause(look.host, Kind.NOT_SET_UP, what, (), "fab setup", Sure.PROVEN),)
    serve = settings.serve if Role.SERVE in host.roles else None
    seen = Seen(settings, serve, look) if serve and "the service" not in look.unanswered else None
    causes = [
        *_hanging(look),
        *_release(look),
        *_disks(look, seen),
        *_gpus(settings, host, look, seen),
    ]
    signs: list[Cause] = []
    if seen:
        causes += service_rules.behind(seen)
        signs += service_rules.symptoms(seen)
    causes += [*_explained(signs, causes), *_changed(look), *_jobs(look)]
    return tuple(causes)


def _explained(signs: Iterable[Cause], causes: Iterable[Cause]) -> Iterator[Cause]:
    """Yield the signs that no cause explains."""
    explained = any(
        one.sure is Sure.PROVEN or (one.sure is Sure.FOUND and one.kind in _BLOCKING)
        for one in causes
    )
    for sign in signs:
        if not (explained and sign.kind in SYMPTOMS):
            yield sign


def _hanging(look: HostLook) -> Iterator[Cause]:
    if look.unanswered:
        yield Cause(
            look.host,
            Kind.HANGS,
            f"it does not say how {' and '.join(look.unanswered)} are: something hangs there",
            (),
            "on that host: ps -eo state,pid,args | grep ^D shows what waits for a disk or a "
            "driver; then journalctl -k",
        )


def _release(look: HostLook) -> Iterator[Cause]:
    current = look.link("current")
    live = look.journal.live()
    if current is None or current.state == "ok" or (current.state == "missing" and not live):
        return
    leads = f"{current.path} -> {current.target} ({current.state})"
    yield Cause(
        look.host,
        Kind.RELEASE_MISSING,
        "what is live cannot be found: `current` leads to nothing",
        (leads if current.target else f"{current.path} is missing", f"live was {live}"),
        "fab deploy, or fab rollback: both put a whole release in its place",
        Sure.PROVEN,
    )


def _disks(look: HostLook, seen: Seen | None) -> Iterator[Cause]:
    line = words.no_space(seen.lines) if seen else ""
    sure = seen.sure(line) if seen else Sure.FOUND
    told = False
    for index, disk in enumerate(look.disks):
        least = LEAST_FREE_BYTES if index == 0 else 0
        if disk.free < least or _is_full(disk, _NEVER_FULL_BYTES):
            told = True
            what = f"the disk at {disk.mount} is full: {disk.free // 1024**2} MB are free"
            yield _disk(look, what, f"of {disk.total // 1024**2} MB", line, sure)
    for disk in look.inodes:
        if _is_full(disk, disk.total):
            told = True
            what = f"the disk at {disk.mount} has room for {disk.free} more files"
            yield _disk(look, what, f"of {disk.total}", line, sure)
    if look.read_only:
        yield Cause(
            look.host,
            Kind.READ_ONLY,
            f"the disk at {look.read_only} cannot be written to",
            tuple(one for one in look.kernel if "I/O error" in one or "read-only" in one),
            "see why on that host: dmesg; a disk that the kernel gave up wants a person",
        )
    if line and not told:
        yield _disk(look, "the service found no room on its disk", "", line, Sure.PROVEN)


def _is_full(disk: Disk, most: int) -> bool:
    return disk.total > 0 and disk.free < min(disk.total * _FULL_PART, most)


def _disk(look: HostLook, what: str, of: str, line: str, sure: Sure) -> Cause:
    text = f"{what} {of}".rstrip()
    step = "make room there: fab step.finish deletes what no release needs, or lower keep_releases"
    return Cause(
        look.host, Kind.DISK_FULL, text, (line,) if line else (), step, max(sure, Sure.FOUND)
    )


def _gpus(settings: Settings, host: Host, look: HostLook, seen: Seen | None) -> Iterator[Cause]:
    if "the GPUs" in look.unanswered:
        return
    served = seen.serve.gpus if seen else 0
    wanted = max(host.gpus, served)
    well = look.gpus.well if look.gpus else 0
    line = words.no_gpu(seen.lines) if seen else ""
    kernel = [one for one in look.kernel if any(word in one for word in _LOST)]
    lost = [one for one in kernel if "fallen off the bus" in one or "GPU is lost" in one]
    broken = look.gpus is not None and look.gpus.status != 0
    said = look.gpus.lines[:3] if look.gpus and (broken or well < wanted) else ()
    if well < wanted:
        what = f"{well} of {wanted} GPUs answer"
        if look.gpus is None:
            what = f"there is no nvidia-smi, and {wanted} GPUs are wanted"
    elif broken or lost:
        what = "a GPU does not answer"
    elif line:
        what = "the service cannot use its GPU"
    elif kernel:
        what = "the driver tells of errors of a GPU"
    else:
        return
    sure = Sure.PROVEN if line else Sure.FOUND if well < wanted or broken or lost else Sure.NOTED
    yield Cause(
        look.host,
        Kind.GPU_LOST,
        what,
        tuple(filter(None, (*said, line, *kernel[-3:]))),
        "on that host: nvidia-smi, journalctl -k; a GPU that fell off the bus comes back with a "
        "restart of the host; until then deploy to the others, with --only",
        sure,
    )


def _changed(look: HostLook) -> Iterator[Cause]:
    changed = [
        one for one in look.changed if one.of != "venv" and not one.path.startswith(".venv ")
    ]
    if changed:
        yield Cause(
            look.host,
            Kind.CHANGED,
            "files of the live release are not as they were deployed",
            tuple(map(str, changed[:5])),
            "fab deploy puts a whole release in its place",
            Sure.NOTED,
        )


def _jobs(look: HostLook) -> Iterator[Cause]:
    for job in look.given_up:
        yield Cause(
            look.host,
            Kind.GAVE_UP,
            f"the host tried three times in vain: {job.words}",
            (f"what it said is in {job.name}.log in the app's folder there",),
            "read that log; then: fab status, fab rollback",
        )
    if look.in_held_rollout:
        yield Cause(
            look.host,
            Kind.HELD,
            "part of a rollout that waits for a person",
            (),
            "fab rollout.status; then fab rollout.promote or fab rollout.abort",
            Sure.NOTED,
        )
