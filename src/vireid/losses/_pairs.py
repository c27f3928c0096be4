"""Pairwise distances and centers, for losses over pairs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["centers", "distances"]


def distances(a: Tensor, b: Tensor, *, unit: bool = False) -> Tensor:
    """Euclidean distances between the rows of two matrices.

    Computed from differences and in float32 at least, under autocast too: computed from products
    in half precision, the error of small distances would exceed the margins of the losses.

    Args:
        a: ``[n, d]``.
        b: ``[m, d]``.
        unit: Normalise the rows first, so that distances are in [0, 2].

    Returns:
        ``[n, m]``; the gradient is 0 where two rows are equal.
    """
    a, b = (x.float() if x.dtype in (torch.bfloat16, torch.float16) else x for x in (a, b))
    if unit:
        a, b = functional.normalize(a, dim=1), functional.normalize(b, dim=1)
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def centers(x: Tensor, labels: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The mean of the rows of each label.

    In float32 at least: half precision would lose the small differences between centers.

    Args:
        x: ``[n, …]``.
        labels: Class indices, int64 ``[n]``.
        size: Number of classes.

    Returns:
        Means ``[size, …]``, 0 without a row, and the numbers of rows ``[size]``.
    """
    x = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    count = torch.bincount(labels, minlength=size)
    sums = x.new_zeros(size, *x.shape[1:]).index_add(0, labels, x)
    return sums / count.clamp(min=1).to(x.dtype).view(-1, *[1] * (x.ndim - 1)), count
