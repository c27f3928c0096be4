"""Whether verdicts keep their promise: searches for people whom a calibration never saw.

A search is made with each image of a person, in galleries of so many others with all their images,
without the person and with them. Nothing is drawn for that, since the mean over all such galleries
is known exactly: among n people of whom c would change the answer, N drawn at random hold none of
these in C(n - c, N) / C(n, N) of all cases. Intervals (95 %) come from a jackknife over people, who
are left out one at a time from queries and galleries (Efron and Tibshirani, An Introduction to the
Bootstrap, 1993, chapter 11); a bootstrap would put people into a gallery twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from vireid.openset.calibration import Calibration
from vireid.openset.statistics import View, sides_of
from vireid.openset.tail import Estimate
from vireid.types import Features, Modality

__all__ = ["Measured", "Rates", "measure"]

_NORMAL = 1.96

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rates:
    """How often searches were answered in which way; every person counts the same.

    Attributes:
        likely: Called a likely match.
        uncertain: Called uncertain.
        absent: Called probably not in this gallery.
        right: Of those called a likely match, how often the best likely hit shows the person who
            was searched for.
    """

    likely: Estimate
    uncertain: Estimate
    absent: Estimate
    right: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Searches in one direction, in galleries of one size.

    Attributes:
        query: Modality of the queries.
        searched: Modality of the gallery.
        size: People in a gallery.
        images: Images in a gallery, on average.
        people: How many people were searched for.
        searches: By how many images.
        not_there: Of searches for people who are not in the gallery; ``right`` is 0.
        there: Of searches for people who are.
    """

    query: Modality
    searched: Modality
    size: int
    images: int
    people: int
    searches: int
    not_there: Rates
    there: Rates


def measure(
    folds: Sequence[tuple[Calibration, Features]],
    *,
    sizes: Sequence[int],
    cameras: Mapping[int, str] | None = None,
    people_known: bool = True,
) -> list[Measured]:
    """Search for people whom calibrations have not seen.

    Args:
        folds: Calibrations, each with features of other people, who are searched for.
        sizes: People in a gallery; those beyond nine tenths of the people are left out.
        cameras: What a gallery calls the cameras, by number.
        people_known: Tell the verdicts how many people are in the gallery.

    Returns:
        What was measured, by direction and size.
    """
    found = []
    # Across modalities first.
    for query, searched in sorted(product(Modality, Modality), key=lambda two: two[0] is two[1]):
        fields = [
            _Field.of(calibration, features, query, searched, cameras or {})
            for calibration, features in folds
        ]
        known = [field for field in fields if field is not None]
        if len(known) < len(folds):
            continue
        for size in sizes:
            if all(size <= 0.9 * field.people for field in known):
                found.append(_measured(known, size, people_known=people_known))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Field:
    """All searches in one direction among some people.

    Attributes:
        calibration: What answers them.
        query: Modality of the queries.
        searched: Modality of the gallery.
        owner: Whom each query shows, int64 ``[q]``: a place in the list of people.
        views: Where each query comes from, ``[q]``.
        best: The highest similarity of each query to the images of each person from one view,
            float32 ``[q, people]`` by view; -inf where there is none.
        images: How many images each person has in the gallery, float64 ``[people]``.
    """

    calibration: Calibration
    query: Modality
    searched: Modality
    owner: NDArray[np.int64]
    views: NDArray[np.object_]
    best: Mapping[View, NDArray[np.float32]]
    images: Floats

    @property
    def people(self) -> int:
        """How many people can be in a gallery."""
        return int(np.count_nonzero(self.images))

    @classmethod
    def of(
        cls,
        calibration: Calibration,
        features: Features,
        query: Modality,
        searched: Modality,
        cameras: Mapping[int, str],
    ) -> _Field | None:
        """The searches; None where there are none, or the calibration does not answer them."""
        sides = sides_of(features, cameras)
        if calibration.unlike(View(query), View(searched)) is None or not (
            {View(query), View(searched)} <= sides.keys()
        ):
            return None
        probes, gallery = sides[View(query)].thinned(), sides[View(searched)]
        scores = probes.values @ gallery.values.T
        if query is searched:
            # Neither the query itself nor the frames beside it: no search is that easy.
            beside = probes.camera[:, None] == gallery.camera
            scores[(probes.person[:, None] == gallery.person) & beside] = -np.inf
        best = {}
        views = _views(gallery.camera, searched, cameras)
        for view in set(views):
            best[view] = np.full((len(scores), gallery.people), -np.inf, dtype=np.float32)
            for person in np.unique(gallery.person[views == view]):
                columns = (gallery.person == person) & (views == view)
                best[view][:, person] = scores[:, columns].max(axis=1)
        return cls(
            calibration=calibration,
            query=query,
            searched=searched,
            owner=probes.person,
            views=_views(probes.camera, query, cameras),
            best=best,
            images=gallery.images.astype(np.float64),
        )

    def gallery_images(self, size: int) -> int:
        """How many images so many people have on average."""
        return round(size * float(self.images.sum()) / self.people)

    def judged(self, size: int, *, people_known: bool) -> tuple[Bools, Bools, Floats]:
        """What each query makes of each person in a gallery of some size.

        Returns:
            Whether one of the person's images is called likely, and whether one is not called
            unlike, ``[q, people]`` each; and the similarity of the best likely image, -inf where
            there is none, ``[q, people]``.
        """
        shape = next(iter(self.best.values())).shape
        likely, alike = np.zeros((2, *shape), dtype=np.bool_)
        lead = np.full(shape, -np.inf)
        images = {self.searched: self.gallery_images(size)}
        for asked in set(self.views):
            rows = np.flatnonzero(self.views == asked)
            for found, scores in self.best.items():
                high = self.calibration.likely(
                    asked, found, images=images, people=size if people_known else None
                )
                low = self.calibration.unlike(asked, found)
                assert high is not None  # the direction is calibrated
                assert low is not None
                own = scores[rows]
                likely[rows] |= own >= high.high
                alike[rows] |= own >= min(low.low, high.high)
                lead[rows] = np.maximum(lead[rows], np.where(own >= high.high, own, -np.inf))
        return likely, alike, lead


def _views(
    camera: NDArray[np.int64], modality: Modality, cameras: Mapping[int, str]
) -> NDArray[np.object_]:
    """The view of each image."""
    views = np.empty(len(camera), dtype=np.object_)
    views[:] = [View.of(modality, int(number), cameras) for number in camera]
    return views


def _measured(fields: Sequence[_Field], size: int, *, people_known: bool) -> Measured:
    by_field = [_sums(field, size, people_known=people_known) for field in fields]
    whole = sum((sums[..., :1] for sums in by_field), start=np.zeros((2, 5, 1)))
    # A person who is left out is missing in one half only.
    without = [whole + sums[..., 1:] - sums[..., :1] for sums in by_field]
    not_there, there = np.concatenate([whole, *without], axis=2)
    return Measured(
        query=fields[0].query,
        searched=fields[0].searched,
        size=size,
        images=round(sum(field.gallery_images(size) for field in fields) / len(fields)),
        people=sum(len(np.unique(field.owner)) for field in fields),
        searches=sum(len(field.owner) for field in fields),
        not_there=_rates(not_there),
        there=_rates(there),
    )


def _sums(field: _Field, size: int, *, people_known: bool) -> Floats:
    """Sums over searches for people who are not there and who are.

    Returns:
        Sums of likely, uncertain, absent, right and of all, float64 ``[2, 5, 1 + people]``: with
        everybody, then without each person.
    """
    likely, alike, lead = field.judged(size, people_known=people_known)
    everyone = len(field.images)
    present = np.concatenate([np.ones((everyone, 1)), 1 - np.eye(everyone)], axis=1)
    in_gallery = present * (field.images > 0)[:, None]
    own = np.arange(len(field.owner)), field.owner
    mated = np.stack([best[own] for best in field.best.values()]).max(axis=0) > -np.inf
    mate_likely, mate_alike = likely[own][:, None], alike[own][:, None]
    ahead = lead >= lead[own][:, None]
    for marked in (likely, alike, ahead):
        marked[own] = False
    others = in_gallery.sum(axis=0) - in_gallery[field.owner]

    def none_of(marked: Bools, drawn: int) -> Floats:
        return _none(marked.astype(np.float64) @ in_gallery, others, drawn)

    def summed(rows: Bools, likely: Floats, absent: Floats, right: Floats) -> Floats:
        searches = np.bincount(field.owner[rows], minlength=everyone)
        weight = present[field.owner] / np.maximum(searches, 1)[field.owner][:, None]
        parts = (likely, 1 - likely - absent, absent, right, np.ones_like(likely))
        return np.stack([(weight * part)[rows].sum(axis=0) for part in parts])

    not_there = summed(
        np.ones_like(mated),
        likely=1 - none_of(likely, size),
        absent=none_of(alike, size),
        right=np.zeros_like(others),
    )
    there = summed(
        mated,
        likely=1 - np.where(mate_likely, 0.0, none_of(likely, size - 1)),
        absent=np.where(mate_alike, 0.0, none_of(alike, size - 1)),
        right=np.where(mate_likely, none_of(ahead, size - 1), 0.0),
    )
    return np.stack([not_there, there])


def _none(marked: Floats, among: Floats, drawn: int) -> Floats:
    """Chance that of so many people drawn from among some none is marked."""
    rest = among - marked
    enough = rest >= drawn
    safe = np.where(enough, rest, drawn)
    logarithm = (
        gammaln(safe + 1)
        - gammaln(safe - drawn + 1)
        - gammaln(among + 1)
        + gammaln(among - drawn + 1)
    )
    chance: Floats = np.where(enough, np.exp(np.minimum(logarithm, 0.0)), 0.0)
    return chance


def _rates(sums: Floats) -> Rates:
    likely, uncertain, absent, right, number = sums
    return Rates(
        likely=_estimate(likely, number),
        uncertain=_estimate(uncertain, number),
        absent=_estimate(absent, number),
        right=_estimate(right, likely),
    )


def _estimate(part: Floats, whole: Floats) -> Estimate:
    """A ratio, 0 where nothing is there, with its interval."""
    ratio = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    value, without = float(ratio[0]), ratio[1:]
    half = _NORMAL * float(np.sqrt((len(without) - 1) * without.var()))
    return Estimate(value, max(0.0, value - half), min(1.0, value + half))
