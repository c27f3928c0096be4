"""Contrast of features with a memory of cluster centres."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["contrast", "update_centres"]


def contrast(features: Tensor, labels: Tensor, centres: Tensor, *, temperature: float) -> Tensor:
    """Cross-entropy of features among the centres of clusters (ClusterNCE).

    Source: Dai et al., "Cluster Contrast for Unsupervised Person Re-Identification", ACCV 2022.

    Args:
        features: Unit rows, ``[n, d]``.
        labels: The cluster of each, int64 ``[n]``.
        centres: Unit rows, ``[clusters, d]``, without gradients.
        temperature: Divides the cosines.

    Returns:
        A scalar.
    """
    return F.cross_entropy(features @ centres.T / temperature, labels)


@torch.no_grad()
def update_centres(centres: Tensor, features: Tensor, labels: Tensor, *, momentum: float) -> None:
    """Move the centres of the clusters of a batch towards its features, in place.

    Args:
        centres: Unit rows, ``[clusters, d]``.
        features: Unit rows, ``[n, d]``.
        labels: The cluster of each, int64 ``[n]``.
        momentum: Share of a centre that stays, in [0, 1).
    """
    found, position = torch.unique(labels, return_inverse=True)
    sums = torch.zeros(len(found), features.shape[1], dtype=features.dtype, device=features.device)
    means = F.normalize(sums.index_add_(0, position, features.detach()))
    centres[found] = F.normalize(momentum * centres[found] + (1 - momentum) * means)
