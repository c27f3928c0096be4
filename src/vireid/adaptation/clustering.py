"""Clusters of the images of one modality, on k-reciprocal Jaccard distances.

Average linkage takes the whole matrix of distances; on SynVI its clusters are purer than those of
DBSCAN and hold more of the images (docs/adaptation.md). DBSCAN takes the small distances only.

Example:
    >>> rng = np.random.default_rng(0)
    >>> people = np.repeat(np.eye(3, 8), 6, axis=0)
    >>> features = (people + 0.1 * rng.normal(size=(18, 8))).astype(np.float32)
    >>> cluster(features, Adaptation(k1=5, k2=2)).tolist()
    [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.cluster import DBSCAN

from vireid.evaluation.reranking import KReciprocal, jaccard_distances
from vireid.runs import Adaptation

__all__ = ["MOST_FOR_AVERAGE", "NO_LINKS", "Links", "centres_of", "cluster", "sums_of"]

MOST_FOR_AVERAGE = 20_000
"""Images of a modality up to which average linkage is used, which needs 2 GB for so many; DBSCAN
clusters more."""

_SAME = 1e-9  # a Jaccard distance; zeros of sparse matrices may be dropped


@dataclass(frozen=True, slots=True)
class Links:
    """What is known of the images of one modality.

    Attributes:
        together: Groups of images that show one person, as rows.
        apart: Pairs of images that show two people, as rows.
    """

    together: Sequence[Sequence[int]] = ()
    apart: Sequence[tuple[int, int]] = field(default=())


NO_LINKS = Links()
"""Nothing is known."""


def cluster(
    features: NDArray[np.float32], options: Adaptation, *, links: Links = NO_LINKS
) -> NDArray[np.int64]:
    """Cluster the images of one modality.

    Args:
        features: Unit features, ``[n, d]``.
        options: How.
        links: Images that are together in any case, and images that are apart.

    Returns:
        The cluster of each image, int64 ``[n]``, from 0 by the first image; -1: in none.

    Raises:
        EvaluationError: A feature is zero or not finite.
    """
    how = KReciprocal(k1=options.k1, k2=options.k2)
    dense = options.clustering == "average" and len(features) <= MOST_FOR_AVERAGE
    # A Jaccard distance is below 1 wherever two images share a neighbour.
    distances = jaccard_distances(features, how, most=np.nextafter(1, 0) if dense else options.eps)
    pairs = [(a, b) for group in links.together for a in group for b in group if a != b]
    if pairs:
        a, b = np.array(pairs).T
        known = sparse.csr_array((np.ones(len(a)), (a, b)), shape=distances.shape) > 0
        distances = distances - distances.multiply(known) + _SAME * known
    labels = (_average if dense else _dbscan)(distances, options)
    _keep_together(labels, links.together)
    _keep_apart(labels, features, links)
    sizes = np.bincount(labels + 1)[labels + 1]
    labels[sizes < options.min_images] = -1
    return _numbered(labels)


def _average(distances: sparse.csr_array, options: Adaptation) -> NDArray[np.int64]:
    images = distances.shape[0]
    if images < 2:
        return np.zeros(images, dtype=np.int64)
    above = np.ones(images * (images - 1) // 2)
    entries = sparse.triu(distances, k=1).tocoo()
    i, j = entries.row.astype(np.int64), entries.col.astype(np.int64)
    above[i * (2 * images - i - 1) // 2 + j - i - 1] = entries.data
    tree = linkage(above, "average")
    found: NDArray[np.int64] = fcluster(tree, options.cut, "distance").astype(np.int64) - 1
    return found


def _dbscan(distances: sparse.csr_array, options: Adaptation) -> NDArray[np.int64]:
    scan = DBSCAN(eps=options.eps, min_samples=options.min_images, metric="precomputed")
    found: NDArray[np.int64] = scan.fit(sparse.csr_matrix(distances)).labels_.astype(np.int64)
    return found


def centres_of(features: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """The centre of each cluster, of unit norm.

    Args:
        features: Unit features, ``[n, d]``.
        labels: The cluster of each, int64 ``[n]``, -1: in none.

    Returns:
        float32 ``[clusters, d]``.
    """
    sums = sums_of(features, labels)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    centres: NDArray[np.float32] = (sums / np.maximum(norms, 1e-12)).astype(np.float32)
    return centres


def sums_of(features: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The sum of the features of each cluster.

    Args:
        features: Features, ``[n, d]``.
        labels: The cluster of each, int64 ``[n]``, -1: in none.

    Returns:
        float64 ``[clusters, d]``.
    """
    rows = np.flatnonzero(labels >= 0)
    shape = (int(labels.max(initial=-1)) + 1, len(labels))
    members = sparse.csr_array((np.ones(len(rows)), (labels[rows], rows)), shape=shape)
    sums: NDArray[np.float64] = members @ features.astype(np.float64)
    return sums


def _keep_together(labels: NDArray[np.int64], groups: Sequence[Sequence[int]]) -> None:
    """Move each group into the cluster that most of its images are in, in place."""
    for group in groups:
        found = labels[group]
        found = found[found >= 0]
        if len(found):
            labels[group] = np.bincount(found).argmax()


def _keep_apart(labels: NDArray[np.int64], features: NDArray[np.float32], links: Links) -> None:
    """Split clusters that hold two people, in place: each image goes to the nearer of the two."""
    group_of = {row: group for group in links.together for row in group}

    def whole(row: int) -> list[int]:
        return list(group_of.get(row, [row]))

    def mean(row: int) -> NDArray[np.float32]:
        found: NDArray[np.float32] = features[whole(row)].mean(axis=0)
        return found

    for one, other in links.apart:
        if labels[one] != labels[other] or labels[one] < 0:
            continue
        members = np.flatnonzero(labels == labels[one]).tolist()
        first, second = mean(one), mean(other)
        fresh = labels.max() + 1
        moved = {row for row in members if mean(row) @ second > mean(row) @ first}
        labels[sorted((moved | {*whole(other)}) - {*whole(one)})] = fresh


def _numbered(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the clusters from 0 in the order of their first images."""
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    inside = labels[first] >= 0
    order = np.full(len(first), -1)
    order[np.flatnonzero(inside)[np.argsort(first[inside])]] = np.arange(np.count_nonzero(inside))
    numbered: NDArray[np.int64] = order[codes]
    return numbered
