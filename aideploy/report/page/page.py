"""The page itself: everything that stands in it, as the template takes it, and the page rendered.

Called by `aideploy.commands.report`. What comes from hosts, commits and people is made harmless for
readers (control and invisible characters written out, long lines cut) and escaped for HTML where it
is put into the template: see `aideploy.rendering`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from markupsafe import Markup

from aideploy.errors import ExitStatus
from aideploy.events import Failure
from aideploy.records.details import rows as record_rows
from aideploy.records.record import Record
from aideploy.rendering import render
from aideploy.report.last_word import by_reason, where
from aideploy.report.page import charts, tables
from aideploy.report.page.known import Known
from aideploy.report.page.told import Told
from aideploy.report.progress import TAIL_LINES
from aideploy.report.safe_text import first_line, harmless_lines
from aideploy.report.wording import duration

TEMPLATE = "report/report.html.j2"
STYLE = "report/report.css.j2"

_MOST_FAILURES = 30


def html(known: Known, folder: Path | None) -> str:
    """Return the page.

    Args:
        known: what there is to tell.
        folder: of hosts.toml, whose `templates/` wins over ours.

    Raises:
        SettingsError: the user's own template cannot be rendered.
    """
    style = render(STYLE, {}, folder=folder)
    # The page may hold no other style than this one: a policy that the browser enforces.
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    values = {
        "style": Markup(style),  # noqa: S704  # a file of ours or of the user, no value in it
        "style_hash": f"sha256-{digest}",
        "known": known,
        "told": known.told,
        "record": known.record,
        "headline": _headline(known),
        "failures": _failures(known.told),
        "next_step": harmless_lines(known.told.finished.next_step)
        if known.told and known.told.finished
        else [],
        "more_failures": _more_failures(known.told),
        "timeline": tables.timeline(known.told),
        "ticks": charts.ticks(known.told.seconds if known.told else 0),
        "hosts": tables.hosts(known.told),
        "batches": tables.batches(known.told),
        "metrics": tables.metrics(known),
        "gate": tables.gate(known),
        "changes": tables.changes(known),
        "details": [(what, words) for what, words in _details(known.record)],
        "logs": [phase for phase in known.told.phases if phase.lines] if known.told else [],
    }
    return render(
        TEMPLATE,
        values,
        folder=folder,
        filters={
            "duration": duration,
            "first_line": first_line,
            "clock": _clock,
            "day": _day,
            "percent_text": lambda share: f"{100 * share:.3g} %",
        },
    )


@dataclass(frozen=True)
class Headline:
    """The first thing that a reader sees: `tone` is good, bad, warn or plain."""

    tone: str
    mark: str
    text: str


def _headline(known: Known) -> Headline:
    told = known.told
    if told is None:
        return Headline("plain", "", "From the records of the hosts")
    if told.finished is None:
        return Headline(
            "warn", "!", "It did not come to its end: it is still at work, or it was killed"
        )
    words = first_line(told.finished.headline)
    if told.finished.status == ExitStatus.DONE:
        return Headline("good", "✓", words)
    if told.finished.status == ExitStatus.HELD:
        return Headline("warn", "!", words)
    return Headline("bad", "✗", words)


@dataclass(frozen=True)
class Failed:
    """A failure, said once for all hosts that have it."""

    where: str
    what: str
    why: tuple[str, ...]
    tail: tuple[str, ...]


def _failures(told: Told | None) -> list[Failed]:
    found = by_reason(told.finished.failures) if told and told.finished else []
    return [_failed(told, *one) for one in found[:_MOST_FAILURES]] if told else []


def _more_failures(told: Told | None) -> int:
    found = by_reason(told.finished.failures) if told and told.finished else []
    return max(0, len(found) - _MOST_FAILURES)


def _failed(told: Told, failure: Failure, hosts: tuple[str, ...]) -> Failed:
    tail = failure.tail or _said_last(told, failure)
    return Failed(
        where=where(failure, hosts),
        what=first_line(failure.what),
        why=tuple(harmless_lines(failure.why)),
        tail=tail[-TAIL_LINES:],
    )


def _said_last(told: Told, failure: Failure) -> tuple[str, ...]:
    for phase in reversed(told.phases):
        if phase.phase == failure.phase:
            return tuple(
                line.text
                for line in phase.lines
                if line.host == failure.host and line.kind == "output"
            )
    return ()


def _details(record: Record | None) -> Iterator[tuple[str, str]]:
    shown: Iterable[tuple[str, str]] = record_rows(record) if record else ()
    for what, words in shown:
        # The gate and the metrics have tables of their own.
        if words and what and what not in ("metrics", "gate", "overridden"):
            yield what, words


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%H:%M:%S}"


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
