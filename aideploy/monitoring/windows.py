"""Prometheus as the live analysis asks it: one value for each window, by Prometheus' own clock."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aideploy.analysis.arms import matchers
from aideploy.analysis.queries import templates
from aideploy.analysis.source import NoAnswer, Series, Source, filled_in
from aideploy.errors import SettingsError
from aideploy.events import Events, Notice
from aideploy.monitoring.presets import signals
from aideploy.monitoring.prometheus_api import BadQuery, Prometheus, prometheus_of
from aideploy.monitoring.server import MonitoringUnavailable

if TYPE_CHECKING:
    from aideploy.settings import Settings


class PrometheusWindows:
    """The source of an analysis; see `aideploy.analysis.source.Source`.

    Args:
        prometheus: whom to ask.
    """

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._ahead: float | None = None

    def windows(self, query: str, end: float, step: float, count: int) -> Sequence[Series]:
        """Evaluate a query at `count` moments, `step` seconds apart, the last one at `end`.

        Raises:
            NoAnswer: it refuses the query, cannot be reached, or takes too long.
        """
        try:
            # Whose clock is wrong does not matter: what counts is the one that dates the samples.
            if self._ahead is None:
                self._ahead = self._prometheus.query("time()")[0].value - time.time()
            last = datetime.fromtimestamp(end + self._ahead, UTC)
            # In whole milliseconds, as the API rounds.
            last = last.replace(microsecond=last.microsecond // 1000 * 1000)
            first = last - timedelta(seconds=step) * (count - 1)
            answer = self._prometheus.query_range(query, first, last, timedelta(seconds=step))
        except (BadQuery, MonitoringUnavailable) as error:
            raise NoAnswer(f"{error.what}: {error.why}" if error.why else error.what) from error
        return tuple(
            Series(
                one.labels,
                {round((at - first).total_seconds() / step): value for at, value in one.values},
            )
            for one in answer
        )


def prepared(settings: Settings, environ: Mapping[str, str], events: Events) -> Source | None:
    """See to it, before anything is begun, that the analysis can be made.

    A Prometheus that does not answer is no reason to refuse: it may be back in time.

    Returns:
        where its numbers come from; None where there is no [[analysis]].

    Raises:
        SettingsError: scipy is missing, a secret has no value, or a query is no PromQL.
    """
    if not settings.analyses:
        return None
    prometheus = _prometheus(settings, environ)
    try:
        _try_queries(settings, prometheus)
    except MonitoringUnavailable as error:
        text = f"{error.what}: an analysis without it holds the rollout"
        events.publish(Notice(text=text, level="warning"))
    return PrometheusWindows(prometheus)


def asked(settings: Settings, environ: Mapping[str, str]) -> Source:
    """Return where the numbers of the analysis come from.

    Raises:
        SettingsError: as `prepared`.
        MonitoringUnavailable: Prometheus does not answer.
    """
    prometheus = _prometheus(settings, environ)
    _try_queries(settings, prometheus)
    return PrometheusWindows(prometheus)


def _prometheus(settings: Settings, environ: Mapping[str, str]) -> Prometheus:
    if importlib.util.find_spec("scipy") is None:
        raise SettingsError(
            "[[analysis]] needs scipy, which is not installed",
            next_step='install it here: pip install "aideploy[analysis]"',
        )
    return prometheus_of(settings, environ)


def _try_queries(settings: Settings, prometheus: Prometheus) -> None:
    """See to it that Prometheus understands every query."""
    selector = matchers(settings.app.name, settings.environment, ("nobody",))
    problems = []
    for index, check in enumerate(settings.analyses):
        for query in templates(check, signals(settings.monitoring)).all:
            try:
                prometheus.query(filled_in(query, selector, check.interval.total_seconds()))
            except BadQuery as error:
                problems.append(f"analysis[{index}] ({check.name}): {error.why or error.what}")
    if problems:
        raise SettingsError(
            "Prometheus does not understand the queries of the analysis",
            problems=tuple(dict.fromkeys(problems)),
            next_step="correct them, then run the same command again",
        )
