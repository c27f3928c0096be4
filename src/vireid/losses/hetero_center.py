"""The hetero-center loss: the visible and infrared centers of an identity should coincide."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["hetero_center_loss"]


def hetero_center_loss(
    visible: Tensor,
    infrared: Tensor,
    visible_labels: Tensor,
    infrared_labels: Tensor,
    *,
    reduction: Literal["sum", "mean"] = "sum",
) -> Tensor:
    r"""Squared distance between the visible and the infrared center of each identity.

    .. math:: L_{HC} = \sum_i \lVert c_i^V - c_i^T \rVert_2^2, \qquad
              c_i^m = \frac{1}{K_i^m} \sum_k \frac{x_{i,k}^m}{\lVert x_{i,k}^m \rVert_2}

    The centers themselves are not normalised again. Identities with images of one modality only
    are ignored. Source: Zhu et al., "Hetero-Center Loss for Cross-Modality Person
    Re-Identification", Neurocomputing 2020, eq. 3, on normalised embeddings as in its published
    code.

    Args:
        visible: Embeddings of visible images, ``[n_v, …, d]``; axes between (stripes) are
            independent and their losses are summed.
        infrared: Embeddings of infrared images, ``[n_t, …, d]``.
        visible_labels: Class indices, int64 ``[n_v]``.
        infrared_labels: Class indices, int64 ``[n_t]``.
        reduction: ``sum`` over identities (as published; its weight grows with the number of
            identities per batch) or ``mean``.

    Returns:
        A scalar; 0 where no identity is in both modalities.
    """
    size = int(max(visible_labels.max(), infrared_labels.max())) + 1
    centers_v, count_v = _centers(visible, visible_labels, size)
    centers_t, count_t = _centers(infrared, infrared_labels, size)
    both = (count_v > 0) & (count_t > 0)
    distances = (centers_v - centers_t)[both].square().flatten(1).sum(1)
    if reduction == "mean":
        return distances.sum() / both.sum().clamp(min=1)
    return distances.sum()


def _centers(x: Tensor, labels: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Mean of the normalised rows of each label, ``[size, …, d]``, and their numbers ``[size]``."""
    # Half precision would lose the small differences between centers.
    x = F.normalize(x.float() if x.dtype in (torch.bfloat16, torch.float16) else x, dim=-1)
    count = torch.bincount(labels, minlength=size)
    sums = x.new_zeros(size, *x.shape[1:]).index_add(0, labels, x)
    return sums / count.clamp(min=1).to(x.dtype).view(-1, *[1] * (x.ndim - 1)), count
