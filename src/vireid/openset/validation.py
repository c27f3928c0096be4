"""Validation of a calibration: the rates of each verdict on people who were held out of it.

Every image of a person is searched in galleries of a given number of other people with all their
images, without the person (non-mated searches) and with them (mated searches). Nothing is sampled,
since the mean over all such galleries is known exactly: among n people of whom c would change the
answer, N drawn at random contain none of these with probability C(n - c, N) / C(n, N). Confidence
intervals (95 %) come from a jackknife over people, who are left out one at a time from queries and
galleries (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11); a bootstrap
would put a person into a gallery twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from vireid.openset.calibration import Calibration
from vireid.openset.statistics import CameraView, group_by_view
from vireid.openset.tail import Estimate
from vireid.types import Features, Modality

__all__ = ["OutcomeRates", "Validation", "validate"]

_NORMAL_975 = 1.96

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class OutcomeRates:
    """Share of searches with each outcome; every person has equal weight.

    Attributes:
        likely: Called a likely match.
        uncertain: Called uncertain.
        absent: Called probably not in this gallery.
        correct: Of those called a likely match, the share whose best likely hit shows the person
            who was searched for.
    """

    likely: Estimate
    uncertain: Estimate
    absent: Estimate
    correct: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Searches in one direction, in galleries of one size.

    Attributes:
        query: Modality of the queries.
        gallery: Modality of the gallery.
        size: Number of people in a gallery.
        images: Number of images in a gallery, on average.
        people: Number of people searched for.
        searches: Number of queries.
        non_mated: Rates of searches for people who are not in the gallery; ``correct`` is 0.
        mated: Rates of searches for people who are.
    """

    query: Modality
    gallery: Modality
    size: int
    images: int
    people: int
    searches: int
    non_mated: OutcomeRates
    mated: OutcomeRates


def validate(
    folds: Sequence[tuple[Calibration, Features]],
    *,
    sizes: Sequence[int],
    cameras: Mapping[int, str] | None = None,
    people_known: bool = True,
) -> list[Validation]:
    """Search for people who were held out of the calibration.

    Args:
        folds: Calibrations, each with the features of the people held out of it.
        sizes: Numbers of people in a gallery; those above nine tenths of the people are skipped.
        cameras: Names of the cameras in the gallery, by number.
        people_known: Pass the number of people in the gallery to the calibration.

    Returns:
        The measured rates, by direction and size.
    """
    found = []
    # Across modalities first.
    for query, gallery in sorted(product(Modality, Modality), key=lambda two: two[0] is two[1]):
        searches = [
            _Searches.of(calibration, features, query, gallery, cameras or {})
            for calibration, features in folds
        ]
        calibrated = [one for one in searches if one is not None]
        if len(calibrated) < len(folds):
            continue
        for size in sizes:
            if all(size <= 0.9 * one.people for one in calibrated):
                found.append(_measure(calibrated, size, people_known=people_known))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Searches:
    """All searches in one direction among some people.

    Attributes:
        calibration: The calibration that decides on them.
        query: Modality of the queries.
        gallery: Modality of the gallery.
        person: Person of each query, int64 ``[q]``: an index into the list of people.
        views: View of each query, ``[q]``.
        best: The highest score of each query with the images of each person from one view,
            float32 ``[q, people]`` by view; -inf where there is none.
        images: Number of images of each person in the gallery, float64 ``[people]``.
    """

    calibration: Calibration
    query: Modality
    gallery: Modality
    person: NDArray[np.int64]
    views: NDArray[np.object_]
    best: Mapping[CameraView, NDArray[np.float32]]
    images: Floats

    @property
    def people(self) -> int:
        """Number of people who can be in a gallery."""
        return int(np.count_nonzero(self.images))

    @classmethod
    def of(
        cls,
        calibration: Calibration,
        features: Features,
        query: Modality,
        gallery: Modality,
        cameras: Mapping[int, str],
    ) -> _Searches | None:
        """The searches; None where there are none, or the direction is not calibrated."""
        views = group_by_view(features, cameras)
        pair = CameraView(query), CameraView(gallery)
        if calibration.non_match_threshold(*pair) is None or not views.keys() >= set(pair):
            return None
        queries, images = views[pair[0]].subsample(), views[pair[1]]
        scores = queries.values @ images.values.T
        if query is gallery:
            # Neither the query itself nor other frames of its camera: no real search is that easy.
            same_camera = queries.camera[:, None] == images.camera
            scores[(queries.person[:, None] == images.person) & same_camera] = -np.inf
        best = {}
        image_views = _views(images.camera, gallery, cameras)
        for view in set(image_views):
            best[view] = np.full((len(scores), images.people), -np.inf, dtype=np.float32)
            for person in np.unique(images.person[image_views == view]):
                columns = (images.person == person) & (image_views == view)
                best[view][:, person] = scores[:, columns].max(axis=1)
        return cls(
            calibration=calibration,
            query=query,
            gallery=gallery,
            person=queries.person,
            views=_views(queries.camera, query, cameras),
            best=best,
            images=images.images.astype(np.float64),
        )

    def gallery_images(self, size: int) -> int:
        """Number of images of a number of people, on average."""
        return round(size * float(self.images.sum()) / self.people)

    def judge(self, size: int, *, people_known: bool) -> tuple[Bools, Bools, Floats]:
        """Judge each query against each person in a gallery of a given size.

        Returns:
            Whether one of the person's images is a likely match, and whether one is not below the
            non-match threshold, ``[q, people]`` each; and the score of the best likely image, -inf
            where there is none, ``[q, people]``.
        """
        shape = next(iter(self.best.values())).shape
        likely, possible = np.zeros((2, *shape), dtype=np.bool_)
        lead = np.full(shape, -np.inf)
        images = {self.gallery: self.gallery_images(size)}
        for query_view in set(self.views):
            rows = np.flatnonzero(self.views == query_view)
            for view, scores in self.best.items():
                high = self.calibration.match_threshold(
                    query_view, view, images=images, people=size if people_known else None
                )
                low = self.calibration.non_match_threshold(query_view, view)
                assert high is not None  # the direction is calibrated
                assert low is not None
                own = scores[rows]
                likely[rows] |= own >= high.high
                possible[rows] |= own >= min(low.low, high.high)
                lead[rows] = np.maximum(lead[rows], np.where(own >= high.high, own, -np.inf))
        return likely, possible, lead


def _views(
    camera: NDArray[np.int64], modality: Modality, cameras: Mapping[int, str]
) -> NDArray[np.object_]:
    """The view of each image."""
    views = np.empty(len(camera), dtype=np.object_)
    views[:] = [CameraView.of(modality, int(number), cameras) for number in camera]
    return views


def _measure(folds: Sequence[_Searches], size: int, *, people_known: bool) -> Validation:
    by_fold = [_sums(fold, size, people_known=people_known) for fold in folds]
    total = sum((sums[..., :1] for sums in by_fold), start=np.zeros((2, 5, 1)))
    # A person who is left out is missing in one fold only.
    without = [total + sums[..., 1:] - sums[..., :1] for sums in by_fold]
    non_mated, mated = np.concatenate([total, *without], axis=2)
    return Validation(
        query=folds[0].query,
        gallery=folds[0].gallery,
        size=size,
        images=round(sum(fold.gallery_images(size) for fold in folds) / len(folds)),
        people=sum(len(np.unique(fold.person)) for fold in folds),
        searches=sum(len(fold.person) for fold in folds),
        non_mated=_rates(non_mated),
        mated=_rates(mated),
    )


def _sums(fold: _Searches, size: int, *, people_known: bool) -> Floats:
    """Sums over non-mated and mated searches.

    Returns:
        Sums of likely, uncertain, absent, correct and of all, float64 ``[2, 5, 1 + people]``: over
        everybody, then without each person.
    """
    likely, possible, lead = fold.judge(size, people_known=people_known)
    everyone = len(fold.images)
    present = np.concatenate([np.ones((everyone, 1)), 1 - np.eye(everyone)], axis=1)
    in_gallery = present * (fold.images > 0)[:, None]
    own = np.arange(len(fold.person)), fold.person
    is_mated = np.stack([best[own] for best in fold.best.values()]).max(axis=0) > -np.inf
    own_likely, own_possible = likely[own][:, None], possible[own][:, None]
    ahead = lead >= lead[own][:, None]
    for marked in (likely, possible, ahead):
        marked[own] = False
    others = in_gallery.sum(axis=0) - in_gallery[fold.person]

    def none_of(marked: Bools, drawn: int) -> Floats:
        return _probability_of_none(marked.astype(np.float64) @ in_gallery, others, drawn)

    def summed(rows: Bools, likely: Floats, absent: Floats, correct: Floats) -> Floats:
        searches = np.bincount(fold.person[rows], minlength=everyone)
        weight = present[fold.person] / np.maximum(searches, 1)[fold.person][:, None]
        parts = (likely, 1 - likely - absent, absent, correct, np.ones_like(likely))
        return np.stack([(weight * part)[rows].sum(axis=0) for part in parts])

    non_mated = summed(
        np.ones_like(is_mated),
        likely=1 - none_of(likely, size),
        absent=none_of(possible, size),
        correct=np.zeros_like(others),
    )
    mated = summed(
        is_mated,
        likely=1 - np.where(own_likely, 0.0, none_of(likely, size - 1)),
        absent=np.where(own_possible, 0.0, none_of(possible, size - 1)),
        correct=np.where(own_likely, none_of(ahead, size - 1), 0.0),
    )
    return np.stack([non_mated, mated])


def _probability_of_none(marked: Floats, people: Floats, drawn: int) -> Floats:
    """Probability that none of ``drawn`` random people is marked (hypergeometric)."""
    unmarked = people - marked
    enough = unmarked >= drawn
    safe = np.where(enough, unmarked, drawn)
    logarithm = (
        gammaln(safe + 1)
        - gammaln(safe - drawn + 1)
        - gammaln(people + 1)
        + gammaln(people - drawn + 1)
    )
    probability: Floats = np.where(enough, np.exp(np.minimum(logarithm, 0.0)), 0.0)
    return probability


def _rates(sums: Floats) -> OutcomeRates:
    likely, uncertain, absent, correct, number = sums
    return OutcomeRates(
        likely=_estimate(likely, number),
        uncertain=_estimate(uncertain, number),
        absent=_estimate(absent, number),
        correct=_estimate(correct, likely),
    )


def _estimate(part: Floats, whole: Floats) -> Estimate:
    """A ratio, 0 where the denominator is, with its jackknife interval."""
    ratio = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    value, without = float(ratio[0]), ratio[1:]
    half = _NORMAL_975 * float(np.sqrt((len(without) - 1) * without.var()))
    return Estimate(value, max(0.0, value - half), min(1.0, value + half))
