"""Triplet losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vireid.losses._pairs import distances

__all__ = ["batch_hard_triplet_loss", "weighted_regularised_triplet_loss"]


def batch_hard_triplet_loss(features: Tensor, labels: Tensor, *, margin: float = 0.3) -> Tensor:
    """Triplet loss with the hardest positive and the hardest negative of each anchor.

    mean_a max(0, margin + max_p d(a, p) - min_n d(a, n)), d Euclidean; both modalities together,
    so that the hardest positive usually is of the other modality. Anchors without a positive or
    without a negative are ignored. Source: Hermans et al., "In Defense of the Triplet Loss for
    Person Re-Identification", 2017, eq. 5.

    Args:
        features: ``[n, d]``.
        labels: Class indices, int64 ``[n]``.
        margin: In units of the distance.

    Returns:
        A scalar; 0 if no anchor counts.
    """
    distance, positive, same = _pairs(features, labels)
    hardest_positive = distance.masked_fill(~positive, -torch.inf).amax(1)
    hardest_negative = distance.masked_fill(same, torch.inf).amin(1)
    counts = positive.any(1) & ~same.all(1)
    if not counts.any():
        return distance.sum() * 0
    return (margin + hardest_positive - hardest_negative)[counts].clamp(min=0).mean()


def weighted_regularised_triplet_loss(
    features: Tensor, labels: Tensor, *, squared: bool = False, released: bool = False
) -> Tensor:
    """Triplet loss over all pairs of an anchor, weighted by difficulty, without a margin.

    mean_a log(1 + exp g_a), g_a = sum_p w_ap d(a, p) - sum_n w_an d(a, n), with d Euclidean and
    w_ap = softmax_p d(a, p), w_an = softmax_n -d(a, n): far positives and near negatives have
    the largest weights. Anchors without a positive or without a negative are ignored. Source: Ye
    et al., "Deep Learning for Person Re-identification: A Survey and Outlook", TPAMI 2021 (AGW),
    section 4.

    Squared, it is mean_a log(1 + exp( g_a |g_a| )): this emphasises large differences and keeps
    their sign. Source: Ye et al., "Channel Augmented Joint Learning for Visible-Infrared
    Recognition", ICCV 2021 (CAJ), after its released code, which clips g_a^2 at 88.

    The released code of both computes other weights than the paper gives: it adds 1e-6 to the
    denominator, and does not shift the exponents of the negatives, so that w_an sums to almost 0
    where all negatives are further than about 14, as unnormalised features of a ResNet often are;
    g_a is then the distance of the far positives alone. It also takes the anchor as a positive of
    itself. ``released`` reproduces it.

    Args:
        features: ``[n, d]``, as the network pools them, not normalised.
        labels: Class indices, int64 ``[n]``.
        squared: Square the differences.
        released: Weigh and clip as the released code does.

    Returns:
        A scalar; 0 if no anchor counts.
    """
    distance, positive, same = _pairs(features, labels)
    if released:
        far, near = _released_weights(distance, same), _released_weights(-distance, ~same)
        gap = ((far - near) * distance).sum(1)
        return functional.softplus((gap * gap.abs()).clamp(-88, 88) if squared else gap).mean()
    counts = positive.any(1) & ~same.all(1)
    if not counts.any():
        return distance.sum() * 0
    distance, positive, negative = distance[counts], positive[counts], ~same[counts]
    far = distance.masked_fill(~positive, -torch.inf).softmax(1)
    near = (-distance).masked_fill(~negative, -torch.inf).softmax(1)
    gap = (far * distance).sum(1) - (near * distance).sum(1)
    return functional.softplus(gap * gap.abs() if squared else gap).mean()


def _released_weights(values: Tensor, mask: Tensor) -> Tensor:
    """A softmax over the masked values ``[n, n]`` of each row as the code of AGW computes it."""
    masked = values * mask
    powers = (masked - masked.amax(1, keepdim=True)).exp() * mask
    return powers / (powers.sum(1, keepdim=True) + 1e-6)


def _pairs(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distances, other images of the same identity, and all images of it; each ``[n, n]``."""
    distance = distances(features, features)
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return distance, positive, same
