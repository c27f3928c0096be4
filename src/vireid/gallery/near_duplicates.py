"""Many images of one person: hits that are nearly the same, and several images as one query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from vireid.errors import GalleryError
from vireid.gallery._checks import NORM_TOLERANCE
from vireid.gallery.entry import Hit
from vireid.types import ImageInfo

__all__ = ["CLOSE", "GAP", "fuse", "group"]

CLOSE = 0.75
"""Cosine from which two images from one camera count as nearly the same. Of 5.7 million pairs of
different synthetic people on one camera none reached it, of images and the same image moved by up
to 3 %, with other brightness, noise and compression, 59 % did (docs/open_set.md)."""
GAP = timedelta(minutes=1)
"""Frames of one walk past a camera lie no further apart."""

_CANCELLED = 1e-3  # length of a mean below which it has no direction


def group(
    hits: Sequence[Hit],
    features: Mapping[str, NDArray[np.float32]],
    *,
    close: float = CLOSE,
    gap: timedelta = GAP,
) -> list[list[Hit]]:
    """Put hits together that are nearly the same: frames of one person from one walk.

    A hit joins the first group whose best hit it is nearly the same as: from the same camera and
    in the same light, no further apart in time where both times are known, with features no
    further apart. Images without a camera may be of any two, so that both times must be known of
    them. Labels play no part.

    Args:
        hits: The hits, in any order.
        features: Unit features ``[d]`` by the ids of the hits' entries; a hit whose
            feature is not there is a group of its own.
        close: The cosine of two features from which they are close, in [-1, 1].
        gap: The longest time between two images.

    Returns:
        All hits, each in one group: best first, and the groups in the order of their best hits.
        Hits of equal score keep their order.
    """
    groups: list[list[Hit]] = []
    for hit in sorted(hits, key=lambda hit: -hit.score):
        for members in groups:
            best = members[0].info
            if _one_walk(best, hit.info, gap) and _alike(best, hit.info, features, close):
                members.append(hit)
                break
        else:
            groups.append([hit])
    return groups


def fuse(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """One query of several images of one person: their mean, of unit length again.

    Whether they show one person is not checked. A search with it has no calibrated verdict: the
    calibration is of single images.

    Args:
        features: Unit features, float32 ``[q, d]``; ``q`` is at least 1.

    Returns:
        A unit feature, float32 ``[d]``.

    Raises:
        GalleryError: There is none, one is not finite or of unit length, or they cancel out.
    """
    if features.ndim != 2 or not len(features):
        raise GalleryError(
            f"Features of shape {features.shape} make no query; expected [q, d] with at "
            "least one row: give one image or more."
        )
    wide = features.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    damaged = np.flatnonzero(~(np.abs(lengths - 1) < NORM_TOLERANCE))
    if len(damaged):
        raise GalleryError(
            f"The feature of image {damaged[0] + 1} of {len(features)} has the length "
            f"{lengths[damaged[0]]:g}; expected 1: encode the image again."
        )
    mean = wide.mean(axis=0)
    length = np.linalg.norm(mean)
    if length < _CANCELLED:
        raise GalleryError(
            f"The features of {len(features)} images cancel out (their mean has the length "
            f"{length:.1e}); expected images of one person: search with each of them."
        )
    fused: NDArray[np.float32] = (mean / length).astype(np.float32)
    return fused


def _one_walk(one: ImageInfo, other: ImageInfo, gap: timedelta) -> bool:
    """Whether camera, light and time say that two images can be of one walk."""
    if (one.camera, one.modality) != (other.camera, other.modality):
        return False
    if one.time is None or other.time is None:
        return one.camera != ""
    return abs(one.time - other.time) <= gap


def _alike(
    one: ImageInfo, other: ImageInfo, features: Mapping[str, NDArray[np.float32]], close: float
) -> bool:
    first, second = features.get(one.id), features.get(other.id)
    return first is not None and second is not None and float(first @ second) >= close
