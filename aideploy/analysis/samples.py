"""From the answers of Prometheus to samples: what one check is judged by.

Whoever asks is handed in as a `Source`. What is no answer to the question (nothing, several series,
no number) becomes a `NoAnswer` in words, and never a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from aideploy.analysis.arms import Arm, Arms
from aideploy.analysis.findings import Asked
from aideploy.analysis.queries import Templates
from aideploy.analysis.sample import Sample, Windows
from aideploy.analysis.source import NoAnswer, Series, Source, filled_in
from aideploy.settings.analysis import Kind

# Of the baseline, so many more: how much it varies has to be known from the first look on.
_EARLIER_WINDOWS = 10
# A rollout may be paused for days; Prometheus gives at most 11,000 values at once.
MOST_WINDOWS = 500
_NOTHING = "nothing: no series matches, or nothing was counted yet"


@dataclass
class Asking:
    """Asks a source for the sample of one check.

    Args:
        source: where the numbers come from.
        templates: the queries of the check.
        step: the length of a window, in seconds.
        arms: the two sides.
        now: the moment up to which is looked.
    """

    source: Source
    templates: Templates
    step: float
    arms: Arms
    now: float
    asked: list[Asked] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many whole windows are looked at: all that the new release has served for."""
        return min(self.served, MOST_WINDOWS)

    @property
    def served(self) -> int:
        """How many whole windows the new release has served for."""
        return max(int((self.now - self.arms.since) / self.step + 1e-6), 0)

    def sample(self, kind: Kind) -> Sample:
        """Ask.

        Raises:
            NoAnswer: there is no number to judge.
        """
        match kind:
            case Kind.SLO:
                return self._value()
            case Kind.DISTRIBUTION:
                return self._values()
            case _:
                return self._histograms() if self.templates.buckets else self._shares()

    # -- the kinds ------------------------------------------------------------------------------

    def _value(self) -> Sample:
        """One number over all the time; or, of errors, their part of the requests."""
        if self.templates.bad:
            return self._shares(alone=True)
        total = self._sum(self._range(self.arms.canary, self.templates.requests))
        found = [
            answer[0] for answer in map(self._one, self._whole(self.templates.value)) if 0 in answer
        ]
        if not found:
            raise NoAnswer(_NOTHING)
        return Sample(
            tuple((number,) for number in found),
            edges=self._last_edge(),
            requests=(total, 0.0),
            asked=tuple(self.asked),
        )

    def _last_edge(self) -> tuple[float, ...]:
        """Return the largest bound of the histogram whose quantile is judged: what lies beyond
        Prometheus gives as the bound itself."""
        if not self.templates.buckets:
            return ()
        answers = self._whole(self.templates.buckets)
        edges = [_edge(series) for answer in answers for series in answer]
        finite = [edge * self.templates.unit for edge in edges if math.isfinite(edge)]
        return (max(finite),) if finite else ()

    def _whole(self, template: str) -> tuple[Sequence[Series], ...]:
        """Ask the canary for one value over all the time that counts."""
        length = self.step * max(self.count, 1)
        return tuple(
            self._ask("canary", template, selector, length, self.now, 1)
            for selector in self.arms.canary.selectors
        )

    def _values(self) -> Sample:
        """A number for each window and side."""
        arms, query = self.arms, self.templates.value
        sides = []
        for arm in (arms.canary, arms.baseline):
            windows: dict[int, list[float]] = {}
            for answer in self._range(arm, query):
                for place, number in answer.items():
                    if math.isfinite(number):
                        windows.setdefault(place, []).append(number)
            sides.append(tuple((sum(all_) / len(all_),) for _, all_ in sorted(windows.items())))
        requests = None
        if self.templates.requests:
            totals = [
                self._sum(self._range(arm, self.templates.requests))
                for arm in (arms.canary, arms.baseline)
            ]
            requests = (totals[0], totals[1])
        canary, baseline = sides
        return Sample(
            canary,
            baseline,
            requests=requests,
            opposed=bool(arms.baseline.selectors),
            asked=tuple(self.asked),
        )

    def _shares(self, *, alone: bool = False) -> Sample:
        """Of both sides, how many were bad and how many were not."""
        canary = self._counted(self.arms.canary, 0)
        baseline: Windows = ()
        usual: Windows = ()
        if self.arms.baseline.selectors and not alone:
            usual = self._counted(self.arms.baseline, _EARLIER_WINDOWS)
            baseline = self._at_the_same_time(usual)
        return Sample(
            canary,
            baseline,
            usual,
            opposed=bool(self.arms.baseline.selectors),
            asked=tuple(self.asked),
        )

    def _counted(self, arm: Arm, earlier: int) -> Windows:
        side = self._side(arm)
        windows: dict[int, list[float]] = {}
        places: set[int] = set()
        count = self.count + earlier
        for selector in arm.selectors:
            totals = self._one(
                self._ask(side, self.templates.requests, selector, self.step, self._end(arm), count)
            )
            bads = self._one(
                self._ask(side, self.templates.bad, selector, self.step, self._end(arm), count)
            )
            if not bads and not self.templates.preset and totals:
                raise NoAnswer('nothing for the query "bad"; where there are none: or vector(0)')
            places.update(totals)
            for place, total in totals.items():
                bad = min(max(bads.get(place, 0.0), 0.0), max(total, 0.0))
                if math.isfinite(total) and math.isfinite(bad):
                    window = windows.setdefault(place, [0.0, 0.0])
                    window[0] += bad
                    window[1] += max(total, 0.0) - bad
        if not windows:
            raise NoAnswer(_NOTHING)
        self._see_that_it_goes_on(arm, places, count)
        return self._filled(windows, count)

    def _histograms(self) -> Sample:
        """Of both sides, how many were in each bucket."""
        new, new_edges = self._buckets(self.arms.canary, 0)
        if not self.arms.baseline.selectors:
            asked = tuple(self.asked)
            return Sample(new, edges=new_edges, opposed=False, asked=asked)
        usual, edges = self._buckets(self.arms.baseline, _EARLIER_WINDOWS)
        if edges != new_edges:
            raise NoAnswer("the two sides have different buckets and cannot be compared")
        sums = None
        if self.templates.sum:
            totals = [
                self._sum(self._range(arm, self.templates.sum))
                for arm in (self.arms.canary, self.arms.baseline)
            ]
            sums = (totals[0], totals[1])
        return Sample(
            new,
            self._at_the_same_time(usual),
            usual,
            edges=edges,
            sums=sums,
            asked=tuple(self.asked),
        )

    def _buckets(self, arm: Arm, earlier: int) -> tuple[Windows, tuple[float, ...]]:
        count = self.count + earlier
        cumulated: dict[float, dict[int, float]] = {}
        for selector in arm.selectors:
            answer = self._ask(
                self._side(arm), self.templates.buckets, selector, self.step, self._end(arm), count
            )
            for series in answer:
                values = cumulated.setdefault(_edge(series), {})
                for place, number in series.values.items():
                    if math.isfinite(number):
                        values[place] = values.get(place, 0.0) + number
        edges = tuple(sorted(cumulated))
        if not edges:
            raise NoAnswer(_NOTHING)
        if len(edges) < 2 or edges[-1] != math.inf:
            raise NoAnswer("no histogram: at least two buckets are expected, one of them +Inf")
        self._see_that_it_goes_on(arm, cumulated[math.inf], count)
        windows: dict[int, list[float]] = {}
        for place in cumulated[math.inf]:
            below = 0.0
            counts = []
            for edge in edges:
                upto = max(cumulated[edge].get(place, below), below)
                counts.append(upto - below)
                below = upto
            windows[place] = counts
        return self._filled(windows, count, len(edges)), edges

    # -- asking ---------------------------------------------------------------------------------

    def _ask(
        self, side: str, template: str, selector: str, length: float, end: float, count: int
    ) -> Sequence[Series]:
        query = filled_in(template, selector, length)
        asked = Asked(side, query)
        if asked not in self.asked:
            self.asked.append(asked)
        if count < 1:
            return ()
        return self.source.windows(query, end, self.step, count)

    def _range(self, arm: Arm, template: str) -> tuple[Mapping[int, float], ...]:
        count = self.count + (0 if arm.until is None else _EARLIER_WINDOWS)
        side, end = self._side(arm), self._end(arm)
        answers = tuple(
            self._one(self._ask(side, template, one, self.step, end, count))
            for one in arm.selectors
        )
        places = {place for answer in answers for place in answer}
        self._see_that_it_goes_on(arm, places, count)
        return answers

    def _see_that_it_goes_on(self, arm: Arm, places: Collection[int], count: int) -> None:
        """See to it that what is judged is not only how the release began."""
        # The newest window may be empty: its scrape may still be under way.
        if arm.until is not None or not places:
            return
        if (silent := count - 1 - max(places)) > 1:
            whose = "" if arm is self.arms.canary else " from the old release"
            raise NoAnswer(f"nothing any more{whose}, for {silent * self.step:g} s")

    @staticmethod
    def _one(answer: Sequence[Series]) -> Mapping[int, float]:
        if len(answer) > 1:
            raise NoAnswer(f"{len(answer)} series where one is expected: sum(…) makes one of them")
        return answer[0].values if answer else {}

    @staticmethod
    def _sum(answers: Sequence[Mapping[int, float]]) -> float:
        return sum(one for each in answers for one in each.values() if math.isfinite(one))

    def _side(self, arm: Arm) -> str:
        return "canary" if arm is self.arms.canary else "baseline"

    def _end(self, arm: Arm) -> float:
        if arm.until is not None:
            return arm.until
        return self.arms.since + self.step * self.served

    def _at_the_same_time(self, windows: Windows) -> Windows:
        """The windows that count; before a rollout all of them do."""
        if self.arms.baseline.until is not None:
            return windows
        return windows[len(windows) - self.count :] if self.count else ()

    @staticmethod
    def _filled(windows: Mapping[int, Sequence[float]], count: int, categories: int = 2) -> Windows:
        nothing = (0.0,) * categories
        return tuple(tuple(windows.get(place, nothing)) for place in range(count))


def _edge(series: Series) -> float:
    try:
        return float(series.labels["le"])
    except KeyError:
        raise NoAnswer('series without the label "le": sum by (le) (…) keeps it') from None
    except ValueError:
        raise NoAnswer(f"a bucket le={series.labels['le']!r}, which is no number") from None
