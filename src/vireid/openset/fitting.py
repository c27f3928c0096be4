"""Learning from labelled images how much a network's similarities say of who is who.

Everything is learnt from pairs of images: of different people (how alike are they at most) and of
one person (how unlike). What is learnt of two cameras holds for them; what is learnt of all cameras
of two modalities together is taken where two cameras have seen too few people, or are not known.
Nothing is carried from one pair of modalities to another: to a network, two people in visible light
are more alike than one of them in visible light and the other in infrared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, product

import numpy as np
from numpy.typing import NDArray

from vireid.errors import EvaluationError, first_few
from vireid.openset import tail as tails
from vireid.openset.calibration import Calibration
from vireid.openset.statistics import (
    Frames,
    GenuineScores,
    ImpostorScores,
    View,
    check_rates,
    sides_of,
)
from vireid.openset.tail import Side, Tail
from vireid.openset.validation import Measured, measure
from vireid.types import Features, Modality

__all__ = ["DRAWS", "MIN_PAIRS", "MIN_PEOPLE", "calibrate", "check"]

MIN_PEOPLE = 30
"""Fewer people than this, in either view, say too little of others."""
MIN_PAIRS = 5_000
"""Fewer pairs of images of different people than this leave too few in the tail."""
DRAWS = 400
"""Bootstrap draws."""

_SEED = 0


def calibrate(
    features: Features,
    *,
    fingerprint: str,
    cameras: Mapping[int, str] | None = None,
    false_match: float = 0.01,
    missed: float = 0.05,
    own_images: int = 1,
    draws: int = DRAWS,
) -> Calibration:
    """Learn the thresholds of verdicts from labelled images.

    The people must not be those that the network was trained on: it tells them apart far better
    than others, so that the thresholds would be wrong for everybody else.

    Args:
        features: Features of labelled images.
        fingerprint: Short name of the weights of the network that made them.
        cameras: What a gallery calls the cameras, by number; by default their numbers.
        false_match: At most this share of the searches for people who are not in a gallery may be
            called a likely match.
        missed: At most this share of the searches for people who are there may be called probably
            not there.
        own_images: Of somebody who is there, a gallery has at least so many images from one camera;
            the more, the more often it can be said of others that they are not there.
        draws: Bootstrap draws for the intervals.

    Returns:
        The calibration; the same images give the same.

    Raises:
        ConfigError: A rate is not between 0 and 0.5, or ``own_images`` is less than 1.
        EvaluationError: There are too few people or images, a feature is damaged, or they were
            made with test-time augmentation, which a gallery's are not.
    """
    check_rates(false_match, missed, own_images)
    _require_plain(features)
    people = len(np.unique(features.identities))
    learner = _Learner(
        sides=sides_of(features, cameras or {}),
        drawn=tails.draw_people(people, draws=draws, seed=_SEED),
        missed=missed,
        own_images=own_images,
    )
    impostors: list[ImpostorScores] = []
    mates: list[GenuineScores] = []
    frames: list[Frames] = []
    for one, other in combinations_with_replacement(sorted(Modality), 2):
        first, second = View(one), View(other)
        tail = learner.tail(first, second)
        own = [learner.mates(*views) for views in _orders(first, second)]
        if tail is None or None in own:
            if one is not other:
                raise EvaluationError(learner.too_little(first, second, people))
            continue
        impostors.append(learner.impostors(first, second, tail))
        mates += [found for found in own if found is not None]
        frames.append(learner.frames(one, other, tail, side=1))
        if one is not other:
            frames.append(learner.frames(other, one, tail, side=0))
        for pair in learner.cameras(one, other):
            if (tail := learner.tail(*pair)) is not None:
                impostors.append(learner.impostors(*pair, tail))
            own = [learner.mates(*views) for views in _orders(*pair)]
            mates += [found for found in own if found is not None]
    return Calibration(
        fingerprint=fingerprint,
        false_match=false_match,
        missed=missed,
        own_images=own_images,
        people=people,
        images=len(features.records),
        impostors=tuple(impostors),
        mates=tuple(mates),
        frames=tuple(frames),
    )


def check(
    features: Features,
    *,
    fingerprint: str,
    sizes: Sequence[int],
    cameras: Mapping[int, str] | None = None,
    false_match: float = 0.01,
    missed: float = 0.05,
    own_images: int = 1,
    people_known: bool = True,
) -> list[Measured]:
    """Calibrate on one half of the people, search for the other half, and the other way round.

    Args:
        features: Features of labelled images.
        fingerprint: As in :func:`calibrate`.
        sizes: People in a gallery; those beyond nine tenths of a half are left out.
        cameras: As there.
        false_match: As there.
        missed: As there.
        own_images: As there.
        people_known: Tell the verdicts how many people are in the gallery, as labels would.

    Returns:
        What was measured, by direction and size.

    Raises:
        ConfigError: A rate is not between 0 and 0.5.
        EvaluationError: There are too few people for two halves.
    """
    everyone = np.unique(features.identities)
    if len(everyone) < 2 * MIN_PEOPLE:
        raise EvaluationError(
            f"{len(everyone)} people cannot be halved to check a calibration; expected at least "
            f"{2 * MIN_PEOPLE}: add labelled images of people whom the network was not trained on."
        )
    shuffled = np.random.default_rng(_SEED).permutation(everyone)
    halves = [_only(features, half) for half in np.array_split(shuffled, 2)]
    folds = [
        (
            calibrate(
                learnt,
                fingerprint=fingerprint,
                cameras=cameras,
                false_match=false_match,
                missed=missed,
                own_images=own_images,
            ),
            searched,
        )
        for learnt, searched in (halves, halves[::-1])
    ]
    return measure(folds, sizes=sizes, cameras=cameras, people_known=people_known)


@dataclass(frozen=True, slots=True, eq=False)
class _Learner:
    """Learns from two views at a time.

    Attributes:
        sides: The images of each view.
        drawn: Bootstrap draws, float64 ``[draws, people]``.
        missed: As in :func:`calibrate`.
        own_images: The same.
    """

    sides: Mapping[View, Side]
    drawn: NDArray[np.float64]
    missed: float
    own_images: int

    def cameras(self, one: Modality, other: Modality) -> Iterator[tuple[View, View]]:
        """Every two cameras of two modalities, each pair once."""
        firsts, seconds = (
            sorted(view for view in self.sides if view.modality is modality and view.camera)
            for modality in (one, other)
        )
        if one is other:
            return combinations_with_replacement(firsts, 2)
        return product(firsts, seconds)

    def tail(self, one: View, other: View) -> Tail | None:
        """The most similar images of different people; None where there are too few."""
        people, pairs = self._different(one, other)
        if people < MIN_PEOPLE or pairs < MIN_PAIRS:
            return None
        return tails.impostors(self.sides[one], self.sides[other])

    def impostors(self, one: View, other: View, tail: Tail) -> ImpostorScores:
        """What the tail says."""
        people, pairs = self._different(one, other)
        return ImpostorScores(
            first=one,
            second=other,
            people=people,
            pairs=pairs,
            likely=tuple(tail.thresholds(self.drawn)),
            seen=tail.seen(),
        )

    def frames(self, query: Modality, searched: Modality, tail: Tail, *, side: int) -> Frames:
        """What several images of one person count, on one side of a tail."""
        images = tail.images[side]
        return Frames(
            query=query,
            searched=searched,
            images=float(images[images > 0].mean()),
            independent=tail.independent(side, self.drawn),
        )

    def mates(self, query: View, searched: View) -> GenuineScores | None:
        """What images of one person say; None where there are too few people."""
        found = self._own(query, searched)
        if found.people < MIN_PEOPLE:
            return None
        return GenuineScores(
            query=query,
            searched=searched,
            people=found.people,
            searches=found.searches,
            unlike=found.floor(self.missed, self.drawn),
        )

    def too_little(self, one: View, other: View, everyone: int) -> str:
        """What is missing, for a message."""
        _, pairs = self._different(one, other)
        both = min(self._own(*views).people for views in _orders(one, other))
        each = f" with at least {self.own_images} images from a camera" * (self.own_images > 1)
        return (
            f"Of {everyone} people {both} are seen in both modalities{each}, and their images make "
            f"{pairs:,} {one}-{other} pairs of different people; expected at least {MIN_PEOPLE} "
            f"people and {MIN_PAIRS:,} pairs to calibrate with: add labelled images of people whom "
            f"the network was not trained on ({MIN_PEOPLE} people with three visible and two "
            "infrared images each are just enough; with 100 and more the thresholds are less "
            "cautious)."
        )

    def _different(self, one: View, other: View) -> tuple[int, int]:
        """How many people the view with fewer shows, and how many pairs of different people."""
        first, second = self._side(one), self._side(other)
        pairs = len(first.person) * len(second.person) - int(first.images @ second.images)
        # Within one view every pair is there in both orders.
        return min(first.shown, second.shown), pairs // 2 if one == other else pairs

    def _own(self, query: View, searched: View) -> tails.Genuine:
        return tails.genuine(
            self._side(query),
            self._side(searched),
            images=self.own_images,
            other_camera=query.modality is searched.modality,
        )

    def _side(self, view: View) -> Side:
        return self.sides.get(view) or Side.empty(self.drawn.shape[1])


def _orders(one: View, other: View) -> list[tuple[View, View]]:
    """Two views as query and searched, and the other way round if that is another search."""
    return list(dict.fromkeys([(one, other), (other, one)]))


def _require_plain(features: Features) -> None:
    """Refuse features that are none, damaged, or unlike a gallery's."""
    if not features.records:
        raise EvaluationError(
            f"There is no image to calibrate with; expected labelled images of at least "
            f"{MIN_PEOPLE} people whom the network was not trained on."
        )
    if features.augmentation != "none":
        raise EvaluationError(
            f"These features were made with test-time augmentation "
            f"('{features.augmentation}'), which a gallery's are not; encode without it."
        )
    norms = np.linalg.norm(features.values.astype(np.float64), axis=-1)
    damaged = np.flatnonzero(~(np.abs(norms - 1) < 1e-3))
    if len(damaged):
        paths = (features.records[row].path for row in damaged)
        raise EvaluationError(
            f"The features of {first_few(paths)} are not of length 1 (the first: "
            f"{norms[damaged[0]]:g}); expected unit features: encode these images again."
        )


def _only(features: Features, people: NDArray[np.int64]) -> Features:
    """The images of some people."""
    rows = np.flatnonzero(np.isin(features.identities, people))
    records = tuple(features.records[row] for row in rows)
    return Features(features.values[rows], records, features.augmentation)
