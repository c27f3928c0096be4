"""Losses that rank distances."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["batch_hard_triplet_loss"]


def batch_hard_triplet_loss(descriptors: Tensor, labels: Tensor, *, margin: float = 0.3) -> Tensor:
    """Triplet loss with the hardest positive and the hardest negative of each anchor.

    mean_a max(0, margin + max_p d(a, p) - min_n d(a, n)), d Euclidean; both modalities together,
    so that the hardest positive usually is of the other modality. Anchors without a positive or
    without a negative do not count. Source: Hermans et al., "In Defense of the Triplet Loss for
    Person Re-Identification", 2017, eq. 5.

    Args:
        descriptors: ``[n, d]``.
        labels: Class indices, int64 ``[n]``.
        margin: In units of the distance.

    Returns:
        A scalar; 0 where no anchor counts.
    """
    x = descriptors.float() if descriptors.dtype in (torch.bfloat16, torch.float16) else descriptors
    squared = x.square().sum(1)[:, None] + x.square().sum(1)[None, :] - 2 * x @ x.T
    # The root's slope is infinite at 0, where an anchor meets itself or its double.
    distance = squared.clamp(min=1e-12).sqrt()
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    hardest_positive = distance.masked_fill(~positive, -torch.inf).amax(1)
    hardest_negative = distance.masked_fill(same, torch.inf).amin(1)
    counts = positive.any(1) & ~same.all(1)
    if not counts.any():
        return x.sum() * 0
    return (margin + hardest_positive - hardest_negative)[counts].clamp(min=0).mean()
