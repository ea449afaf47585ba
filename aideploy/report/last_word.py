"""The last word of a run, as docs/design.md section 8 demands it.

Which host, which phase, why and the last 20 lines of that phase; the state that each host is in
now; where the whole log is; what to type next. The screen, the plain lines and the CI logs all
print these lines and only differ in colour. Hosts that failed for one reason and hosts in one
state are written together, so that the last word of 200 hosts still fits on a screen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto

from aideploy.errors import ExitStatus
from aideploy.events import Failure, HostState, RunFinished
from aideploy.report.safe_text import first_line, harmless, harmless_lines
from aideploy.report.wording import duration, host_names

_FULL_REASONS = 5
_SHORT_REASONS = 15
_NAMED_HOSTS = 10
_NAME_COLUMN = 24


class Tone(Enum):
    """What a line means; the screen gives each a colour."""

    PLAIN = auto()
    GOOD = auto()
    WARNING = auto()
    BAD = auto()
    STRONG = auto()
    FAINT = auto()


@dataclass(frozen=True)
class Line:
    """One line to print, harmless already."""

    text: str
    tone: Tone = Tone.PLAIN


def last_word(finished: RunFinished) -> list[Line]:
    """Everything a person has to know when a run is over, the most useful at the very end."""
    reasons = by_reason(finished.failures)
    return [
        *_headline(finished),
        *(line for reason in reasons[:_FULL_REASONS] for line in _failure(*reason)),
        *_further_failures(reasons[_FULL_REASONS:]),
        Line(""),
        *_section("Now", _states(finished.hosts)),
        *_section("Log", [Line(harmless(str(finished.log)))] if finished.log else []),
        *_section("Next", [Line(line, Tone.STRONG) for line in harmless_lines(finished.next_step)]),
    ]


def by_reason(failures: Iterable[Failure]) -> list[tuple[Failure, tuple[str, ...]]]:
    """The failures that differ in more than the name of the host, each with its hosts."""
    groups: dict[Failure, tuple[Failure, list[str]]] = {}
    for failure in failures:
        hosts = groups.setdefault(_reason(failure), (failure, []))[1]
        if failure.host is not None:
            hosts.append(failure.host)
    return [(first, tuple(hosts)) for first, hosts in groups.values()]


def _reason(failure: Failure) -> Failure:
    """The failure without what is particular to its host."""
    if failure.host is None:
        return failure
    name = re.compile(rf"(?<![\w.-]){re.escape(failure.host)}(?![\w-])")
    return replace(
        failure,
        host="",
        what=name.sub("", failure.what),
        why=name.sub("", failure.why),
        tail=(),
    )


def where(failure: Failure, hosts: tuple[str, ...]) -> str:
    """The phase and the hosts of a failure: `stage on gpu1, gpu2`."""
    phase = harmless(failure.phase or "")
    names = host_names(hosts, _NAMED_HOSTS)
    return " on ".join(part for part in (phase, names) if part)


def _headline(finished: RunFinished) -> Iterator[Line]:
    marks: dict[int, tuple[str, Tone]] = {
        ExitStatus.DONE: ("✓", Tone.GOOD),
        ExitStatus.HELD: ("!", Tone.WARNING),
    }
    mark, tone = marks.get(finished.status, ("✗", Tone.BAD))
    yield Line("")
    yield Line(f"{mark} {first_line(finished.headline)}", tone)
    took = f"  after {duration(finished.seconds)}"
    if finished.status != ExitStatus.DONE:
        took += f", exit status {int(finished.status)}"
    yield Line(took, Tone.FAINT)


def _failure(failure: Failure, hosts: tuple[str, ...]) -> Iterator[Line]:
    yield Line("")
    yield Line(f"  ✗ {_sentence(failure, hosts)}", Tone.BAD)
    for line in harmless_lines(failure.why):
        yield Line(f"    {line}")
    if failure.tail:
        whose = f" of {harmless(failure.host)}" if failure.host and len(hosts) > 1 else ""
        yield Line(f"    the last lines{whose}:", Tone.FAINT)
    for line in failure.tail:
        yield Line(f"    │ {harmless(line)}", Tone.FAINT)


def _further_failures(reasons: list[tuple[Failure, tuple[str, ...]]]) -> Iterator[Line]:
    if reasons:
        yield Line("")
    for reason in reasons[:_SHORT_REASONS]:
        yield Line(f"  ✗ {_sentence(*reason)}", Tone.BAD)
    if len(reasons) > _SHORT_REASONS:
        rest = sum(max(len(hosts), 1) for _, hosts in reasons[_SHORT_REASONS:])
        yield Line(f"  … and {rest} more failures; the log has all of them", Tone.BAD)


def _sentence(failure: Failure, hosts: tuple[str, ...]) -> str:
    place = where(failure, hosts)
    what = first_line(failure.what)
    return f"{place}: {what}" if place else what


def _states(hosts: tuple[HostState, ...]) -> list[Line]:
    """One line for each state, with the hosts in it; the most common state last."""
    groups: dict[HostState, list[str]] = {}
    for host in hosts:
        groups.setdefault(replace(host, host=""), []).append(host.host)
    ordered = sorted(groups.items(), key=lambda group: len(group[1]))
    rows = [(_who(names, len(hosts)), state) for state, names in ordered]
    column = min(max((len(who) for who, _ in rows), default=0), _NAME_COLUMN)
    return [
        Line(
            f"{who:<{column}}  {_state(state)}", Tone.BAD if state.healthy is False else Tone.PLAIN
        )
        for who, state in rows
    ]


def _who(names: list[str], hosts: int) -> str:
    """Every name, except those of most of a large fleet."""
    if len(names) == hosts and hosts > 2:
        return f"all {hosts} hosts"
    if len(names) > _NAMED_HOSTS and len(names) > hosts / 2:
        return f"the other {len(names)} hosts"
    return host_names(names, at_most=len(names))


def _state(host: HostState) -> str:
    parts = [first_line(host.state)]
    if host.release and host.release not in host.state:
        parts.append(harmless(host.release))
    if host.healthy is not None:
        parts.append("healthy" if host.healthy else "not healthy")
    return ", ".join(part for part in parts if part)


def _section(title: str, lines: list[Line]) -> Iterator[Line]:
    """The lines under a title in the margin."""
    for number, line in enumerate(lines):
        margin = title if number == 0 else ""
        yield Line(f"  {margin:<4}  {line.text}", line.tone)
