"""DEEN's losses on generated embeddings: center-guided pair mining, and orthogonality."""

from __future__ import annotations

import torch
from torch import Tensor

from vireid.losses._pairs import centers, distances

__all__ = ["center_pair_mining_loss", "orthogonality_loss"]


def center_pair_mining_loss(
    visible: Tensor,
    infrared: Tensor,
    visible_generated: Tensor,
    infrared_generated: Tensor,
    visible_labels: Tensor,
    infrared_labels: Tensor,
    *,
    margin: float = 0.2,
    released: bool = True,
) -> Tensor:
    r"""Center-guided pair mining: generated embeddings approach the other modality.

    With c_j the center of an identity's embeddings, v and t the original ones of the two
    modalities, v+ those generated from v, and D the Euclidean distance, the paper's form is

    .. math:: L_v = \operatorname{mean}_j \max(0, D(c_{t,j}, c_{v+,j}) - D(c_{v,j}, c_{v+,j})
              - \min_{k \ne j} D(c_{v,j}, c_{v,k}) + m), \qquad L = L_v + L_t

    and L_t the same with the modalities exchanged. Source: Zhang and Wang, "Diverse Embedding
    Expansion Network and Low-Light Cross-Modality Benchmark for Visible-Infrared Person
    Re-identification", CVPR 2023 (DEEN), eqs. 3 to 5, which leave open which k is taken; their
    code takes the nearest. As two distances are subtracted from one, this is usually 0.

    The released code compares each distance by a hinge of its own, with [x] for max(0, x + m):

    .. math:: L_v = \operatorname{mean}_j [p_j - D(c_{v,j}, c_{v+,j})] +
              \tfrac12 [p_j - \min_k D(c_{v+,j}, c_{v+,k})] +
              \tfrac12 [p_j - \min_k D(c_{v,j}, c_{v,k})], \quad p_j = D(c_{t,j}, c_{v+,j})

    without a gradient of the first subtracted distance, and L is the mean of L_v and L_t.
    Identities in one modality only are ignored.

    Args:
        visible: Original embeddings of visible images, ``[n_v, d]``, not normalised.
        infrared: Original embeddings of infrared images, ``[n_t, d]``.
        visible_generated: Embeddings generated from ``visible``, ``[n_v, d]``.
        infrared_generated: Embeddings generated from ``infrared``, ``[n_t, d]``.
        visible_labels: Class indices, int64 ``[n_v]``.
        infrared_labels: Class indices, int64 ``[n_t]``.
        margin: m, in units of the distance.
        released: The form of the code instead of that of the paper.

    Returns:
        A scalar; 0 where no identity is in both modalities.
    """
    size = int(max(visible_labels.max(), infrared_labels.max())) + 1
    v, count_v = centers(visible, visible_labels, size)
    t, count_t = centers(infrared, infrared_labels, size)
    both = (count_v > 0) & (count_t > 0)
    if not both.any():
        return (visible.sum() + infrared.sum()) * 0
    v, t = v[both], t[both]
    from_v = centers(visible_generated, visible_labels, size)[0][both]
    from_t = centers(infrared_generated, infrared_labels, size)[0][both]
    losses = [
        _toward(other, own, generated, margin=margin, released=released)
        for other, own, generated in ((t, v, from_v), (v, t, from_t))
    ]
    return torch.stack(losses).mean() if released else torch.stack(losses).sum()


def _toward(
    other: Tensor, own: Tensor, generated: Tensor, *, margin: float, released: bool
) -> Tensor:
    """The loss of one modality's generated centers; all centers are ``[identities, d]``."""
    positive = distances(other, generated).diagonal()
    distance_to_own = distances(own, generated).diagonal()
    if not released:
        gap = positive - distance_to_own - _nearest(own)
        return (gap + margin).clamp(min=0).mean()
    limits = ((distance_to_own.detach(), 1.0), (_nearest(generated), 0.5), (_nearest(own), 0.5))
    hinges = [weight * (positive - limit + margin).clamp(min=0) for limit, weight in limits]
    return torch.stack(hinges).sum(0).mean()


def _nearest(rows: Tensor) -> Tensor:
    """The distance of each row to the nearest other one; infinite if there is none."""
    own = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    return distances(rows, rows).masked_fill(own, torch.inf).amin(1)


def orthogonality_loss(generated: Tensor) -> Tensor:
    r"""Products of the embeddings that different branches generate from one image.

    .. math:: L = \frac{1}{n (b + 1)} \sum_i \sum_{m < k} x_{i,m} \cdot x_{i,k}

    Source: as :func:`center_pair_mining_loss`, eq. 6; divided by the number of all embeddings,
    original and generated, as in the released code.

    Args:
        generated: Embeddings of n images from b branches, ``[n, b, d]``.

    Returns:
        A scalar; 0 with a single branch.
    """
    wide = generated.to(torch.promote_types(generated.dtype, torch.float32))
    count, branches, _ = wide.shape
    products = wide @ wide.transpose(1, 2)
    return products.triu(diagonal=1).sum() / (count * (branches + 1))
