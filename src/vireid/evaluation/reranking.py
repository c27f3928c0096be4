"""Post-processing without labels: k-reciprocal re-ranking and query expansion.

Neither is part of the published protocols, so results name them.

**K-reciprocal re-ranking** (Zhong et al., "Re-ranking Person Re-identification with k-reciprocal
Encoding", CVPR 2017). Take query and gallery images together, n = q + g, and let

- d(i, j) = 2 - 2 cos(i, j) be the squared Euclidean distance of unit features, and
  d'(i, j) = d(i, j) / max_l d(i, l);
- N(i, k) be i itself and its k nearest images; R(i, k) = {j in N(i, k) : i in N(j, k)};
- R*(i) = R(i, k1) and, for every c in R(i, k1), also R(c, k1/2) where more than two thirds of it
  are in R(i, k1); k1/2 is rounded, halves to the even number;
- V(i, j) = exp(-d'(i, j)) / sum over R*(i) for j in R*(i), 0 elsewhere; then each row is replaced
  by the mean of the rows of the k2 nearest images, i itself being the first;
- J(i, j) = 1 - m / (2 - m), m = sum_z min(V(i, z), V(j, z)), the Jaccard distance.

**Across modalities** the images nearest to one are mostly of its own modality, and say little of
the other. With ``balanced``, N(i, k) are i and its nearest images of the queries and of the gallery
alternately, those of the other side first. This form is this project's.

**One query alone** (:func:`rerank_alone`): other queries are not at hand when a person searches,
but unlabelled images of the query's modality may be. They take the queries' place; the encodings of
them and of the gallery are computed without the query, and only the query's own lists with it.

The final distance is (1 - lambda) J + lambda d'. Where paper and published code differ, this module
follows the code, which published results use: the paper asks for *at least* two thirds.

Neighbours are searched among all images, including those that a protocol excludes for a query (same
room, same camera); exclusion applies to the ranking afterwards, as in published evaluation code.

**Query expansion**: a query moves towards the gallery images nearest to it (Chum et al., "Total
Recall", ICCV 2007), each weighted by a power of its similarity (Radenović et al., "Fine-tuning
CNN Image Retrieval with No Human Annotation", TPAMI 2019). Excluded images do not contribute.

**Ties.** Distances are rounded to float32. Among equal ones the image itself comes first, then
queries before gallery images, each in input order. Without ties the input order does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from vireid.errors import ConfigError, EvaluationError
from vireid.evaluation._neighbours import (
    TILE,
    block_rows,
    check_shapes,
    nearest,
    row_norms,
    squared_distances,
    to_distance,
)

__all__ = [
    "KReciprocal",
    "PluginReranker",
    "QueryExpansion",
    "Reranker",
    "expand",
    "jaccard_distances",
    "needed_bytes",
    "rerank",
    "rerank_alone",
]

_BLOCK_ENTRIES = 2_000_000  # entries of V held for one block of the gallery: some 120 MB


class Reranker(Protocol):
    """Re-ranks a gallery for each query; ``str`` of it names it in results."""

    def __call__(
        self,
        query: NDArray[np.float32],
        gallery: NDArray[np.float32],
        *,
        memory_limit_bytes: int,
    ) -> NDArray[np.float32]:
        """Compute similarities from the features of a trial.

        Args:
            query: Features of the queries, ``[q, d]``, of any norm but zero.
            gallery: Features of the gallery, ``[g, d]``, of any norm but zero.
            memory_limit_bytes: Memory limit without the given features, but with the result.

        Returns:
            ``[q, g]``; larger is nearer.
        """


@dataclass(frozen=True, slots=True)
class PluginReranker:
    """A re-ranker that a plugin declares.

    Attributes:
        reranker: The declared re-ranker.
        name: Its name in results, with package, version and hash.
    """

    reranker: Reranker
    name: str

    def __call__(
        self,
        query: NDArray[np.float32],
        gallery: NDArray[np.float32],
        *,
        memory_limit_bytes: int,
    ) -> NDArray[np.float32]:
        """As :meth:`Reranker.__call__`.

        Raises:
            EvaluationError: The result has another shape, or values that are not finite.
        """
        found = np.asarray(self.reranker(query, gallery, memory_limit_bytes=memory_limit_bytes))
        expected = (len(query), len(gallery))
        if found.shape != expected or not np.isfinite(found).all():
            what = "NaN or infinite values" if found.shape == expected else f"shape {found.shape}"
            raise EvaluationError(
                f"the re-ranker {self.name} returns {what}; expected finite similarities of shape "
                f"{expected}: fix the plugin, or do not re-rank with it"
            )
        return found.astype(np.float32)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class KReciprocal:
    """Options of k-reciprocal re-ranking; the defaults are those of the published code."""

    k1: int = 20
    """Number of neighbours among which reciprocal ones are searched."""
    k2: int = 6
    """Number of nearest images, itself included, to average an encoding over; 1: no averaging."""
    weight: float = 0.3
    """Lambda, the weight of the original distance in the final one, in [0, 1]."""
    balanced: bool = False
    """Take neighbours alternately from the queries and from the gallery, so that images of one
    modality do not fill the neighbourhoods."""

    def __post_init__(self) -> None:
        for name, value in (("k1", self.k1), ("k2", self.k2)):
            if value < 1:
                raise ConfigError(f"{name} of the re-ranking is '{value}'; expected 1 or more.")
        if not 0 <= self.weight <= 1:
            raise ConfigError(
                f"The weight of the original distance in the re-ranking is '{self.weight}'; "
                "expected a number from 0 to 1."
            )

    def __call__(
        self,
        query: NDArray[np.float32],
        gallery: NDArray[np.float32],
        *,
        memory_limit_bytes: int,
    ) -> NDArray[np.float32]:
        """As :func:`rerank`."""
        return rerank(query, gallery, self, memory_limit_bytes=memory_limit_bytes)

    def __str__(self) -> str:
        balanced = ", balanced" if self.balanced else ""
        return f"k-reciprocal (k1 {self.k1}, k2 {self.k2}, lambda {self.weight:g}{balanced})"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryExpansion:
    """Options of query expansion."""

    neighbours: int = 5
    """Number of nearest gallery images that a query moves towards."""
    power: float = 3.0
    """The weight of an image is its similarity to this power; 0: equal weights."""

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ConfigError(
                f"The query expansion has '{self.neighbours}' neighbours; expected 1 or more."
            )
        if not 0 <= self.power < np.inf:
            raise ConfigError(
                f"The power of the query expansion is '{self.power}'; expected a finite number, "
                "0 or more."
            )

    def __str__(self) -> str:
        return f"alpha (neighbours {self.neighbours}, power {self.power:g})"


def rerank(
    query: NDArray[np.float32],
    gallery: NDArray[np.float32],
    options: KReciprocal,
    *,
    memory_limit_bytes: int,
) -> NDArray[np.float32]:
    """Similarities after k-reciprocal re-ranking.

    The distance matrix of all images is never stored: distances are computed in blocks of rows, and
    the encoding V is sparse.

    Args:
        query: Features of the queries, ``[q, d]``, of any norm but zero.
        gallery: Features of the gallery, ``[g, d]``, of any norm but zero.
        options: Sizes of the neighbourhoods and lambda.
        memory_limit_bytes: Memory limit without the given features, but with the result.

    Returns:
        1 - final distance, ``[q, g]`` in [0, 1]; larger is nearer.

    Raises:
        EvaluationError: The shapes do not fit, a feature is zero or not finite, or
            :func:`needed_bytes` is above the limit.
    """
    check_shapes(query, gallery)
    needed = needed_bytes(len(query), len(gallery), query.shape[1], options)
    if needed > memory_limit_bytes:
        raise EvaluationError(
            f"re-ranking {len(query)} queries against {len(gallery)} gallery images needs up to "
            f"{needed / 2**30:.3f} GiB of memory; expected at most {memory_limit_bytes / 2**30:.3f}"
            " GiB: raise --memory-limit, use fewer gallery images, or do not re-rank"
        )
    norms = np.concatenate([row_norms(query, "query"), row_norms(gallery, "gallery image")])
    rows = np.concatenate([query, gallery])
    similarity = np.empty((len(query), len(gallery)), dtype=np.float32)
    neighbours, farthest, _ = _scan(rows, norms, options, similarity)
    encoding = _encode(_expanded_sets(neighbours, options.k1), rows, norms, farthest)
    _blend_jaccard(encoding, neighbours[:, : options.k2], options.weight, similarity)
    return similarity


def rerank_alone(
    query: NDArray[np.float32],
    bank: NDArray[np.float32],
    gallery: NDArray[np.float32],
    options: KReciprocal,
    *,
    memory_limit_bytes: int,
) -> NDArray[np.float32]:
    """Similarities after k-reciprocal re-ranking of each query without the other queries.

    Args:
        query: Features of the queries, ``[q, d]``, of any norm but zero.
        bank: Features of unlabelled images of the queries' modality, ``[b, d]``; may be none.
        gallery: Features of the gallery, ``[g, d]``.
        options: Sizes of the neighbourhoods and lambda.
        memory_limit_bytes: Memory limit of what :func:`rerank` needs for the bank and the gallery.

    Returns:
        1 - final distance, ``[q, g]`` in [0, 1]; larger is nearer.

    Raises:
        EvaluationError: As :func:`rerank`.
    """
    check_shapes(query, gallery)
    needed = needed_bytes(len(bank), len(gallery), query.shape[1], options)
    if needed > memory_limit_bytes:
        raise EvaluationError(
            f"re-ranking with a bank of {len(bank)} and {len(gallery)} gallery images needs up to"
            f" {needed / 2**30:.3f} GiB of memory; expected at most"
            f" {memory_limit_bytes / 2**30:.3f} GiB: use fewer images, or do not re-rank"
        )
    rows = np.concatenate([bank, gallery])
    norms = np.concatenate([row_norms(bank, "image of the bank"), row_norms(gallery, "gallery")])
    query_norms = row_norms(query, "query")
    filled = np.empty((len(bank), len(gallery)), dtype=np.float32)
    neighbours, farthest, distances = _scan(rows, norms, options, filled)
    del filled
    encoding = _encode(_expanded_sets(neighbours, options.k1), rows, norms, farthest)
    closest = neighbours[:, : options.k2]
    mean = (_neighbour_matrix(closest, 1 / closest.shape[1]) @ encoding).tocsr()
    inverted = mean[len(bank) :].T.tocsr()
    halves = _reciprocal(neighbours[:, : _half(options.k1) + 1])
    last = _last_distances(neighbours, distances, options, bank=len(bank))
    count = min(options.k1, len(rows))
    out = np.empty((len(query), len(gallery)), dtype=np.float32)
    for i, unit in enumerate(query.astype(np.float64) / query_norms[:, None]):
        distance = squared_distances(unit[None], rows, norms)
        if options.balanced:
            # The query itself is the first of its own side.
            near = _alternating(distance, len(bank), count, left=False)[0]
        else:
            near = nearest(distance, count)[0]
        scaled = distance[0] / (distance.max() or np.float32(1))
        # The query is among the neighbours of those that it is nearer to than their last one.
        members = _expanded(near[distance[0, near] < last[near]], halves)
        weights = np.exp(-scaled[members].astype(np.float64))
        vector = np.zeros(len(rows))
        # The query is a member itself, at distance 0, which no image of the gallery shares.
        vector[members] = weights / (1 + weights.sum())
        averaged = near[: options.k2 - 1]
        if len(averaged):
            vector = (vector + mean[averaged].sum(axis=0)) / (len(averaged) + 1)
        stored = np.flatnonzero(vector)
        shared = inverted[stored]
        least = np.minimum(shared.data, np.repeat(vector[stored], np.diff(shared.indptr)))
        overlap = np.bincount(shared.indices, weights=least, minlength=len(gallery))
        out[i] = (1 - options.weight) * overlap / (2 - overlap)
        out[i] += options.weight * (1 - scaled[len(bank) :])
    return out


def _last_distances(
    neighbours: NDArray[np.int32],
    distances: NDArray[np.float32],
    options: KReciprocal,
    *,
    bank: int,
) -> NDArray[np.float32]:
    """The distance of each image to the last of its k1 neighbours that a query could displace."""
    listed = distances[:, : options.k1 + 1]
    if options.balanced:  # the query competes with the images of the bank only
        listed = np.where(neighbours[:, : options.k1 + 1] < bank, listed, -np.inf)
    last: NDArray[np.float32] = listed.max(axis=1)
    last[np.isneginf(last)] = np.inf
    return last


def _expanded(mutual: NDArray[np.int32], halves: sparse.csr_array) -> NDArray[np.int64]:
    """R*(q) without q, from R(q, k1) and the sets R(c, k1/2)."""
    inside = np.zeros(halves.shape[0], dtype=np.bool_)
    inside[mutual] = True
    if len(mutual):
        own = halves[mutual]
        counts = np.add.reduceat(inside[own.indices].astype(np.int64), own.indptr[:-1])
        for c in mutual[3 * counts > 2 * np.diff(own.indptr)]:
            inside[halves.indices[halves.indptr[c] : halves.indptr[c + 1]]] = True
    return np.flatnonzero(inside)


def jaccard_distances(
    features: NDArray[np.float32], options: KReciprocal, *, most: float
) -> sparse.csr_array:
    """The k-reciprocal Jaccard distances J among images, as far as they are small.

    Distances of features are computed in blocks of rows, and only the encoding and the result are
    stored; both grow linearly with the number of images.

    Args:
        features: Features, ``[n, d]``, of any norm but zero.
        options: Sizes of the neighbourhoods; ``weight`` is ignored.
        most: Largest distance that is stored, in [0, 1).

    Returns:
        Sparse float64 ``[n, n]``, symmetric, with an entry for each distance of at most ``most``,
        those of 0 and of an image to itself included.

    Raises:
        EvaluationError: A feature is zero or not finite.
    """
    check_shapes(features, features)
    norms = row_norms(features, "image")
    none = np.empty((0, len(features)), dtype=np.float32)
    neighbours, farthest, _ = _scan(features, norms, options, none)
    encoding = _encode(_expanded_sets(neighbours, options.k1), features, norms, farthest)
    closest = neighbours[:, : options.k2]
    mean = (_neighbour_matrix(closest, 1 / closest.shape[1]) @ encoding).tocsr()
    inverted = mean.T.tocsr()
    indices, values, starts = list[NDArray[np.int32]](), list[NDArray[np.float64]](), [0]
    for i in range(len(features)):
        own = slice(mean.indptr[i], mean.indptr[i + 1])
        shared = inverted[mean.indices[own]]
        least = np.minimum(shared.data, np.repeat(mean.data[own], np.diff(shared.indptr)))
        columns, position = np.unique(shared.indices, return_inverse=True)
        overlap = np.bincount(position, weights=least)
        # Rounding must not leave an image at a distance from itself.
        distance = np.maximum(1 - overlap / (2 - overlap), 0)
        near = distance <= most
        indices.append(columns[near].astype(np.int32))
        values.append(distance[near])
        starts.append(starts[-1] + len(indices[-1]))
    entries = (np.concatenate(values), np.concatenate(indices), np.array(starts))
    return sparse.csr_array(entries, shape=(len(features), len(features)))


def needed_bytes(queries: int, gallery: int, size: int, options: KReciprocal) -> int:
    """An upper bound of the memory that :func:`rerank` allocates, including its result.

    Args:
        queries: Number of queries, q.
        gallery: Number of gallery images, g.
        size: Dimension of a feature, d.
        options: Sizes of the neighbourhoods.

    Returns:
        Bytes; linear in q + g except for the 4 q g of the result.
    """
    images = queries + gallery
    listed = min(max(options.k1 + 1, options.k2), images)
    near = min(options.k1 + 1, images)
    half = min(_half(options.k1) + 1, images)
    # A set R(c, k1/2) is accepted if more than two thirds of it are members; the rest is new.
    reached = min(near * (1 + (half - 1) // 3), images)
    averaged = min(options.k2 * reached, images)

    dense = images * (4 * size + 4 * listed + 16) + 4 * queries * gallery
    block = min(block_rows(images, size), images)
    blocks = block * (12 * images + 8 * size + 8 * TILE) + 2 * 8 * size * min(TILE, images)
    # Entries of sparse matrices (value and column, 12 bytes), some stored several times while a
    # product is computed: first the neighbour graph and V, then the averaged V.
    entries = images * (2 * listed + 4 * near + min(near * half, images) + 4 * reached)
    entries += queries * averaged + 5 * min(max(_BLOCK_ENTRIES, averaged), gallery * averaged)
    return dense + blocks + 12 * entries


def expand(
    query: NDArray[np.float32],
    gallery: NDArray[np.float32],
    options: QueryExpansion,
    *,
    excluded: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Move queries towards their nearest gallery images.

    q' = q + sum_i s_i^power g_i, normalised, over the nearest gallery images g_i that are not
    excluded for q and whose similarity s_i is above 0 (at power 0 too).

    Args:
        query: Features of the queries, ``[q, d]``, of any norm but zero; not modified.
        gallery: Features of the gallery, ``[g, d]``, of any norm but zero.
        options: Number of neighbours and the power.
        excluded: Bool ``[q, g]``, True where a gallery image must not affect the query.

    Returns:
        ``[q, d]`` of unit norm; a query without neighbours keeps its direction.

    Raises:
        EvaluationError: The shapes do not fit, or a feature is zero or not finite.
    """
    check_shapes(query, gallery)
    if excluded is not None and excluded.shape != (len(query), len(gallery)):
        raise EvaluationError(
            f"the exclusion mask has shape {excluded.shape}, expected {(len(query), len(gallery))}"
        )
    query_norms = row_norms(query, "query")
    norms = row_norms(gallery, "gallery image")
    count = min(options.neighbours, len(gallery))
    out = np.empty(query.shape, dtype=np.float32)
    step = block_rows(len(gallery), query.shape[1])
    for begin in range(0, len(query), step):
        block = slice(begin, begin + step)
        moved = query[block] / query_norms[block, None]
        distance = squared_distances(moved, gallery, norms)
        if excluded is not None:
            distance[excluded[block]] = np.inf
        chosen = nearest(distance, count)
        near = 1 - np.take_along_axis(distance, chosen, axis=1).astype(np.float64) / 2
        weight = np.where(near > 0, np.maximum(near, 0) ** options.power, 0) / norms[chosen]
        for i in range(len(moved)):
            moved[i] += weight[i] @ gallery[chosen[i]]
        out[block] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return out


def _half(k1: int) -> int:
    """The k of the sets R(c, k1/2)."""
    return round(k1 / 2)


def _scan(
    rows: NDArray[np.float32],
    norms: NDArray[np.float64],
    options: KReciprocal,
    similarity: NDArray[np.float32],
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Neighbours ``[n, k]`` of every image, itself first, and its largest distance ``[n]``.

    Also the distances of the neighbours, ``[n, k]``; and fills ``similarity`` ``[q, g]`` with
    1 - d'.
    """
    images, queries = len(rows), len(similarity)
    count = min(max(options.k1 + 1, options.k2), images)
    distances = np.empty((images, count), dtype=np.float32)
    neighbours = np.empty((images, count), dtype=np.int32)
    farthest = np.empty(images, dtype=np.float32)
    step = block_rows(images, rows.shape[1])
    for begin in range(0, images, step):
        block = slice(begin, min(begin + step, images))
        distance = squared_distances(rows[block] / norms[block, None], rows, norms)
        greatest = distance.max(axis=1)
        # If all features are equal, there is nothing to scale.
        greatest[greatest == 0] = 1
        farthest[block] = greatest
        of_queries = distance[: max(queries - begin, 0), queries:]
        similarity[block][: len(of_queries)] = 1 - of_queries / greatest[: len(of_queries), None]
        own = np.arange(begin, block.stop)
        distance[own - begin, own] = -1
        if not options.balanced:
            neighbours[block] = nearest(distance, count)
        else:
            split = min(max(queries - begin, 0), len(distance))
            neighbours[block][:split] = _alternating(distance[:split], queries, count, left=True)
            neighbours[block][split:] = _alternating(distance[split:], queries, count, left=False)
        distances[block] = np.take_along_axis(distance, neighbours[block], axis=1)
    return neighbours, farthest, distances


def _alternating(
    distance: NDArray[np.float32], split: int, count: int, *, left: bool
) -> NDArray[np.int32]:
    """The nearest columns before and from ``split`` alternately, ``[n, count]``.

    ``left``: those before ``split`` come first.
    """
    sides, ranks = [], []
    for side, columns in enumerate((distance[:, :split], distance[:, split:])):
        found = min(count, columns.shape[1])
        if found:
            # A copy, because the bits of contiguous rows are sorted.
            sides.append(nearest(np.ascontiguousarray(columns), found) + side * split)
            ranks.append(2 * np.arange(found) + (left is (side == 1)))
    order = np.argsort(np.concatenate(ranks), kind="stable")[:count]
    merged: NDArray[np.int32] = np.concatenate(sides, axis=1)[:, order]
    return merged


def _neighbour_matrix(neighbours: NDArray[np.int32], value: float) -> sparse.csr_array:
    """Sparse ``[n, n]`` with ``value`` at the neighbours ``[n, k]`` of each image."""
    images, count = neighbours.shape
    values = np.full(neighbours.size, value)
    starts = np.arange(0, neighbours.size + 1, count)
    return sparse.csr_array((values, neighbours.ravel(), starts), shape=(images, images))


def _reciprocal(neighbours: NDArray[np.int32]) -> sparse.csr_array:
    """R(i, k) as a sparse 0/1 matrix ``[n, n]``, from the ``k + 1`` neighbours ``[n, k + 1]``."""
    forward = _neighbour_matrix(neighbours, 1)
    return forward.multiply(forward.T).tocsr()


def _expanded_sets(neighbours: NDArray[np.int32], k1: int) -> sparse.csr_array:
    """R*(i) as a sparse matrix ``[n, n]``: the stored entries of row i are the members."""
    sets = _reciprocal(neighbours[:, : k1 + 1])
    halves = _reciprocal(neighbours[:, : _half(k1) + 1])
    # [i, c]: number of members of R(c, k1/2) in R(i, k1), for c in R(i, k1).
    accepted = (sets @ halves).multiply(sets).tocsr()
    sizes = np.diff(halves.indptr)[accepted.indices]
    accepted.data = np.where(3 * accepted.data > 2 * sizes, 1, 0)
    accepted.eliminate_zeros()
    return sets + accepted @ halves


def _encode(
    sets: sparse.csr_array,
    rows: NDArray[np.float32],
    norms: NDArray[np.float64],
    farthest: NDArray[np.float32],
) -> sparse.csr_array:
    """V before the averaging, sparse float64 ``[n, n]``; each row sums to 1."""
    owner = np.repeat(np.arange(len(rows), dtype=np.int32), np.diff(sets.indptr))
    cosine = np.empty(sets.nnz, dtype=np.float32)
    for begin in range(0, sets.nnz, TILE):
        pair = slice(begin, begin + TILE)
        left, right = owner[pair], sets.indices[pair]
        product = np.einsum("pd,pd->p", rows[left], rows[right], dtype=np.float64)
        cosine[pair] = product / (norms[left] * norms[right])
    weight = np.exp(-to_distance(cosine).astype(np.float64) / farthest[owner])
    weight /= np.bincount(owner, weights=weight)[owner]
    return sparse.csr_array((weight, sets.indices, sets.indptr), shape=sets.shape)


def _blend_jaccard(
    encoding: sparse.csr_array,
    closest: NDArray[np.int32],
    weight: float,
    similarity: NDArray[np.float32],
) -> None:
    """Average V over ``closest`` ``[n, k2]``; blend 1 - J into ``similarity``, which is 1 - d'."""
    queries, gallery = similarity.shape
    mean = _neighbour_matrix(closest, 1 / closest.shape[1])
    of_queries = mean[:queries] @ encoding
    widest = closest.shape[1] * int(np.diff(encoding.indptr).max())
    step = max(1, _BLOCK_ENTRIES // widest)
    for begin in range(0, gallery, step):
        block = slice(begin, min(begin + step, gallery))
        # Row z: the gallery images whose encoding contains z.
        inverted = (mean[queries:][block] @ encoding).T.tocsr()
        for i in range(queries):
            own = slice(of_queries.indptr[i], of_queries.indptr[i + 1])
            shared = inverted[of_queries.indices[own]]
            least = np.minimum(shared.data, np.repeat(of_queries.data[own], np.diff(shared.indptr)))
            overlap = np.bincount(shared.indices, weights=least, minlength=inverted.shape[1])
            nearness = overlap / (2 - overlap)
            similarity[i, block] = (1 - weight) * nearness + weight * similarity[i, block]
