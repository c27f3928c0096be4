"""Genuine and impostor scores of labelled images, and thresholds estimated from them.

Of impostor comparisons (images of two different people) only the tail of high scores matters: the
threshold at a false match rate (FMR) p is the score that the share p of all comparisons exceeds.
Where too few scores are left to count, the excess y over a high score follows a generalised Pareto
distribution (Pickands, Annals of Statistics 3(1), 1975), fitted here by probability-weighted
moments (Hosking and Wallis, Technometrics 29(3), 1987):

    P(excess > y) = (1 - k y / s)^(1 / k)
    k = a0 / (a0 - 2 a1) - 2,  s = 2 a0 a1 / (a0 - 2 a1),  a0 = E[y],  a1 = E[y P(excess > y)]

Every pair of people has the same weight, however many images they have. Comparisons that share a
person are not independent, so confidence intervals come from a bootstrap over people: a resample
draws people with replacement, and a pair of people counts as often as both were drawn (the vertex
bootstrap of Snijders and Borgatti, Connections 22(2), 1999; for biometrics, Bolle, Ratha and
Pankanti, Computer Vision and Image Understanding 93(1), 2004).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

__all__ = [
    "LEVELS",
    "STRICT",
    "Estimate",
    "GenuineComparisons",
    "ImageSet",
    "ImpostorTail",
    "compare_genuine",
    "compare_impostors",
    "resample_people",
]

MAX_IMAGES = 4_000
"""Images of an image set that are compared with those of other people; the rest is dropped."""
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""How JSON is read: no unknown fields, finite numbers only."""
LEVELS = tuple(10.0 ** (-exponent / 2) for exponent in range(4, 19))
"""False match rates whose thresholds are stored: 1e-2, 10^-2.5, 1e-3 and so on to 1e-9."""
TAIL = 0.02
"""Share of the impostor comparisons, those of the highest scores, that the tail is fitted to."""
MIN_OBSERVED = 10
"""A false match rate counts as observed, not extrapolated, if at least this many pairs of people
exceed its threshold."""

_INTERVAL = (0.025, 0.975)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated number with its 95 % confidence interval over people."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """Labelled images on one side of a comparison.

    Attributes:
        values: Unit features, float32 ``[n, d]``.
        person: Index of each image's person in the list of all people, int64 ``[n]``.
        camera: Number of each image's camera, int64 ``[n]``; 0 where unknown.
        people: Length of the list of all people.
    """

    values: NDArray[np.float32]
    person: Ints
    camera: Ints
    people: int

    @classmethod
    def empty(cls, people: int) -> Self:
        """A set without images."""
        none = np.empty(0, dtype=np.int64)
        return cls(np.empty((0, 1), dtype=np.float32), none, none, people)

    @property
    def images(self) -> Ints:
        """Number of images of each person, int64 ``[people]``."""
        return np.bincount(self.person, minlength=self.people)

    @property
    def people_shown(self) -> int:
        """Number of people with at least one image."""
        return int(np.count_nonzero(self.images))

    def subsample(self) -> ImageSet:
        """About ``MAX_IMAGES`` images, evenly spaced, with every person represented."""
        limit = max(1, MAX_IMAGES // max(self.people_shown, 1))
        order = np.argsort(self.person, kind="stable")
        kept = []
        for own in np.split(order, np.cumsum(self.images)[:-1]):
            few = min(limit, len(own))
            kept.append(own[np.linspace(0, len(own) - 1, few).round().astype(np.int64)])
        rows = np.concatenate(kept)
        return ImageSet(self.values[rows], self.person[rows], self.camera[rows], self.people)


def resample_people(people: int, *, resamples: int, seed: int) -> Floats:
    """How often each person occurs in each bootstrap resample, float64 ``[resamples, people]``."""
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(people, np.full(people, 1 / people), size=resamples)
    return counts.astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class ImpostorTail:
    """The ``n`` highest impostor scores of two image sets.

    Attributes:
        start: All scores of at least this are included.
        score: The scores, descending, float64 ``[n]``.
        image: Indices of the compared images in the subsampled first and second set, int64
            ``[2, n]``.
        person: The people they show, int64 ``[2, n]``.
        images: Number of images of each person in either set, float64 ``[2, people]``.
    """

    start: float
    score: Floats
    image: Ints
    person: Ints
    images: Floats

    def thresholds(self, resamples: Floats) -> list[Estimate]:
        """The threshold at each false match rate of ``LEVELS``.

        Args:
            resamples: Bootstrap resamples, float64 ``[resamples, people]``.
        """
        return _bootstrap(self._fit, resamples)

    def observed_fmr(self) -> float:
        """The smallest observed false match rate; thresholds of smaller ones are extrapolated."""
        everyone = np.ones(self.images.shape[1])
        weights = self._weights(everyone)[: self._rank_of_pair(MIN_OBSERVED)]
        return float(weights.sum() / self._total_weight(everyone))

    def effective_images(self, side: int, resamples: Floats) -> Estimate:
        """Effective number of images of one person: as how many independent images they count.

        This is how many times as often at least one image of the person exceeds a high threshold
        as a single one does: 1 if all were copies of one image, their number if they were
        independent. It is measured at the score that ``10 * MIN_OBSERVED`` pairs of people exceed,
        because the dependence falls with the threshold.

        Args:
            side: 0 for the first image set, 1 for the second.
            resamples: Bootstrap resamples, float64 ``[resamples, people]``.
        """
        top = slice(0, self._rank_of_pair(10 * MIN_OBSERVED))
        person, image = self.person[side, top], self.image[1 - side, top]
        # One image against all of one person counts once, however many of them it matches.
        _, first = np.unique(image * self.images.shape[1] + person, return_index=True)

        def ratio(counts: Floats) -> Floats:
            single = self._weights(counts)[top]
            grouped = single[first] * self.images[side, person[first]]
            return np.atleast_1d(grouped.sum() / max(single.sum(), np.finfo(float).tiny))

        return _bootstrap(ratio, resamples)[0]

    def _rank_of_pair(self, pairs: int) -> int:
        """How many of the highest scores it takes to include this many pairs of people."""
        low, high = np.sort(self.person, axis=0)
        _, first = np.unique(low * self.images.shape[1] + high, return_index=True)
        return int(np.sort(first)[:pairs][-1]) + 1

    def _weights(self, counts: Floats) -> Floats:
        """Weight of each score, given how often each person counts, ``[people]``."""
        one, other = counts / np.maximum(self.images, 1)
        weights: Floats = one[self.person[0]] * other[self.person[1]]
        return weights

    def _total_weight(self, counts: Floats) -> float:
        """Weight of all comparisons, including those below the tail."""
        one, other = counts * (self.images > 0)
        return float(one.sum() * other.sum() - one @ other)

    def _fit(self, counts: Floats) -> Floats:
        """Thresholds ``[levels]``, given how often each person counts, ``[people]``."""
        weights = self._weights(counts)
        total = max(weights.sum(), np.finfo(float).tiny)
        excess = self.score - self.start
        above = (np.cumsum(weights) - weights / 2) / total
        a0 = weights @ excess / total
        a1 = weights @ (excess * above) / total
        spread = a0 - 2 * a1
        if spread <= 0:  # all scores of the tail are equal
            return np.full(len(LEVELS), self.start + a0)
        k, scale = a0 / spread - 2, 2 * a0 * a1 / spread
        # Nothing is known below the start of the tail; using the start there is conservative.
        log_share = np.minimum(np.log(LEVELS) - np.log(total / self._total_weight(counts)), 0.0)
        quantile = -log_share if abs(k) < 1e-9 else -np.expm1(k * log_share) / k
        fitted: Floats = self.start + scale * quantile
        return fitted


def compare_impostors(first: ImageSet, second: ImageSet) -> ImpostorTail:
    """Compare images of different people.

    Args:
        first: Some images.
        second: Others, or the same.

    Returns:
        About the share ``TAIL`` of all comparisons of different people, with at most about
        ``MAX_IMAGES`` images in either set.
    """
    first, second = first.subsample(), second.subsample()
    scores = first.values @ second.values.T
    different = first.person[:, None] != second.person
    among = scores[different]
    rank = int(len(among) * (1 - TAIL))
    start = np.partition(among, rank)[rank]
    row, column = np.nonzero((scores >= start) & different)
    order = np.argsort(-scores[row, column], kind="stable")
    row, column = row[order], column[order]
    return ImpostorTail(
        start=float(start),
        score=scores[row, column].astype(np.float64),
        image=np.stack([row, column]),
        person=np.stack([first.person[row], second.person[column]]),
        images=np.stack([first.images, second.images]).astype(np.float64),
    )


@dataclass(frozen=True, slots=True, eq=False)
class GenuineComparisons:
    """Mated searches: a query compared with images of the same person from one camera.

    Attributes:
        score: Possible best scores, float64 ``[n]``.
        person: The person of each, int64 ``[n]``.
        weight: Probability that each is the best score, float64 ``[n]``; they sum to 1 for each
            query and camera.
    """

    score: Floats
    person: Ints
    weight: Floats

    @property
    def people(self) -> int:
        """Number of people."""
        return len(np.unique(self.person))

    @property
    def searches(self) -> int:
        """Number of comparisons of a query with the images of one camera."""
        return round(float(self.weight.sum()))

    def threshold(self, missed: float, resamples: Floats) -> Estimate:
        """The score that at most a share of searches falls below; every person has equal weight.

        Args:
            missed: The share.
            resamples: Bootstrap resamples, float64 ``[resamples, people]``.
        """
        order = np.argsort(self.score, kind="stable")
        score, person, weight = self.score[order], self.person[order], self.weight[order]
        share = weight / np.bincount(person, weight)[person]

        def quantile(counts: Floats) -> Floats:
            below = np.cumsum(share * counts[person])
            rank = np.searchsorted(below, missed * below[-1], side="right")
            return score[[min(int(rank), len(score) - 1)]]

        return _bootstrap(quantile, resamples)[0]


def compare_genuine(
    query: ImageSet, gallery: ImageSet, *, images: int, other_camera: bool
) -> GenuineComparisons:
    """Compare images of the same person.

    Args:
        query: The queries.
        gallery: The images searched.
        images: The best of this many images of one camera counts, averaged over all choices.
        other_camera: Compare only across two different, known cameras: frames of one tracklet are
            more similar than images of another day.
    """
    scores, people, weights = [np.empty(0)], [np.empty(0, dtype=np.int64)], [np.empty(0)]
    for person in np.intersect1d(query.person, gallery.person):
        own_queries, own_images = query.person == person, gallery.person == person
        similarity = query.values[own_queries] @ gallery.values[own_images].T
        for camera in np.unique(gallery.camera[own_images]):
            columns = gallery.camera[own_images] == camera
            count = int(columns.sum())
            if count < images:
                continue
            rows = np.ones(len(similarity), dtype=np.bool_)
            if other_camera:
                query_camera = query.camera[own_queries]
                rows = (query_camera > 0) & (query_camera != camera) & (camera > 0)
            # The r-th most similar image is the best of a random choice if it is chosen itself
            # and all others of the choice rank below it.
            chance = [math.comb(count - 1 - r, images - 1) for r in range(count - images + 1)]
            best = -np.sort(-similarity[rows][:, columns], axis=1)[:, : len(chance)]
            scores.append(best.ravel().astype(np.float64))
            people.append(np.full(best.size, person))
            weights.append(np.tile(np.array(chance) / math.comb(count, images), len(best)))
    return GenuineComparisons(
        np.concatenate(scores), np.concatenate(people), np.concatenate(weights)
    )


def _bootstrap(statistic: Callable[[Floats], Floats], resamples: Floats) -> list[Estimate]:
    """A vector statistic of the sample, with percentile intervals over the resamples."""
    values = statistic(np.ones(resamples.shape[1]))
    low, high = np.quantile([statistic(counts) for counts in resamples], _INTERVAL, axis=0)
    return [Estimate(*map(float, three)) for three in zip(values, low, high, strict=True)]
