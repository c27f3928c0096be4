"""Test whether two systems differ, by a paired bootstrap over identities.

Every draw takes the same people for both systems, so that people who are hard for both do not
affect the difference. The p-value is two-sided: twice the smaller share of draws on either side of
zero (Efron and Tibshirani, 1993, chapter 15; for retrieval systems: Sakai, SIGIR 2006).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vireid.errors import EvaluationError
from vireid.evaluation.bootstrap import METRICS, Interval, Metric, interval, resample
from vireid.evaluation.result import Result, Statistic

__all__ = ["Comparison", "Difference", "compare", "difference"]

_SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of one score, second minus first.

    Attributes:
        metric: The score.
        first: Score of the first system, in [0, 1].
        second: Score of the second system, in [0, 1].
        interval: 95 % interval of ``second - first`` over identities.
        p: Two-sided p-value of no difference, at least 2 / draws.
    """

    metric: Metric
    first: float
    second: float
    interval: Interval
    p: float

    @property
    def is_significant(self) -> bool:
        """Whether the interval excludes zero and p is below 5 %."""
        return not self.interval.low <= 0 <= self.interval.high and self.p < _SIGNIFICANT

    def __str__(self) -> str:
        """One line, in percent."""
        change = 100 * (self.second - self.first)
        low, high = (100 * end for end in self.interval)
        verdict = "significant" if self.is_significant else "not significant"
        return (
            f"{self.metric:5} {100 * self.first:6.2f} -> {100 * self.second:6.2f}  "
            f"{change:+6.2f} [{low:+.2f}, {high:+.2f}]  p {self.p:.4f}  {verdict}"
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two results on the same people.

    Attributes:
        first: The first result.
        second: The second result.
        differences: One per score.
    """

    first: Result
    second: Result
    differences: tuple[Difference, ...]

    def __str__(self) -> str:
        """The protocol, the conditions that differ, and one line per score."""
        unlike = [
            f"  {name}: {first} -> {second}"
            for name, (first, second) in self._conditions().items()
            if first != second
        ]
        return "\n".join(
            [
                f"{self.first.title}, {self.first.convention}",
                *unlike,
                *(f"  {difference}" for difference in self.differences),
                "  95 % intervals and p-values by paired bootstrap over identities; the variation",
                "  over training seeds is not included.",
            ]
        )

    def _conditions(self) -> dict[str, tuple[str, str]]:
        names = dict.fromkeys([*self.first.about, *self.second.about])
        about = {n: (self.first.about.get(n, "-"), self.second.about.get(n, "-")) for n in names}
        flags = {n: (kind, self.second.flags[n]) for n, kind in self.first.flags.items()}
        return {"similarity": (self.first.similarity, self.second.similarity), **flags, **about}


def compare(first: Result, second: Result) -> Comparison:
    """Compare two results of one protocol on the same images.

    Args:
        first: The baseline.
        second: The result to compare with it.

    Raises:
        EvaluationError: Their protocols or their images differ, or there are fewer than two
            identities.
    """
    if first.kind != second.kind:
        raise EvaluationError(
            f"results of {first.kind} and {second.kind} cannot be compared; expected the same "
            "protocol, direction and convention, both trained on the data set or both direct "
            "transfer"
        )
    if first.data_fingerprint != second.data_fingerprint:
        raise EvaluationError(
            f"the two results of {first.protocol} are over different images or draws (data "
            f"fingerprints {first.data_fingerprint[:12]} and {second.data_fingerprint[:12]}); "
            "expected the same: evaluate both runs on the same copy of the data set"
        )
    return Comparison(first, second, tuple(difference([first], [second], m) for m in METRICS))


def difference(first: Sequence[Result], second: Sequence[Result], metric: Metric) -> Difference:
    """The difference of one score between two systems, each the mean over its trainings.

    Args:
        first: Results of the first system, one a training seed.
        second: Results of the second, under the same protocol on the same images.
        metric: The score.

    Raises:
        EvaluationError: There are fewer than two identities, or the systems' differ.
    """
    both = (first, second)
    systems = [[trial.by_identity for one in each for trial in one.trials] for each in both]
    draws = resample(systems, metric)
    change = draws[:, 1] - draws[:, 0]
    # Ties count on both sides, so that equal systems have p = 1.
    smaller = min(int(np.count_nonzero(change <= 0)), int(np.count_nonzero(change >= 0)))
    p = min(1.0, 2 * max(smaller, 1) / len(change))
    before, after = (Statistic.of(one.scores[metric].mean for one in each).mean for each in both)
    return Difference(metric, before, after, interval(change), p)
