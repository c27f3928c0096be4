"""Calibration: estimate the thresholds of a network's scores from labelled images.

Statistics of two cameras hold for these; those of all cameras of two modalities together are used
where two cameras have too few people, or are unknown. Nothing is transferred from one pair of
modalities to another: to a network, two people in visible light look more alike than one of them in
visible light and the other in infrared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, product

import numpy as np
from numpy.typing import NDArray

from vireid.errors import EvaluationError, first_few, many
from vireid.openset.calibration import Calibration
from vireid.openset.statistics import (
    CameraView,
    EffectiveImages,
    ErrorRates,
    GenuineScores,
    ImpostorScores,
    group_by_view,
)
from vireid.openset.tail import (
    GenuineComparisons,
    ImageSet,
    ImpostorTail,
    compare_genuine,
    compare_impostors,
    resample_people,
)
from vireid.openset.validation import Validation, validate
from vireid.types import Features, Modality

__all__ = ["DEFAULT_RATES", "MIN_PAIRS", "MIN_PEOPLE", "RESAMPLES", "calibrate", "cross_validate"]

MIN_PEOPLE = 30
"""Fewer people in either view do not represent others."""
MIN_PAIRS = 5_000
"""Fewer image pairs of different people leave too few in the tail."""
RESAMPLES = 400
"""Bootstrap resamples."""
DEFAULT_RATES = ErrorRates()

_SEED = 0


def calibrate(
    features: Features,
    *,
    fingerprint: str,
    cameras: Mapping[int, str] | None = None,
    rates: ErrorRates = DEFAULT_RATES,
    resamples: int = RESAMPLES,
) -> Calibration:
    """Estimate the thresholds of verdicts from labelled images.

    The people must not be those that the network was trained on: it separates them far better
    than others, so the thresholds would be wrong for everybody else.

    Args:
        features: Features of labelled images.
        fingerprint: Fingerprint of the weights of the network that made them.
        cameras: Names of the cameras in the gallery, by number; their numbers by default.
        rates: Allowed error rates of the verdicts.
        resamples: Bootstrap resamples for the confidence intervals.

    Returns:
        The calibration; deterministic.

    Raises:
        EvaluationError: There are too few people or images, a feature is damaged, or the features
            were made with test-time augmentation, unlike those of a gallery.
    """
    _check_features(features)
    people = len(np.unique(features.identities))
    estimator = _Estimator(
        views=group_by_view(features, cameras or {}),
        resamples=resample_people(people, resamples=resamples, seed=_SEED),
        rates=rates,
    )
    impostors: list[ImpostorScores] = []
    genuine: list[GenuineScores] = []
    effective: list[EffectiveImages] = []
    for one, other in combinations_with_replacement(sorted(Modality), 2):
        first, second = CameraView(one), CameraView(other)
        tail = estimator.tail(first, second)
        own = [estimator.genuine(*views) for views in _directions(first, second)]
        if tail is None or None in own:
            if one is not other:
                raise EvaluationError(estimator.insufficient(first, second, people))
            continue
        impostors.append(estimator.impostors(first, second, tail))
        genuine += [scores for scores in own if scores is not None]
        effective.append(estimator.effective_images(one, other, tail, side=1))
        if one is not other:
            effective.append(estimator.effective_images(other, one, tail, side=0))
        for pair in estimator.camera_pairs(one, other):
            if (tail := estimator.tail(*pair)) is not None:
                impostors.append(estimator.impostors(*pair, tail))
            own = [estimator.genuine(*views) for views in _directions(*pair)]
            genuine += [scores for scores in own if scores is not None]
    return Calibration(
        fingerprint=fingerprint,
        rates=rates,
        people=people,
        images=len(features.records),
        impostors=tuple(impostors),
        genuine=tuple(genuine),
        effective_images=tuple(effective),
    )


def cross_validate(
    features: Features,
    *,
    fingerprint: str,
    sizes: Sequence[int],
    cameras: Mapping[int, str] | None = None,
    rates: ErrorRates = DEFAULT_RATES,
    people_known: bool = True,
) -> list[Validation]:
    """Two-fold cross-validation over people: calibrate on one half, search for the other half.

    Args:
        features: Features of labelled images.
        fingerprint: As in :func:`calibrate`.
        sizes: Numbers of people in a gallery; those above nine tenths of a half are skipped.
        cameras: As in :func:`calibrate`.
        rates: As there.
        people_known: Pass the number of people in the gallery to the calibration, as if the gallery
            were labelled.

    Returns:
        The measured rates, by direction and size.

    Raises:
        EvaluationError: There are too few people for two halves.
    """
    everyone = np.unique(features.identities)
    if len(everyone) < 2 * MIN_PEOPLE:
        raise EvaluationError(
            f"{many(len(everyone), 'person', 'people')} cannot be halved to check a calibration;"
            " expected"
            f" at least {2 * MIN_PEOPLE}: add labelled images of people whom the network was not"
            " trained on."
        )
    shuffled = np.random.default_rng(_SEED).permutation(everyone)
    halves = [_select_people(features, half) for half in np.array_split(shuffled, 2)]
    folds = [
        (calibrate(fitted, fingerprint=fingerprint, cameras=cameras, rates=rates), held_out)
        for fitted, held_out in (halves, halves[::-1])
    ]
    return validate(folds, sizes=sizes, cameras=cameras, people_known=people_known)


@dataclass(frozen=True, slots=True, eq=False)
class _Estimator:
    """Estimates the statistics of two views at a time.

    Attributes:
        views: The images of each view.
        resamples: Bootstrap resamples, float64 ``[resamples, people]``.
        rates: As in :func:`calibrate`.
    """

    views: Mapping[CameraView, ImageSet]
    resamples: NDArray[np.float64]
    rates: ErrorRates

    def camera_pairs(
        self, one: Modality, other: Modality
    ) -> Iterator[tuple[CameraView, CameraView]]:
        """Every two cameras of two modalities, each pair once."""
        firsts, seconds = (
            sorted(view for view in self.views if view.modality is modality and view.camera)
            for modality in (one, other)
        )
        if one is other:
            return combinations_with_replacement(firsts, 2)
        return product(firsts, seconds)

    def tail(self, one: CameraView, other: CameraView) -> ImpostorTail | None:
        """The highest impostor scores; None where there are too few people or pairs."""
        people, pairs = self._count_impostors(one, other)
        if people < MIN_PEOPLE or pairs < MIN_PAIRS:
            return None
        return compare_impostors(self.views[one], self.views[other])

    def impostors(self, one: CameraView, other: CameraView, tail: ImpostorTail) -> ImpostorScores:
        """Statistics of the impostor scores."""
        people, pairs = self._count_impostors(one, other)
        return ImpostorScores(
            first=one,
            second=other,
            people=people,
            pairs=pairs,
            thresholds=tuple(tail.thresholds(self.resamples)),
            observed_fmr=tail.observed_fmr(),
        )

    def effective_images(
        self, query: Modality, gallery: Modality, tail: ImpostorTail, *, side: int
    ) -> EffectiveImages:
        """Effective number of a person's images, on one side of the comparison."""
        images = tail.images[side]
        return EffectiveImages(
            query=query,
            gallery=gallery,
            images=float(images[images > 0].mean()),
            effective=tail.effective_images(side, self.resamples),
        )

    def genuine(self, query: CameraView, gallery: CameraView) -> GenuineScores | None:
        """Statistics of the genuine scores; None where there are too few people."""
        scores = self._compare_genuine(query, gallery)
        if scores.people < MIN_PEOPLE:
            return None
        return GenuineScores(
            query=query,
            gallery=gallery,
            people=scores.people,
            searches=scores.searches,
            threshold=scores.threshold(self.rates.missed, self.resamples),
        )

    def insufficient(self, one: CameraView, other: CameraView, everyone: int) -> str:
        """The error message for too few people or pairs."""
        _, pairs = self._count_impostors(one, other)
        both = min(self._compare_genuine(*views).people for views in _directions(one, other))
        each = f" with at least {self.rates.own_images} images from a camera" * (
            self.rates.own_images > 1
        )
        return (
            f"Of {everyone} people {both} are seen in both modalities{each}, and their images make "
            f"{pairs:,} {one}-{other} pairs of different people; expected at least {MIN_PEOPLE} "
            f"people and {MIN_PAIRS:,} pairs to calibrate with: add labelled images of people whom "
            f"the network was not trained on ({MIN_PEOPLE} people with three visible and two "
            "infrared images each are just enough; with 100 and more the thresholds are less "
            "conservative)."
        )

    def _count_impostors(self, one: CameraView, other: CameraView) -> tuple[int, int]:
        """Number of people in the view with fewer, and of image pairs of different people."""
        first, second = self._images(one), self._images(other)
        pairs = len(first.person) * len(second.person) - int(first.images @ second.images)
        # Within one view every pair occurs in both orders.
        return min(first.people_shown, second.people_shown), pairs // 2 if one == other else pairs

    def _compare_genuine(self, query: CameraView, gallery: CameraView) -> GenuineComparisons:
        return compare_genuine(
            self._images(query),
            self._images(gallery),
            images=self.rates.own_images,
            other_camera=query.modality is gallery.modality,
        )

    def _images(self, view: CameraView) -> ImageSet:
        return self.views.get(view) or ImageSet.empty(self.resamples.shape[1])


def _directions(one: CameraView, other: CameraView) -> list[tuple[CameraView, CameraView]]:
    """Query and gallery view, and the reverse if that is another search."""
    return list(dict.fromkeys([(one, other), (other, one)]))


def _check_features(features: Features) -> None:
    """Refuse features that are missing, damaged, or unlike those of a gallery."""
    if not features.records:
        raise EvaluationError(
            f"There is no image to calibrate with; expected labelled images of at least "
            f"{MIN_PEOPLE} people whom the network was not trained on."
        )
    for what, applied in (
        ("test-time augmentation", features.augmentation),
        ("standardisation", features.standardisation),
    ):
        if applied != "none":
            raise EvaluationError(
                f"These features were made with {what} ('{applied}'), unlike those of a gallery; "
                "extract them without it."
            )
    norms = np.linalg.norm(features.values.astype(np.float64), axis=-1)
    damaged = np.flatnonzero(~(np.abs(norms - 1) < 1e-3))
    if len(damaged):
        paths = (features.records[row].path for row in damaged)
        raise EvaluationError(
            f"The features of {first_few(paths)} are not of length 1 (the first: "
            f"{norms[damaged[0]]:g}); expected unit features: extract these features again."
        )


def _select_people(features: Features, people: NDArray[np.int64]) -> Features:
    """The images of some people."""
    rows = np.flatnonzero(np.isin(features.identities, people))
    records = tuple(features.records[row] for row in rows)
    return Features(features.values[rows], records, features.augmentation)
