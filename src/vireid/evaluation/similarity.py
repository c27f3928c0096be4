"""Check features, order them as a protocol's records, and compute similarities."""

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
_TILE = 1024  # gallery rows converted to float64 at once
# The last digit of similarities, as a power of 2: far above the errors of sums in float64, and
# below what float32 features resolve.
_COSINE_DIGIT = -32
_DISTANCE_DIGIT = -44  # of a squared distance, relative to the query's squared norm


def match_rows(
    features: Features,
    records: Sequence[ImageRecord],
    *,
    similarity: Similarity = "cosine",
) -> NDArray[np.float32]:
    """Check features, and return those of ``records`` in their order.

    Args:
        features: Float ``[n, d]`` with their records.
        records: The ``m`` images of a protocol.
        similarity: How features are compared.

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
            "expected one row per image"
        )
    row_of = {record.path: row for row, record in enumerate(features.records)}
    if len(row_of) < len(features.records):
        counts = Counter(record.path for record in features.records)
        repeated = [path for path, count in counts.items() if count > 1]
        raise EvaluationError(
            f"{first_few(repeated)} more than once among the features; expected every image once "
            "(distributed loaders pad by repeating images: remove the padding)"
        )
    missing = [record.path for record in records if record.path not in row_of]
    if missing:
        raise EvaluationError(
            f"no feature for {first_few(missing)}; expected all {len(records)} images of the "
            "protocol: extract the features of protocol.records"
        )
    rows = [row_of[record.path] for record in records]
    # Features in order already are not copied: 100,000 of them are a gigabyte.
    chosen = values if rows == list(range(len(values))) else values[rows]
    finite = np.isfinite(chosen).all(axis=1)
    if not finite.all():
        bad = [records[i].path for i in np.flatnonzero(~finite).tolist()]
        raise EvaluationError(
            f"NaN or infinity in the feature of {first_few(bad)}; expected finite numbers: check "
            "these images and whether the network's weights are finite"
        )
    zero = ~chosen.any(axis=1)
    if similarity == "cosine" and zero.any():
        bad = [records[i].path for i in np.flatnonzero(zero).tolist()]
        raise EvaluationError(
            f"the feature of {first_few(bad)} is all zero and has no direction; expected unit "
            "length: the network's last layer outputs only zeros for these images"
        )
    return chosen


def similarities(
    query: NDArray[np.floating],
    gallery: NDArray[np.floating],
    *,
    rows: NDArray[np.int64] | None = None,
    similarity: Similarity = "cosine",
) -> NDArray[np.float32]:
    """Similarities, computed in float64, rounded to a fixed digit and then to float32.

    Sums in float64 depend on their order, and thereby on the BLAS library, its threads and the
    position of an image in the matrix, by about 1e-16. Rounding removes this: cosines to multiples
    of 2^-32 (2e-10), squared distances to multiples of about 2^-44 of the query's squared norm. So
    similarities that are equal in exact arithmetic, which are frequent among features of few
    values (signs, bits, small integers), are equal here too, and ties do not depend on order or
    machine. A sum that lies within its error of the border of two multiples is the only exception;
    sums of few-valued features do not.

    Args:
        query: ``[q, d]``.
        gallery: ``[n, d]``.
        rows: Rows of the gallery to compare, ``[g]``; all by default. (Indexing the gallery
            before the call would copy it.)
        similarity: ``cosine``: rows are normalised here and must not be zero. ``euclidean``: the
            negative distance of the rows as they are (the official SYSU-MM01 demo).

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
        if similarity == "cosine":
            out[:, tile] = _rounded(product, _COSINE_DIGIT)
        else:
            own = (left**2).sum(axis=1)[:, None]
            squares = own + (right**2).sum(axis=1) - 2 * product
            # frexp gives the power of 2 above the norm; a query of norm 0 still has one.
            digit = np.frexp(np.maximum(own, 1e-60))[1] + _DISTANCE_DIGIT
            out[:, tile] = -np.sqrt(np.maximum(_rounded(squares, digit), 0))
    return out


def _rounded(values: NDArray[np.float64], digit: int | NDArray[np.int32]) -> NDArray[np.float64]:
    """Round to multiples of 2^digit, in place."""
    np.ldexp(values, -digit, out=values)
    np.rint(values, out=values)
    return np.ldexp(values, digit, out=values)


def _wide(rows: NDArray[np.floating], similarity: Similarity) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    if similarity == "cosine":
        wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide
