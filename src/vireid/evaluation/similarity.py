"""Features as the evaluation needs them: checked, in the protocol's order, and compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vireid.errors import EvaluationError, first_few
from vireid.types import Features, ImageRecord

__all__ = ["Similarity", "match_rows", "similarities"]

Similarity = Literal["cosine", "euclidean"]
_TILE = 1024  # gallery rows widened to float64 at once


def match_rows(
    features: Features,
    records: Sequence[ImageRecord],
    *,
    similarity: Similarity = "cosine",
) -> NDArray[np.float32]:
    """The features of ``records``, in their order, checked.

    Args:
        features: Float ``[n, d]`` with their records.
        records: The images wanted, ``m``.
        similarity: How they are to be compared.

    Returns:
        ``[m, d]``.

    Raises:
        EvaluationError: An image is missing or appears twice, or a feature is NaN, infinite or
            (for the cosine) zero; the message names the first images.
    """
    values = features.values
    if values.ndim != 2 or len(values) != len(features.records):
        raise EvaluationError(
            f"features of shape {values.shape} for {len(features.records)} images; "
            "expected one row an image"
        )
    place = {record.path: row for row, record in enumerate(features.records)}
    if len(place) < len(features.records):
        counts = Counter(record.path for record in features.records)
        twice = [path for path, count in counts.items() if count > 1]
        raise EvaluationError(
            f"{first_few(twice)} more than once among the features; expected every image once "
            "(padding of distributed loaders repeats images: cut it off)"
        )
    missing = [record.path for record in records if record.path not in place]
    if missing:
        raise EvaluationError(
            f"no feature for {first_few(missing)}; expected all {len(records)} images of the "
            "protocol: encode protocol.records"
        )
    rows = [place[record.path] for record in records]
    # Features that stand in order already are not copied: 100,000 of them are a gigabyte.
    chosen = values if rows == list(range(len(values))) else values[rows]
    finite = np.isfinite(chosen).all(axis=1)
    if not finite.all():
        bad = [records[i].path for i in np.flatnonzero(~finite).tolist()]
        raise EvaluationError(
            f"NaN or infinity in the feature of {first_few(bad)}; expected finite numbers: look "
            "at these images and whether the network's weights are finite"
        )
    zero = ~chosen.any(axis=1)
    if similarity == "cosine" and zero.any():
        bad = [records[i].path for i in np.flatnonzero(zero).tolist()]
        raise EvaluationError(
            f"the feature of {first_few(bad)} is all zero and has no direction; expected unit "
            "length: the network's last layer gives nothing for these images"
        )
    return chosen


def similarities(
    query: NDArray[np.floating],
    gallery: NDArray[np.floating],
    *,
    rows: NDArray[np.int64] | None = None,
    similarity: Similarity = "cosine",
) -> NDArray[np.float32]:
    """Similarities, summed in float64 and rounded to float32.

    The sum in float64 makes the rounded number independent of the BLAS library, its threads and
    the place of an image in the matrix; so equal features give exactly equal similarities, and
    a result has the same bytes on every machine but for the rarest rounding.

    Args:
        query: ``[q, d]``.
        gallery: ``[n, d]``.
        rows: Which rows of the gallery are compared, ``[g]``; all by default. (A gigabyte of
            features is then not copied to choose from it.)
        similarity: ``cosine``: rows are normalised here and none may be zero. ``euclidean``:
            minus the distance of the rows as they are (the official SYSU-MM01 demo).

    Returns:
        ``[q, g]``; larger is nearer. Cosines are in [-1, 1].
    """
    left = _wide(query, similarity)
    count = len(gallery) if rows is None else len(rows)
    out = np.empty((len(query), count), dtype=np.float32)
    for begin in range(0, count, _TILE):
        tile = slice(begin, begin + _TILE)
        right = _wide(gallery[tile if rows is None else rows[tile]], similarity)
        product = left @ right.T
        if similarity == "euclidean":
            squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)
            product = -np.sqrt(np.maximum(squares - 2 * product, 0))
        out[:, tile] = product
    return out


def _wide(rows: NDArray[np.floating], similarity: Similarity) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    if similarity == "cosine":
        wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide
