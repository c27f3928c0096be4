"""Exact and deterministic nearest neighbours among features, block by block.

As in :func:`vireid.evaluation.similarity.similarities`, cosines are computed in float64 and rounded
to float32, so that equal features have equal distances at any position; but the norms of the rows
are computed once, not once per block.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vireid.errors import EvaluationError

__all__ = [
    "TILE",
    "block_rows",
    "check_shapes",
    "nearest",
    "row_norms",
    "squared_distances",
    "to_distance",
]

TILE = 1024  # features converted to float64 at once
_BLOCK_CELLS = 4_000_000  # distances per block: some 80 MB of memory


def check_shapes(query: NDArray[np.float32], gallery: NDArray[np.float32]) -> None:
    """Raise an EvaluationError unless the features are ``[q, d]`` and ``[g, d]``."""
    fit = query.ndim == gallery.ndim == 2 and query.shape[1] == gallery.shape[1]
    if not fit or 0 in query.shape or 0 in gallery.shape:
        raise EvaluationError(
            f"features of shape {query.shape} for the queries and {gallery.shape} for the "
            "gallery; expected rows of the same dimension and at least one row each"
        )


def row_norms(rows: NDArray[np.float32], name: str) -> NDArray[np.float64]:
    """Norms of the rows, ``[n]``; an EvaluationError if one is zero or not finite."""
    norms = np.empty(len(rows))
    for begin in range(0, len(rows), TILE):
        wide = rows[begin : begin + TILE].astype(np.float64)
        norms[begin : begin + TILE] = np.sqrt(np.einsum("nd,nd->n", wide, wide))
    bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
    if len(bad):
        raise EvaluationError(
            f"the feature of {name} {bad[0]} has norm {norms[bad[0]]}; expected finite numbers "
            "that are not all zero: check this image and the network's weights"
        )
    return norms


def block_rows(width: int, size: int) -> int:
    """Number of rows whose distances to ``width`` images, and whose features, fill one block."""
    return max(1, _BLOCK_CELLS // max(width, size))


def squared_distances(
    left: NDArray[np.float64], rows: NDArray[np.float32], norms: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Squared distances, ``[b, n]`` in [0, 4], of unit rows ``left`` to ``rows`` of any norm."""
    cosine = np.empty((len(left), len(rows)), dtype=np.float32)
    for begin in range(0, len(rows), TILE):
        tile = slice(begin, begin + TILE)
        cosine[:, tile] = left @ rows[tile].astype(np.float64).T / norms[tile]
    return to_distance(cosine)


def to_distance(cosine: NDArray[np.float32]) -> NDArray[np.float32]:
    """2 - 2 cos, in place; never below 0."""
    np.subtract(1, cosine, out=cosine)
    cosine *= 2
    return np.maximum(cosine, 0, out=cosine)


def nearest(distance: NDArray[np.float32], count: int) -> NDArray[np.int32]:
    """Columns of the ``count`` smallest distances of each row, ascending, ties by column."""
    # The bits of floats sort as their values if at most one is negative. With the column in the
    # lower half no two keys of a row are equal, so the selection is deterministic.
    keys = distance.view(np.int32).astype(np.int64)
    keys <<= 32
    keys |= np.arange(distance.shape[1])
    keys.partition(count - 1, axis=1)
    best = np.sort(keys[:, :count], axis=1)
    return (best & 0xFFFFFFFF).astype(np.int32)
