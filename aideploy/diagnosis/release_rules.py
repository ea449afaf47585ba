"""The rules about what the live release needs: memory, model, secrets, environment. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from aideploy.diagnosis import words
from aideploy.diagnosis.cause import Cause, Kind, Sure
from aideploy.diagnosis.look import HostLook, Link
from aideploy.diagnosis.seen import Seen


def of_release(seen: Seen) -> Iterator[Cause]:
    """Yield what the release needs and has not got."""
    yield from _out_of_memory(seen)
    yield from _model(seen)
    yield from _secrets(seen)
    yield from _environment(seen)


# -- memory ---------------------------------------------------------------------------------------


def _out_of_memory(seen: Seen) -> Iterator[Cause]:
    look, unit, app = seen.look, seen.unit, seen.settings.app.name
    if line := words.no_gpu_memory(seen.lines):
        yield seen.cause(
            Kind.OUT_OF_MEMORY,
            "the service finds no room in the memory of its GPU",
            line,
            *(look.gpus.lines if look.gpus else ()),
            next_step="on that host: nvidia-smi says who has it; end that, or serve less",
            sure=Sure.PROVEN,
        )
        return
    killed = [line for line in look.kernel if "oom" in line.lower() or "Out of memory" in line]
    kernel = next((line for line in reversed(killed) if app in line), "")
    by_manager = unit is not None and unit.result == "oom-kill"
    line = words.no_memory(seen.lines)
    # Restarted since, it may be well again: until the next time.
    lately = tuple(_since(look.last_runs, look.now))
    recent = "" if line else words.no_memory(lately)
    counted = f"killed {look.oom_kills} times for want of memory" if look.oom_kills else ""
    if not (line or recent or by_manager or counted or (kernel and seen.ails)):
        yield from _killed(seen, words.killed(seen.lines) or words.killed(lately))
        return
    limit = seen.serve.memory_max
    text = f" beyond [serve] memory_max = {limit // 1024**2}M" if limit else ""
    yield seen.cause(
        Kind.OUT_OF_MEMORY,
        f"the kernel killed the service, which wanted memory{text}",
        f"{unit.name}: result {unit.result}" if unit and by_manager else "",
        line or recent,
        counted,
        kernel,
        _memory(look),
        next_step="raise [serve] memory_max"
        if limit
        else "give the host more memory, or the service fewer workers; see: fab logs",
        sure=Sure.PROVEN if line or by_manager else seen.sure(""),
    )


def _killed(seen: Seen, line: str) -> Iterator[Cause]:
    """Yield that somebody killed the service; where nobody tells who, it is mostly the kernel."""
    if line:
        yield seen.cause(
            Kind.OUT_OF_MEMORY,
            "the service was killed (SIGKILL), and not by its manager: so does the kernel when "
            "memory runs out",
            line,
            _memory(seen.look),
            next_step="on that host: journalctl -k; then give it more memory, or fewer workers",
        )


def _since(lines: tuple[str, ...], now: str) -> Iterator[str]:
    """Yield the lines of the last hour; on both sides it is the host's own clock."""
    try:
        first = (datetime.fromisoformat(now) - timedelta(hours=1)).isoformat()
    except ValueError:
        return
    yield from (line for line in lines if line[:1].isdigit() and line[:19] >= first)


def _memory(look: HostLook) -> str:
    total, free = look.memory.get("MemTotal", 0), look.memory.get("MemAvailable", 0)
    return f"memory: {free // 1024} of {total // 1024} MB are available" if total else ""


# -- what belongs to the release ------------------------------------------------------------------


def _dangling(link: Link | None) -> bool:
    return link is not None and link.state == "dangling"


def _model(seen: Seen) -> Iterator[Cause]:
    look = seen.look
    links = [link for name in ("model", "model-dir") if (link := look.link(name))]
    lost = [link for link in links if link.state != "ok"]
    folders = [str(seen.settings.model_path or ""), *(link.path for link in links)]
    places = [*folders, *(link.target for link in links), f"{seen.settings.app.deploy_to}/models"]
    line = words.no_model(seen.lines, places)
    if lost:
        shown = [f"{one.path} -> {one.target or 'nothing'} ({one.state})" for one in lost]
        yield seen.cause(
            Kind.MODEL_MISSING,
            "the model of the live release is not where the release looks for it",
            *shown,
            line,
            next_step="fab deploy puts it there again; to serve another one now: fab rollback",
            sure=Sure.PROVEN if seen.ails else Sure.FOUND,
        )
    elif line:
        yield seen.cause(
            Kind.MODEL_MISSING,
            "the service looks for its model where there is none",
            line,
            *(f"the model is at {one.path}" for one in links),
            next_step="let it take the path from $MODEL_DIR, and deploy; now: fab rollback",
            sure=Sure.PROVEN,
        )


def _secrets(seen: Seen) -> Iterator[Cause]:
    look = seen.look
    if look.no_env:
        yield seen.cause(
            Kind.SECRET_MISSING,
            "the file with the variables and secrets of the release cannot be read",
            look.no_env,
            next_step="fab deploy writes it anew",
        )
    for path in look.missing_linked:
        yield seen.cause(
            Kind.FILE_MISSING,
            f"{path} is missing; it is in [serve] linked",
            next_step="put it there; then on that host restart the service, or: fab deploy",
        )
    if look.variables is None:
        return
    known = look.variables - look.empty
    wanted = [name for name in seen.serve.secrets if name not in known]
    name, line = words.missed_variable(seen.lines, known)
    if name and name not in wanted:
        wanted.insert(0, name)
    for one in wanted:
        secret = one in seen.serve.secrets
        said = line if one == name else ""
        state = "is empty" if one in look.empty else "has no value"
        yield seen.cause(
            Kind.SECRET_MISSING,
            f"{'the secret' if secret else 'the variable'} {one} {state} in the live release",
            said,
            next_step=f"set {one} where [serve] secrets come from; then: fab deploy"
            if secret
            else f"name {one} in [serve] secrets or [serve] environment; then: fab deploy",
            sure=seen.sure(said),
        )


def _environment(seen: Seen) -> Iterator[Cause]:
    look = seen.look
    link = look.link("venv")
    line = words.broken_environment(seen.lines)
    status, _, said = look.interpreter.partition(" ")
    changed = [change for change in look.changed if change.of == "venv"]
    gone = [one for one in look.changed if one.of == "release" and one.path.startswith(".venv ")]
    if _dangling(link) or gone or (look.interpreter and status != "0"):
        yield seen.cause(
            Kind.ENVIRONMENT_BROKEN,
            "the environment of the live release does not work",
            f"{link.path} -> {link.target} ({link.state})" if link and link.state != "ok" else "",
            f".venv/bin/python ends with status {status}: {said}"
            if status not in ("", "0")
            else "",
            line,
            next_step=_rebuilt(link),
            sure=Sure.PROVEN if seen.ails else Sure.FOUND,
        )
    elif line or changed:
        yield seen.cause(
            Kind.ENVIRONMENT_BROKEN,
            "the service misses a part of its environment"
            if line
            else "files of the environment were changed since it was built",
            line,
            *(f"changed: {change.path}" for change in changed[:5]),
            next_step=_rebuilt(link)
            if changed
            else "name it in the dependencies of the project, and deploy; now: fab rollback",
            sure=seen.sure(line),
        )


def _rebuilt(link: Link | None) -> str:
    place = link.target if link and link.target else "the folder that .venv leads to"
    name = place.rstrip("/").rpartition("/")[2]
    return f"on that host remove venvs/{name}, then: fab deploy builds it anew; now: fab rollback"
