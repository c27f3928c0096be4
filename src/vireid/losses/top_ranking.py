"""Bi-directional dual-constrained top-ranking: the first rank should be correct."""

from __future__ import annotations

import torch
from torch import Tensor

from vireid.losses._pairs import distances

__all__ = ["top_ranking_loss"]


def top_ranking_loss(
    visible: Tensor,
    infrared: Tensor,
    visible_labels: Tensor,
    infrared_labels: Tensor,
    *,
    margin: float = 0.5,
    intra_margin: float = 0.1,
) -> tuple[Tensor, Tensor]:
    r"""Cross-modality top-ranking in both directions, and its intra-modality constraint.

    For an anchor a of one modality let p be its furthest image of the same identity in the other
    modality and n the nearest one of another identity there; d is Euclidean, on L2-normalised
    embeddings:

    .. math:: L_{cross} = \operatorname{mean}_a \max(0, m + d(a, p) - d(a, n)), \qquad
              L_{intra} = \operatorname{mean}_a \max(0, m' - d(p, n))

    each summed over visible and infrared anchors. The second separates two people of one modality
    that the other modality confuses. Anchors without a p or without an n are ignored. Source: Ye
    et al., "Visible Thermal Person Re-Identification via Dual-Constrained Top-Ranking", IJCAI 2018;
    with one image per identity and modality, as there, p is the only one.

    Args:
        visible: Embeddings of visible images, ``[n_v, d]``.
        infrared: Embeddings of infrared images, ``[n_t, d]``.
        visible_labels: Class indices, int64 ``[n_v]``.
        infrared_labels: Class indices, int64 ``[n_t]``.
        margin: m, in units of the distance, which is in [0, 2].
        intra_margin: m', likewise.

    Returns:
        Two scalars, cross and intra; both 0 if no anchor counts.
    """
    same = visible_labels[:, None] == infrared_labels[None, :]
    across = distances(visible, infrared, unit=True)
    sums = [
        _one_direction(across, same, infrared, margin, intra_margin),
        _one_direction(across.T, same.T, visible, margin, intra_margin),
    ]
    return sums[0][0] + sums[1][0], sums[0][1] + sums[1][1]


def _one_direction(
    across: Tensor, same: Tensor, others: Tensor, margin: float, intra_margin: float
) -> tuple[Tensor, Tensor]:
    """The two means over the anchors, which are the rows; the columns are the others."""
    counts = same.any(1) & ~same.all(1)
    if not counts.any():
        return across.sum() * 0, across.sum() * 0
    across, same = across[counts], same[counts]
    positive, p = across.masked_fill(~same, -torch.inf).max(1)
    negative, n = across.masked_fill(same, torch.inf).min(1)
    within = distances(others, others, unit=True)[p, n]
    return (
        (margin + positive - negative).clamp(min=0).mean(),
        (intra_margin - within).clamp(min=0).mean(),
    )
