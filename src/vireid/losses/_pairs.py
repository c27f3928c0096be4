"""Distances between all rows, for the losses that compare pairs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["distances"]


def distances(a: Tensor, b: Tensor, *, unit: bool = False) -> Tensor:
    """Euclidean distances between the rows of two matrices.

    Reckoned from differences and in float32 at least, under autocast too: by way of products,
    and those in half precision, near pairs would be off by more than the margins of the losses.

    Args:
        a: ``[n, d]``.
        b: ``[m, d]``.
        unit: Normalise the rows first, so that distances are in [0, 2].

    Returns:
        ``[n, m]``; where two rows are equal the gradient is 0.
    """
    a, b = (x.float() if x.dtype in (torch.bfloat16, torch.float16) else x for x in (a, b))
    if unit:
        a, b = functional.normalize(a, dim=1), functional.normalize(b, dim=1)
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
