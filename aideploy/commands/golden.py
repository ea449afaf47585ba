"""`fab golden.record`: the golden file from what the live release answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aideploy.errors import UsageError
from aideploy.events import HostState, Phase
from aideploy.golden_file import lines_of, place
from aideploy.phases import golden as asking
from aideploy.phases.golden import Recorded
from aideploy.remote.result import Result
from aideploy.remote.session import Lock, Session
from aideploy.running import Run
from aideploy.scripts.golden_file import KEYS, MOST_LINES, Line
from aideploy.services.manager import bind
from aideploy.settings import Host, Role, Settings
from aideploy.settings.golden import Golden
from aideploy.writing import replace

MOST_REQUESTS = MOST_LINES
_SHOWN = 5
# What a request keeps from the golden file when it is recorded anew.
_KEPT = ("tolerance", "tolerance_rel")


def record_answers(
    run: Run,
    *,
    requests: Path | None,
    count: int,
    out: Path | None,
    confirm: Callable[[str], bool],
) -> None:
    """Put requests to the live service of one host and write its answers to the golden file.

    Args:
        run: the command.
        requests: a file of requests; None for those of the golden file.
        count: take so many of them at most.
        out: the file to write; None for the golden file in the checkout.
        confirm: asked before a file is replaced.

    Raises:
        UsageError: a file is wrong, nothing is live, or an answer cannot be recorded.
        FleetError: the host is unreachable, or the service does not answer in time.
    """
    golden, host = _wanted(run.settings)
    target = out or place(run.settings, golden)
    before = lines_of(target) if target.exists() else []
    if requests is None and not before:
        raise UsageError(
            f"there are no requests to record: {target} does not exist",
            next_step="write one request a line, and name that file with --requests",
        )
    lines = before if requests is None else [_to_record(line) for line in lines_of(requests)]
    lines = lines[:count]

    result = _ask(run, golden, host, lines)
    release = result.text("release")
    if not release:
        raise UsageError(f"nothing is live on {host.name}", next_step="fab deploy")
    answers = asking.read_recorded(result)
    _refuse_odd(lines, answers)

    new = renewed(lines, before, answers, golden)
    text = "".join(map(_json_line, new))
    told = _told(new, before)
    if before and text.encode() == target.read_bytes():
        run.headline = f"{target} says already what {release} answers; it was not touched"
    elif before and not confirm(f"{target}: {told}"):
        raise UsageError(
            f"{target} is there already; it was not touched",
            why=f"it would become: {told}",
            next_step="say --yes to replace it, or name another file with --out",
        )
    else:
        replace(target, text)
        run.headline = f"{target} holds what {release} answers: {told}"
        run.next_step = f"look at it, commit it, and deploy; [golden] file is {golden.file}"
    run.hosts = (HostState(host=host.name, state=f"serves {release}; asked {len(lines)} requests"),)


def _wanted(settings: Settings) -> tuple[Golden, Host]:
    if settings.golden is None:
        raise UsageError(
            f"{settings.path} has no [golden]",
            next_step='add it, with at least: file = "golden.jsonl"',
        )
    serving = settings.with_role(Role.SERVE)
    if not serving:
        raise UsageError(
            "none of the chosen hosts has the role serve",
            next_step="add a host with the role serve to --only, or leave --only out",
        )
    return settings.golden, serving[0]


def _ask(run: Run, golden: Golden, host: Host, lines: Sequence[Line]) -> Result:
    assert run.settings.serve is not None, "[golden] needs a [serve]"
    address, port = bind(run.settings.serve, host), run.settings.serve.port
    script = asking.record(run.settings, golden, address, port, lines)

    def work(session: Session) -> Result:
        return session.open(Lock.NONE, script)[0]

    return run.fleet.each(Phase.RUN, work, [host.name])[host.name]


def _refuse_odd(lines: Sequence[Line], answers: Sequence[Recorded]) -> None:
    """Refuse answers that no later release could be held to."""
    pairs = list(zip(lines, answers, strict=True))
    wrong = [f"{line.where}: {one.wrong}" for line, one in pairs if one.wrong]
    if wrong:
        raise UsageError(
            f"{len(wrong)} of {len(lines)} requests got no answer to record; nothing was written",
            why=_first(wrong),
            next_step="correct the requests, or see what is wrong with the service: fab logs",
        )
    unsteady = [f"{line.where}: {how}" for line, one in pairs for how in one.unsteady[:1]]
    if unsteady:
        raise UsageError(
            f"{len(unsteady)} of {len(lines)} requests were answered differently when they were "
            "put again; nothing was written",
            why=_first(unsteady),
            next_step="name fields that change by themselves in [golden] ignore, or allow the "
            "difference with a tolerance",
        )


def _first(reasons: Sequence[str]) -> str:
    more = [f"and {len(reasons) - _SHOWN} more"] if len(reasons) > _SHOWN else []
    return "\n".join([*reasons[:_SHOWN], *more])


def renewed(
    lines: Sequence[Line], before: Iterable[Line], answers: Iterable[Recorded], golden: Golden
) -> list[dict[str, Any]]:
    """Return the lines of the new golden file.

    Args:
        lines: the requests; one without "expected" stays without: it is there to warm up.
        before: the golden file as it is. Its tolerances are kept, and so is what somebody left out
            of an expected answer on purpose.
        answers: to the requests.
        golden: names the fields to leave out.
    """
    known = {line.asks(): line.written for line in before}
    new = []
    for line, one in zip(lines, answers, strict=True):
        old = known.get(line.asks(), {})
        kept = {name: old[name] for name in _KEPT if name in old}
        written = {**kept, **line.written}
        if "expected" in line.written:
            answer = _without(one.answer, frozenset(golden.ignore))
            written["expected"] = _shaped(answer, old["expected"]) if "expected" in old else answer
        new.append({name: written[name] for name in KEYS if name in written})
    return new


def _to_record(line: Line) -> Line:
    return Line(line.where, {**line.written, "expected": None})


def _without(answer: Any, names: frozenset[str]) -> Any:
    """The answer without the fields of these names."""
    if isinstance(answer, dict):
        return {key: _without(value, names) for key, value in answer.items() if key not in names}
    if isinstance(answer, list):
        return [_without(value, names) for value in answer]
    return answer


def _shaped(answer: Any, old: Any) -> Any:
    """The answer with no more fields than the old one; the places of a list have one shape."""
    if isinstance(answer, dict) and isinstance(old, dict):
        return {key: _shaped(answer[key], value) for key, value in old.items() if key in answer}
    if isinstance(answer, list) and isinstance(old, list) and old:
        shapes = [*old, *[old[-1]] * len(answer)]
        return [_shaped(value, shape) for value, shape in zip(answer, shapes, strict=False)]
    return answer


def _json_line(written: Mapping[str, Any]) -> str:
    line = json.dumps(written, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair: only as an escape can it stand in a file.
        line = json.dumps(written)
    return f"{line}\n"


def _told(new: Sequence[Mapping[str, Any]], before: Iterable[Line]) -> str:
    """How the new file differs from the one before, in words."""
    known = {line.asks(): line.written for line in before}
    asked = {Line("", dict(written)).asks(): written for written in new}
    counts = {
        "new": len(asked.keys() - known.keys()),
        "changed": sum(written != known[key] for key, written in asked.items() if key in known),
        "the same": sum(written == known.get(key) for key, written in asked.items()),
        "left out": len(known.keys() - asked.keys()),
    }
    return ", ".join(f"{number} {word}" for word, number in counts.items() if number)
