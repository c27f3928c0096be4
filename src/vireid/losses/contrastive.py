"""The contrastive loss: pairs of one identity together, pairs of two a margin apart."""

from __future__ import annotations

from torch import Tensor

from vireid.losses._pairs import distances

__all__ = ["contrastive_loss"]


def contrastive_loss(
    visible: Tensor,
    infrared: Tensor,
    visible_labels: Tensor,
    infrared_labels: Tensor,
    *,
    margin: float = 0.5,
) -> Tensor:
    r"""Contrastive loss over all visible-infrared pairs, on L2-normalised embeddings.

    .. math:: L = \tfrac12 \left[ \tfrac12 \operatorname{mean}_{y_i = y_j} d_{ij}^2 +
              \tfrac12 \operatorname{mean}_{y_i \ne y_j} \max(0, m - d_{ij})^2 \right]

    with d Euclidean. This is the expectation over a batch of which one half are pairs of one
    identity and one half pairs of two, as the published code samples them. Source:
    Ye et al., "Hierarchical Discriminative Learning for Visible Thermal Person
    Re-Identification", AAAI 2018 (TONE); the loss itself is that of Hadsell et al., CVPR 2006.

    Args:
        visible: Embeddings of visible images, ``[n_v, d]``.
        infrared: Embeddings of infrared images, ``[n_t, d]``.
        visible_labels: Class indices, int64 ``[n_v]``.
        infrared_labels: Class indices, int64 ``[n_t]``.
        margin: m, in units of the distance, which is in [0, 2].

    Returns:
        A scalar; a half without pairs is 0.
    """
    distance = distances(visible, infrared, unit=True)
    same = visible_labels[:, None] == infrared_labels[None, :]
    pull = (distance.square() * same).sum() / same.sum().clamp(min=1)
    push = ((margin - distance).clamp(min=0).square() * ~same).sum() / (~same).sum().clamp(min=1)
    return 0.25 * (pull + push)
