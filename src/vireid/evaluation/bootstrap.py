"""Confidence intervals of scores by bootstrap over identities.

The queries of one person resemble each other, so queries are not an independent sample; people are.
A bootstrap draw therefore takes as many identities as there are, with replacement, each with all
its queries in all trials, and computes the score: the mean over trials of the mean over the drawn
queries. The spread over many draws estimates how the score would vary with another sample of people
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 16; clusters:
Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).

It does not cover other cameras or another training, which need other data and other seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vireid.errors import EvaluationError

__all__ = ["ByIdentity", "Interval", "Metric", "resample"]

Metric = Literal["R-1", "mAP", "mINP"]
METRICS: tuple[Metric, ...] = ("R-1", "mAP", "mINP")
DRAWS = 2000
LEVEL = 0.95
_SEED = 0


class Interval(NamedTuple):
    """A confidence interval of a score: percentiles of the bootstrap draws."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ByIdentity:
    """Sums of the scores of one trial by query identity; unmatched queries are left out.

    Attributes:
        identity: The identities with a matched query, ascending.
        queries: Number of matched queries of each.
        rank1: Number of them with a correct image at rank 1.
        ap: Sum of their AP.
        inp: Sum of their INP.
    """

    identity: tuple[int, ...]
    queries: tuple[int, ...]
    rank1: tuple[int, ...]
    ap: tuple[float, ...]
    inp: tuple[float, ...]

    def sums(self, metric: Metric) -> tuple[float, ...]:
        """The sums of one metric."""
        return {"R-1": self.rank1, "mAP": self.ap, "mINP": self.inp}[metric]


def resample(
    systems: Sequence[Sequence[ByIdentity]],
    metric: Metric,
    *,
    draws: int = DRAWS,
    seed: int = _SEED,
) -> NDArray[np.float64]:
    """Bootstrap draws of a score, for one system or for several on the same people.

    The same people are drawn for every system, so that differences between columns are paired.

    Args:
        systems: The trials of each system.
        metric: The score.
        draws: Number of draws.
        seed: Seed of the draws.

    Returns:
        Scores in [0, 1], float64 ``[draws, systems]``. Draws in which a trial has no query (which
        happens only with very few identities) are dropped, so there may be fewer rows.

    Raises:
        EvaluationError: There are fewer than two identities, or the systems' differ.
    """
    everyone = [sorted({i for trial in trials for i in trial.identity}) for trials in systems]
    people = everyone[0]
    if any(other != people for other in everyone):
        raise EvaluationError(
            "results over different identities cannot be compared; expected the same data set "
            "and split"
        )
    if len(people) < 2:
        raise EvaluationError(
            f"{len(people)} identity in the result; expected at least 2 to resample them"
        )
    drawn = np.random.default_rng(seed).multinomial(
        len(people), np.full(len(people), 1 / len(people)), size=draws
    )
    column_of = {identity: column for column, identity in enumerate(people)}
    scores = np.empty((draws, len(systems)))
    for column, trials in enumerate(systems):
        totals, counts = np.zeros((2, len(trials), len(people)))
        for row, trial in enumerate(trials):
            columns = [column_of[identity] for identity in trial.identity]
            totals[row, columns] = trial.sums(metric)
            counts[row, columns] = trial.queries
        with np.errstate(invalid="ignore"):  # 0 / 0 where no query was drawn: NaN, dropped below
            scores[:, column] = ((drawn @ totals.T) / (drawn @ counts.T)).mean(axis=1)
    kept: NDArray[np.float64] = scores[np.isfinite(scores).all(axis=1)]
    return kept


def interval(values: NDArray[np.float64], *, level: float = LEVEL) -> Interval:
    """The central interval that contains the share ``level`` of bootstrap draws ``[draws]``."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
