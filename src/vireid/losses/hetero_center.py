"""The hetero-center loss: the visible and infrared centers of an identity should coincide."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from vireid.losses._pairs import centers

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
    centers_v, count_v = centers(_unit(visible), visible_labels, size)
    centers_t, count_t = centers(_unit(infrared), infrared_labels, size)
    both = (count_v > 0) & (count_t > 0)
    distances = (centers_v - centers_t)[both].square().flatten(1).sum(1)
    if reduction == "mean":
        return distances.sum() / both.sum().clamp(min=1)
    return distances.sum()


def _unit(x: Tensor) -> Tensor:
    """The normalised rows, in float32 at least."""
    return F.normalize(x.float() if x.dtype in (torch.bfloat16, torch.float16) else x, dim=-1)
