"""Several images of one person: tracklets and near-duplicates of hits, several query images."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from vireid.errors import GalleryError
from vireid.gallery._checks import NORM_TOLERANCE
from vireid.gallery.filters import Hit
from vireid.types import ImageInfo

__all__ = ["MAX_GAP", "MIN_COSINE", "group_near_duplicates", "mean_feature"]

MIN_COSINE = 0.75
"""Cosine from which two images of one camera count as near-duplicates. Of 5.7 million pairs of
different synthetic people on one camera none reached it; of pairs of an image and the same image
shifted by up to 3 %, with other brightness, noise and compression, 59 % did (docs/open_set.md)."""
MAX_GAP = timedelta(minutes=1)
"""Longest time between two frames of one tracklet."""

_MIN_NORM = 1e-3  # a shorter mean has no meaningful direction


def group_near_duplicates(
    hits: Sequence[Hit], *, min_cosine: float = MIN_COSINE, max_gap: timedelta = MAX_GAP
) -> list[list[Hit]]:
    """Group hits of one tracklet, and hits that are nearly the same.

    Hits with a tracklet are grouped by it alone. Another hit joins the first group without one
    whose best hit has the same camera and modality, a time at most ``max_gap`` away where both are
    known, and a similar feature. Without a camera two images may be of any two cameras, so both
    times must be known. Identities play no part.

    Args:
        hits: The hits, in any order; one without a feature is a group of its own.
        min_cosine: Cosine of two features from which they are similar, in [-1, 1].
        max_gap: The longest time between two images.

    Returns:
        All hits, each in one group: best first, and the groups in the order of their best hits.
        Hits of equal score keep their order.
    """
    groups: list[list[Hit]] = []
    for hit in sorted(hits, key=lambda hit: -hit.score):
        for members in groups:
            best = members[0]
            if best.info.tracklet or hit.info.tracklet:
                alike = best.info.tracklet_key == hit.info.tracklet_key
            else:
                alike = _may_be_one_tracklet(best.info, hit.info, max_gap) and (
                    best.feature is not None
                    and hit.feature is not None
                    and float(best.feature @ hit.feature) >= min_cosine
                )
            if alike:
                members.append(hit)
                break
        else:
            groups.append([hit])
    return groups


def mean_feature(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """One query from several images of one person: the normalised mean of their features.

    It is not checked that they show one person. A search with it has no calibrated verdict, because
    the calibration is for single images.

    Args:
        features: Unit features, float32 ``[q, d]``; ``q`` is at least 1.

    Returns:
        A unit feature, float32 ``[d]``.

    Raises:
        GalleryError: There is none, one is not finite or of norm 1, or they cancel out.
    """
    if features.ndim != 2 or not len(features):
        raise GalleryError(
            f"Features of shape {features.shape} make no query; expected [q, d] with at "
            "least one row: give one image or more."
        )
    wide = features.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1)
    damaged = np.flatnonzero(~(np.abs(norms - 1) < NORM_TOLERANCE))
    if len(damaged):
        raise GalleryError(
            f"The feature of image {damaged[0] + 1} of {len(features)} has the norm "
            f"{norms[damaged[0]]:g}; expected 1: extract the feature again."
        )
    mean = wide.mean(axis=0)
    norm = np.linalg.norm(mean)
    if norm < _MIN_NORM:
        raise GalleryError(
            f"The features of {len(features)} images cancel out (their mean has the norm "
            f"{norm:.1e}); expected images of one person: search with each of them."
        )
    normalised: NDArray[np.float32] = (mean / norm).astype(np.float32)
    return normalised


def _may_be_one_tracklet(one: ImageInfo, other: ImageInfo, max_gap: timedelta) -> bool:
    """Whether camera, modality and time allow two images to be of one tracklet."""
    if (one.camera, one.modality) != (other.camera, other.modality):
        return False
    if one.time is None or other.time is None:
        return one.camera != ""
    return abs(one.time - other.time) <= max_gap
