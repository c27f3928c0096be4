"""The metrics of re-identification: CMC by image and by identity, AP and INP of each query.

For one query, rank the gallery without its excluded images by descending similarity. Let m_k be 1
where rank k shows the query's identity, and G the number of such images. Then

- CMC by image counts the rank of the first match, the smallest k with m_k = 1 (RegDB);
- CMC by identity keeps only the best image of each gallery identity before counting (SYSU-MM01 and
  LLCM). Rank-1 is the same in both, later ranks are higher by identity;
- AP  = (1/G) sum_k m_k (m_1 + ... + m_k) / k, on the list of all images in both cases;
- INP = G / (rank of the last correct image).

A query without a correct image is *unmatched*: it is counted, and left out of every mean.

**Ties** are pessimistic: among equal similarities wrong images rank before correct ones. Scores
therefore do not depend on the order of the input, and a collapsed model, which maps all images to
the same feature, does not profit from ties.

Sources: Wu et al., ICCV 2017 (SYSU-MM01 and its official evaluation); Ye et al., TPAMI 2021
(INP).

    >>> similarity = np.array([[0.9, 0.8, 0.1]], dtype=np.float32)
    >>> ranks = rank_queries(similarity, np.array([7]), np.array([3, 7, 7]))
    >>> ranks.first_image, ranks.average_precision
    (array([2]), array([0.58333333]))
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireid.errors import EvaluationError

__all__ = ["NO_MATCH", "QueryRanks", "cmc_curve", "mean_over", "rank_queries"]

NO_MATCH = (
    "none of the {queries} queries has an image of its identity in the gallery that the protocol "
    "does not exclude; expected at least one match: look at the identities and cameras of both "
    "sides"
)
_BLOCK_CELLS = 4_000_000  # cells of the similarity matrix ranked at once: some 50 MB of work space


@dataclass(frozen=True, slots=True)
class QueryRanks:
    """Ranks of the correct images of each query; every array is ``[q]``.

    Attributes:
        first_image: Rank of the first correct image, from 1; 0 if there is none.
        first_identity: Rank of the correct identity among identities, from 1; 0 if there is none.
        average_precision: AP in (0, 1]; NaN if there is no correct image.
        inverse_negative_penalty: INP in (0, 1]; NaN if there is no correct image.
        matches: Number of correct images after exclusion, the G of the formulas.
    """

    first_image: NDArray[np.int64]
    first_identity: NDArray[np.int64]
    average_precision: NDArray[np.float64]
    inverse_negative_penalty: NDArray[np.float64]
    matches: NDArray[np.int64]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Queries with at least one correct image, bool ``[q]``."""
        return self.matches > 0


def rank_queries(
    similarity: NDArray[np.floating],
    query_identities: NDArray[np.int64],
    gallery_identities: NDArray[np.int64],
    excluded: NDArray[np.bool_] | None = None,
) -> QueryRanks:
    """Rank the gallery for every query.

    Only the few correct images of a query need a rank: one plus the number of wrong images at
    least as similar, plus the number of correct ones before it. So each row is sorted as plain
    numbers (no argsort), and the correct images are looked up by bisection.

    Args:
        similarity: Similarity of query and gallery image, float ``[q, g]``; larger is nearer. Not
            modified.
        query_identities: ``[q]``.
        gallery_identities: ``[g]``.
        excluded: Bool ``[q, g]``, True where the image is removed from the query's list.

    Returns:
        The ranks, in the order of the queries.

    Raises:
        EvaluationError: The shapes do not fit, or a similarity is NaN or infinite.
    """
    queries, gallery = _checked_shape(similarity, query_identities, gallery_identities, excluded)
    order = np.argsort(gallery_identities, kind="stable")
    identities, starts, sizes = np.unique(
        gallery_identities[order], return_index=True, return_counts=True
    )
    index = np.searchsorted(identities, query_identities)
    index = np.minimum(index, len(identities) - 1)
    known = identities[index] == query_identities
    first = starts[index]
    count = np.where(known, sizes[index], 0)

    step = max(1, _BLOCK_CELLS // gallery)
    parts = []
    for begin in range(0, queries, step):
        rows = slice(begin, begin + step)
        # Sort the gallery by identity: the correct images of a query are then adjacent, and one
        # reduceat gives the best image of each identity. take() copies, so similarity is unchanged.
        block = np.take(similarity[rows], order, axis=1)
        if not np.isfinite(block).all():
            bad = begin + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            raise EvaluationError(
                f"the similarities of query {bad} contain NaN or infinity; "
                "expected finite numbers: look for NaN in the features"
            )
        if excluded is not None:
            block[np.take(excluded[rows], order, axis=1)] = -np.inf
        parts.append(_rank_block(block, starts, first[rows], count[rows]))
    return QueryRanks(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def cmc_curve(first: NDArray[np.int64], length: int = 50) -> NDArray[np.float64]:
    """Cumulative matching characteristic: the share of queries with a match within each rank.

    Args:
        first: Rank of the first match of each query, ``[q]``, from 1; 0 for unmatched queries,
            which are left out.
        length: Number of ranks; beyond the size of the gallery the curve is constant.

    Returns:
        Float64 ``[length]`` in [0, 1], non-decreasing; entry r - 1 is Rank-r.

    Raises:
        EvaluationError: No query has a match.
    """
    found = first[first > 0]
    if not len(found):
        raise EvaluationError(NO_MATCH.format(queries=len(first)))
    histogram = np.bincount(found[found <= length], minlength=length + 1)[1:]
    return np.cumsum(histogram).astype(np.float64) / len(found)


def mean_over(values: NDArray[np.float64], valid: NDArray[np.bool_]) -> float:
    """Mean over the valid queries, rounded once, so that it does not depend on their order.

    Args:
        values: ``[q]``.
        valid: ``[q]``.

    Raises:
        EvaluationError: No query is valid.
    """
    kept = values[valid]
    if not len(kept):
        raise EvaluationError(NO_MATCH.format(queries=len(values)))
    return math.fsum(kept.tolist()) / len(kept)


def _checked_shape(
    similarity: NDArray[np.floating],
    query_identities: NDArray[np.int64],
    gallery_identities: NDArray[np.int64],
    excluded: NDArray[np.bool_] | None,
) -> tuple[int, int]:
    expected = (len(query_identities), len(gallery_identities))
    if similarity.shape != expected or 0 in expected:
        raise EvaluationError(
            f"similarity has shape {similarity.shape}; expected {expected} by the identities of "
            "queries and gallery, with at least one of each"
        )
    if excluded is not None and excluded.shape != expected:
        raise EvaluationError(f"the exclusion mask has shape {excluded.shape}, expected {expected}")
    return expected


def _rank_block(
    block: NDArray[np.floating],
    starts: NDArray[np.int64],
    first: NDArray[np.int64],
    count: NDArray[np.int64],
) -> tuple[NDArray[np.generic], ...]:
    """Rank a block ``[b, g]`` whose gallery is sorted by identity; the block is overwritten.

    Excluded cells are -inf. ``starts`` is the first column of each identity; ``first[b]`` and
    ``count[b]`` are the columns of the query's own identity. Returns the fields of
    :class:`QueryRanks` in their order.
    """
    queries, gallery = block.shape
    # All pairs of a query and a correct image as flat arrays, sorted by query.
    row = np.repeat(np.arange(queries), count)
    column = np.arange(len(row)) - np.repeat(np.cumsum(count) - count - first, count)
    value = block[row, column]
    kept = value > -np.inf
    block[row, column] = -np.inf  # from here on the block contains wrong images only
    row, value = row[kept], value[kept]
    order = np.lexsort((-value, row))
    value = value[order]  # row is sorted already
    matches = np.bincount(row, minlength=queries)
    head = np.cumsum(matches) - matches  # the best pair of each query
    position = np.arange(len(row)) - head[row] + 1  # 1 .. G

    best = np.maximum.reduceat(block, starts, axis=1)
    block.sort(axis=1)
    rank = position + gallery - _bisect_rows(block, row, value)

    valid = matches > 0
    first_image = np.zeros(queries, dtype=np.int64)
    first_identity = np.zeros(queries, dtype=np.int64)
    inp = np.full(queries, np.nan)
    first_image[valid] = rank[head[valid]]
    inp[valid] = matches[valid] / rank[head[valid] + matches[valid] - 1]
    threshold = np.full(queries, np.inf, dtype=block.dtype)
    threshold[valid] = value[head[valid]]
    better = np.count_nonzero(best >= threshold[:, None], axis=1)
    first_identity[valid] = better[valid] + 1
    precision = np.bincount(row, weights=position / rank, minlength=queries)
    ap = np.full(queries, np.nan)
    ap[valid] = precision[valid] / matches[valid]
    return first_image, first_identity, ap, inp, matches


def _bisect_rows(
    rows: NDArray[np.floating], row: NDArray[np.int64], value: NDArray[np.floating]
) -> NDArray[np.int64]:
    """For each pair, the number of entries of its sorted row that are smaller than its value."""
    length = rows.shape[1]
    flat = rows.reshape(-1)
    base = row * length
    low = np.zeros(len(row), dtype=np.int64)
    high = np.full(len(row), length, dtype=np.int64)
    for _ in range(length.bit_length()):
        middle = (low + high) >> 1
        # A finished pair (low == high) may index one past the row; clamped, it does not change.
        smaller = flat[base + np.minimum(middle, length - 1)] < value
        low = np.where(smaller & (low < high), middle + 1, low)
        high = np.where(smaller, high, middle)
    return low
