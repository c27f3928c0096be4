"""Similarities of pairs of images, with the people in them: what thresholds are learnt from.

Of impostor pairs (two different people) only the highest similarities matter: above which one lies
a share p of all pairs. Where too few pairs are left to count them, the excess y over a high
similarity follows a generalised Pareto distribution (Pickands, Annals of Statistics 3(1), 1975),
fitted here by probability-weighted moments (Hosking and Wallis, Technometrics 29(3), 1987):

    P(excess > y) = (1 - k y / s)^(1 / k)
    k = a0 / (a0 - 2 a1) - 2,  s = 2 a0 a1 / (a0 - 2 a1),  a0 = E[y],  a1 = E[y P(excess > y)]

Every pair of people counts the same, however many images they have. The pairs of one person are no
independent sample, so intervals come from a bootstrap over people: a draw takes people with
replacement, and a pair of people counts as often as both were drawn (the vertex bootstrap of
Snijders and Borgatti, Connections 22(2), 1999; for biometrics, Bolle, Ratha and Pankanti, Computer
Vision and Image Understanding 93(1), 2004).
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
    "Genuine",
    "Side",
    "Tail",
    "draw_people",
    "genuine",
    "impostors",
]

IMAGES = 4_000
"""Images of a side among which similarities to other people are looked at; the rest is thinned."""
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""How text is read back: nothing unknown, and no number that is none."""
LEVELS = tuple(10.0 ** (-exponent / 2) for exponent in range(4, 19))
"""Shares of impostor pairs whose thresholds are kept: 1e-2, 10^-2.5, 1e-3 and so on to 1e-9."""
TAIL = 0.02
"""Share of the impostor pairs, the most similar ones, to which the tail is fitted."""
WITNESSES = 10
"""A share counts as seen, not extrapolated, where so many pairs of people lie beyond it."""

_INTERVAL = (0.025, 0.975)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number that was estimated, with its 95 % interval over people."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """Images on one side of a comparison.

    Attributes:
        values: Unit features, float32 ``[n, d]``.
        person: Whom each shows, int64 ``[n]``: a place in the list of all people.
        camera: Which camera took it, int64 ``[n]``; 0 where unknown.
        people: How many people that list has.
    """

    values: NDArray[np.float32]
    person: Ints
    camera: Ints
    people: int

    @classmethod
    def empty(cls, people: int) -> Self:
        """No images of so many people."""
        nobody = np.empty(0, dtype=np.int64)
        return cls(np.empty((0, 1), dtype=np.float32), nobody, nobody, people)

    @property
    def images(self) -> Ints:
        """How many images each person has, int64 ``[people]``."""
        return np.bincount(self.person, minlength=self.people)

    @property
    def shown(self) -> int:
        """How many people have an image."""
        return int(np.count_nonzero(self.images))

    def thinned(self) -> Side:
        """About ``IMAGES`` of them: more frames of the same people say little about others."""
        limit = max(1, IMAGES // max(self.shown, 1))
        order = np.argsort(self.person, kind="stable")
        kept = []
        for own in np.split(order, np.cumsum(self.images)[:-1]):
            few = min(limit, len(own))
            kept.append(own[np.linspace(0, len(own) - 1, few).round().astype(np.int64)])
        rows = np.concatenate(kept)
        return Side(self.values[rows], self.person[rows], self.camera[rows], self.people)


def draw_people(people: int, *, draws: int, seed: int) -> Floats:
    """How often each person is in each bootstrap draw, float64 ``[draws, people]``."""
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(people, np.full(people, 1 / people), size=draws)
    return drawn.astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """The ``n`` highest similarities between images of different people.

    Attributes:
        start: All similarities of at least this are here.
        score: The similarities, descending, float64 ``[n]``.
        image: Which images of the thinned sides they are of, the first and the second, int64
            ``[2, n]``.
        person: Whom these show, int64 ``[2, n]``.
        images: How many images each person has on either side, float64 ``[2, people]``.
    """

    start: float
    score: Floats
    image: Ints
    person: Ints
    images: Floats

    def thresholds(self, drawn: Floats) -> list[Estimate]:
        """The similarity that a share of the impostor pairs exceeds, for each of ``LEVELS``.

        Args:
            drawn: Bootstrap draws, float64 ``[draws, people]``.
        """
        return _estimates(self._fitted, drawn)

    def seen(self) -> float:
        """The smallest share that was seen: beyond it thresholds are extrapolated by the fit."""
        everyone = np.ones(self.images.shape[1])
        weights = self._weights(everyone)[: self._reached_by(WITNESSES)]
        return float(weights.sum() / self._compared(everyone))

    def independent(self, side: int, drawn: Floats) -> Estimate:
        """As how many independent images all images of one person count, on one side.

        That is how many times as often one of them all exceeds a high similarity as one of them
        alone: 1 if they were copies of one image, their number if they were unrelated. It is taken
        at the similarity that ``10 * WITNESSES`` pairs of people reach, since images of one person
        are the less alike in this the higher it is.

        Args:
            side: 0 for the first side, 1 for the second.
            drawn: Bootstrap draws, float64 ``[draws, people]``.
        """
        top = slice(0, self._reached_by(10 * WITNESSES))
        person, image = self.person[side, top], self.image[1 - side, top]
        # One image against all of one person counts once, however many of these it resembles.
        _, places = np.unique(image * self.images.shape[1] + person, return_index=True)

        def ratio(times: Floats) -> Floats:
            single = self._weights(times)[top]
            whole = single[places] * self.images[side, person[places]]
            return np.atleast_1d(whole.sum() / max(single.sum(), np.finfo(float).tiny))

        return _estimates(ratio, drawn)[0]

    def _reached_by(self, pairs: int) -> int:
        """How many of the highest similarities it takes until so many pairs of people are there."""
        low, high = np.sort(self.person, axis=0)
        _, places = np.unique(low * self.images.shape[1] + high, return_index=True)
        return int(np.sort(places)[:pairs][-1]) + 1

    def _weights(self, times: Floats) -> Floats:
        """Weight of each similarity, where each person counts so many times, ``[people]``."""
        one, other = times / np.maximum(self.images, 1)
        weights: Floats = one[self.person[0]] * other[self.person[1]]
        return weights

    def _compared(self, times: Floats) -> float:
        """The weights of all similarities, those below the start too."""
        one, other = times * (self.images > 0)
        return float(one.sum() * other.sum() - one @ other)

    def _fitted(self, times: Floats) -> Floats:
        """Thresholds ``[levels]``, where each person counts so many times, ``[people]``."""
        weights = self._weights(times)
        total = max(weights.sum(), np.finfo(float).tiny)
        excess = self.score - self.start
        above = (np.cumsum(weights) - weights / 2) / total
        a0 = weights @ excess / total
        a1 = weights @ (excess * above) / total
        spare = a0 - 2 * a1
        if spare <= 0:  # all similarities of the tail are equal
            return np.full(len(LEVELS), self.start + a0)
        k, scale = a0 / spare - 2, 2 * a0 * a1 / spare
        # Nothing is known below the tail's start; to stay there asks for more than is needed.
        log_share = np.minimum(np.log(LEVELS) - np.log(total / self._compared(times)), 0.0)
        reach = -log_share if abs(k) < 1e-9 else -np.expm1(k * log_share) / k
        fitted: Floats = self.start + scale * reach
        return fitted


def impostors(first: Side, second: Side) -> Tail:
    """The highest similarities between images of different people.

    Args:
        first: Some images.
        second: Others, or the same.

    Returns:
        About the share ``TAIL`` of all pairs of different people, of ``IMAGES`` a side.
    """
    first, second = first.thinned(), second.thinned()
    scores = first.values @ second.values.T
    other = first.person[:, None] != second.person
    among = scores[other]
    place = int(len(among) * (1 - TAIL))
    start = np.partition(among, place)[place]
    row, column = np.nonzero((scores >= start) & other)
    order = np.argsort(-scores[row, column], kind="stable")
    row, column = row[order], column[order]
    return Tail(
        start=float(start),
        score=scores[row, column].astype(np.float64),
        image=np.stack([row, column]),
        person=np.stack([first.person[row], second.person[column]]),
        images=np.stack([first.images, second.images]).astype(np.float64),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Genuine:
    """How alike images of one person are: a query and the best of some images from one camera.

    Attributes:
        score: Similarities, float64 ``[n]``.
        person: Whom each shows, int64 ``[n]``.
        weight: Chance of each to be the best, float64 ``[n]``; 1 in all for a query and a camera.
    """

    score: Floats
    person: Ints
    weight: Floats

    @property
    def people(self) -> int:
        """How many people there are."""
        return len(np.unique(self.person))

    @property
    def searches(self) -> int:
        """How many times a query was compared with the images from one camera."""
        return round(float(self.weight.sum()))

    def floor(self, missed: float, drawn: Floats) -> Estimate:
        """The similarity that at most a share falls below; every person counts the same.

        Args:
            missed: The share.
            drawn: Bootstrap draws, float64 ``[draws, people]``.
        """
        order = np.argsort(self.score, kind="stable")
        score, person, weight = self.score[order], self.person[order], self.weight[order]
        share = weight / np.bincount(person, weight)[person]

        def lowest(times: Floats) -> Floats:
            below = np.cumsum(share * times[person])
            place = np.searchsorted(below, missed * below[-1], side="right")
            return score[[min(int(place), len(score) - 1)]]

        return _estimates(lowest, drawn)[0]


def genuine(query: Side, searched: Side, *, images: int, other_camera: bool) -> Genuine:
    """Compare images of one person.

    Args:
        query: Images that are searched with.
        searched: Images that are searched.
        images: The best of so many images from one camera counts, whichever these are.
        other_camera: Only images from another camera than the query's, both known: frames of one
            walk past one camera resemble each other more than images of another day.
    """
    scores, people, weights = [np.empty(0)], [np.empty(0, dtype=np.int64)], [np.empty(0)]
    for person in np.intersect1d(query.person, searched.person):
        asked, shown = query.person == person, searched.person == person
        alike = query.values[asked] @ searched.values[shown].T
        for camera in np.unique(searched.camera[shown]):
            columns = searched.camera[shown] == camera
            there = int(columns.sum())
            if there < images:
                continue
            rows = np.ones(len(alike), dtype=np.bool_)
            if other_camera:
                own = query.camera[asked]
                rows = (own > 0) & (own != camera) & (camera > 0)
            # Where some of them are drawn, the r-th most similar is the best of those drawn if it
            # is drawn itself and the others come from behind it.
            chance = [math.comb(there - 1 - r, images - 1) for r in range(there - images + 1)]
            best = -np.sort(-alike[rows][:, columns], axis=1)[:, : len(chance)]
            scores.append(best.ravel().astype(np.float64))
            people.append(np.full(best.size, person))
            weights.append(np.tile(np.array(chance) / math.comb(there, images), len(best)))
    return Genuine(np.concatenate(scores), np.concatenate(people), np.concatenate(weights))


def _estimates(reckon: Callable[[Floats], Floats], drawn: Floats) -> list[Estimate]:
    """Numbers where everybody counts once, with their intervals over the draws."""
    values = reckon(np.ones(drawn.shape[1]))
    low, high = np.quantile([reckon(times) for times in drawn], _INTERVAL, axis=0)
    return [Estimate(*map(float, three)) for three in zip(values, low, high, strict=True)]
