"""Prometheus as the live analysis asks it: one value for each window, by Prometheus' own clock."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from aideploy.analysis.samples import NoAnswer, Series
from aideploy.monitoring.prometheus_api import BadQuery, MonitoringUnavailable, Prometheus


class PrometheusWindows:
    """The source of an analysis; see `aideploy.analysis.samples.Source`.

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
