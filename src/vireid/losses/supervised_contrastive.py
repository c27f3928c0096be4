"""The supervised contrastive loss: every positive against all other candidates."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["cross_modal_contrastive_loss", "supervised_contrastive_loss"]


def supervised_contrastive_loss(
    anchors: Tensor,
    candidates: Tensor,
    anchor_labels: Tensor,
    candidate_labels: Tensor,
    *,
    temperature: float = 0.1,
    exclude_self: bool = False,
) -> Tensor:
    r"""Supervised contrastive loss of anchors against candidates, on L2-normalised features.

    .. math:: L = - \operatorname{mean}_a \operatorname{mean}_{p: y_p = y_a}
              \log \frac{\exp(a \cdot p / \tau)}{\sum_c \exp(a \cdot c / \tau)}

    Anchors without a positive are ignored. Source: Khosla et al., "Supervised Contrastive
    Learning", NeurIPS 2020, eq. 2.

    Args:
        anchors: Unit features, ``[n, d]``.
        candidates: Unit features, ``[m, d]``.
        anchor_labels: Class indices, int64 ``[n]``.
        candidate_labels: Class indices, int64 ``[m]``.
        temperature: tau, in units of the cosine similarity.
        exclude_self: The candidates are the anchors, and none is its own candidate.

    Returns:
        A scalar; 0 if no anchor has a positive.
    """
    similarity = anchors @ candidates.T / temperature
    positive = anchor_labels[:, None] == candidate_labels[None, :]
    if exclude_self:
        own = torch.eye(len(anchors), dtype=torch.bool, device=anchors.device)
        similarity = similarity.masked_fill(own, -torch.inf)
        positive = positive & ~own
    log_share = F.log_softmax(similarity, dim=1)
    count = positive.sum(1)
    total = torch.where(positive, log_share, 0).sum(1) / count.clamp(min=1)
    return -total.sum() / (count > 0).sum().clamp(min=1)


def cross_modal_contrastive_loss(
    visible: Tensor,
    infrared: Tensor,
    visible_labels: Tensor,
    infrared_labels: Tensor,
    *,
    temperature: float = 0.1,
) -> Tensor:
    """Supervised contrastive loss across modalities and, at half the weight, among all images.

    The first part, the mean of both directions, has candidates of the other modality only: the gap
    between the modalities is the same for all of them, and cannot be what tells them apart.

    Args:
        visible: Unit features, ``[n, d]``.
        infrared: Unit features, ``[n, d]``.
        visible_labels: Class indices, int64 ``[n]``.
        infrared_labels: Class indices, int64 ``[n]``.
        temperature: In units of the cosine similarity.

    Returns:
        A scalar.
    """
    loss = supervised_contrastive_loss
    to_infrared = loss(visible, infrared, visible_labels, infrared_labels, temperature=temperature)
    to_visible = loss(infrared, visible, infrared_labels, visible_labels, temperature=temperature)
    features = torch.cat([visible, infrared])
    labels = torch.cat([visible_labels, infrared_labels])
    among_all = loss(features, features, labels, labels, temperature=temperature, exclude_self=True)
    return (to_infrared + to_visible + among_all) / 2
