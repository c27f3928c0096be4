"""What is known of the clusters and matches of a round, without labels and with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import normalized_mutual_info_score

from vireid.adaptation.clustering import sums_of
from vireid.adaptation.matching import Matches
from vireid.types import Modality

__all__ = ["agreement", "describe_clusters", "measure", "purity", "wrong_sides"]

_MOST_SILHOUETTES = 2_000
"""Images of which the silhouette is computed; the time is quadratic."""


def describe_clusters(
    features: NDArray[np.float32], labels: NDArray[np.int64], modality: Modality
) -> dict[str, Any]:
    """Describe the clusters of a modality without labels of people.

    Args:
        features: Unit features of its images, ``[n, d]``.
        labels: The cluster of each, int64 ``[n]``, -1: in none.
        modality: The modality.

    Returns:
        By name, with the modality in front: ``clusters``; ``clustered``, the share of images in
        one; ``largest``, the share of images in the largest; ``silhouette``, by cosine distances,
        the mean over at most 2,000 images, in [-1, 1] (0 where there are fewer than 2 clusters).
    """
    inside = labels[labels >= 0]
    sizes = np.bincount(inside) if len(inside) else np.zeros(1, dtype=np.int64)
    found = {
        "clusters": len(np.unique(inside)),
        "clustered": len(inside) / max(len(labels), 1),
        "largest": int(sizes.max()) / max(len(labels), 1),
        "silhouette": _silhouette(features, labels),
    }
    return {f"{modality}_{name}": value for name, value in found.items()}


def _silhouette(features: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The mean silhouette by cosine distances, of at most 2,000 images among all clusters."""
    rows = np.flatnonzero(labels >= 0)
    clusters = np.arange(labels.max(initial=-1) + 1)
    if len(clusters) < 2:
        return 0.0
    sizes = np.bincount(labels[rows])
    rows = rows[:: -(-len(rows) // _MOST_SILHOUETTES)]
    # The mean distance to the unit images of a cluster follows from their sum.
    totals = sizes - features[rows].astype(np.float64) @ sums_of(features, labels).T
    own = labels[rows, None] == clusters
    within = totals[own] / np.maximum(sizes[labels[rows]] - 1, 1)
    nearest = np.where(own, np.inf, totals / sizes).min(axis=1)
    found = (nearest - within) / np.maximum(np.maximum(nearest, within), 1e-12)
    return float(np.where(sizes[labels[rows]] > 1, found, 0).mean())


def wrong_sides(features: NDArray[np.float32], visible: int) -> dict[str, float]:
    """Compare the modalities of the images with the two groups that their features make.

    The features of the two modalities lie around two means. The images are split into two along the
    line through the means (2-means, in one dimension), whatever their modality.

    Args:
        features: Features of all images, not standardised, ``[n, d]``.
        visible: How many are visible; they come first.

    Returns:
        ``separation``, the distance of the groups in standard deviations within them: about 2.7
        where the features make one group, 4 and more where they make two; and for each modality
        ``wrong_side``, the share of its images in the group of the other.
    """
    means = features[:visible].mean(axis=0), features[visible:].mean(axis=0)
    along = features.astype(np.float64) @ (means[0] - means[1])
    split = along.mean()
    upper = along > split
    for _ in range(50):
        if upper.all() or not upper.any():
            return {"separation": 0.0, **{f"{m}_wrong_side": 0.0 for m in Modality}}
        split = (along[upper].mean() + along[~upper].mean()) / 2
        upper = along > split
    gap = along[upper].mean() - along[~upper].mean()
    within = np.where(upper, along - along[upper].mean(), along - along[~upper].mean()).std()
    return {
        "separation": float(gap / max(within, 1e-12)),
        f"{Modality.VISIBLE}_wrong_side": float(1 - upper[:visible].mean()),
        f"{Modality.INFRARED}_wrong_side": float(upper[visible:].mean()),
    }


def agreement(labels: NDArray[np.int64], before: NDArray[np.int64]) -> float:
    """Normalised mutual information of two rounds' labels, in [0, 1].

    Args:
        labels: The label of each image, int64 ``[n]``, -1: none.
        before: The same of the round before; images without a label in either round are left out.

    Returns:
        1 if they are equal up to numbering; 0 where no image has a label in both rounds.
    """
    both = (labels >= 0) & (before >= 0)
    if not both.any():
        return 0.0
    return float(normalized_mutual_info_score(before[both], labels[both]))


def purity(labels: NDArray[np.int64], identities: NDArray[np.int64]) -> float:
    """Share of the clustered images that show the person most frequent in their cluster.

    Args:
        labels: The cluster of each image, int64 ``[n]``, -1: in none.
        identities: The person of each, int64 ``[n]``, not negative.

    Returns:
        In [0, 1]; 0 where no image is in a cluster.
    """
    inside = labels >= 0
    if not inside.any():
        return 0.0
    table = _counts(labels[inside], identities[inside])
    return float(table.max(axis=1).sum() / inside.sum())


def measure(
    labels: Sequence[NDArray[np.int64]],
    identities: Sequence[NDArray[np.int64]],
    matches: Matches,
) -> dict[str, float]:
    """Measure clusters and matches by the identities of the images.

    Args:
        labels: The clusters of the visible and of the infrared images.
        identities: Their identities, not negative.
        matches: The matched clusters.

    Returns:
        ``visible_purity``, ``infrared_purity``, and ``right_matches``: the share of the matches
        whose clusters have the same most frequent person.
    """
    found = {
        f"{modality}_purity": purity(own, known)
        for modality, own, known in zip(Modality, labels, identities, strict=True)
    }
    most = []
    for own, known in zip(labels, identities, strict=True):
        inside = own >= 0
        people = np.unique(known[inside])
        table = _counts(own[inside], known[inside])
        most.append(people[table.argmax(axis=1)] if len(table) else people)
    right = most[0][matches.visible] == most[1][matches.infrared]
    found["right_matches"] = float(right.mean()) if len(right) else 0.0
    return found


def _counts(labels: NDArray[np.int64], identities: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each person is in each cluster, ``[clusters, people]``."""
    _, people = np.unique(identities, return_inverse=True)
    table = np.zeros((labels.max(initial=-1) + 1, people.max(initial=-1) + 1), dtype=np.int64)
    np.add.at(table, (labels, people), 1)
    return table
