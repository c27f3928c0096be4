"""Pooling of a feature map into horizontal stripes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["GeM", "StripeMax", "StripePool"]


class StripePool(nn.Module):
    """Average over equal horizontal stripes.

    If the height is not a multiple of the number of stripes, the bounds are those of adaptive
    pooling: every row is used, and adjacent stripes may share one.

    Args:
        stripes: p, the number of stripes.
    """

    def __init__(self, stripes: int) -> None:
        super().__init__()
        self.stripes = stripes

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``[n, C, h, w]`` into ``[n, p, C]``, the topmost stripe first."""
        return F.adaptive_avg_pool2d(x, (self.stripes, 1)).squeeze(3).transpose(1, 2)


class StripeMax(StripePool):
    """Maximum over equal horizontal stripes.

    Args:
        stripes: p, the number of stripes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``[n, C, h, w]`` into ``[n, p, C]``, the topmost stripe first."""
        return F.adaptive_max_pool2d(x, (self.stripes, 1)).squeeze(3).transpose(1, 2)


class GeM(StripePool):
    """Generalised mean over equal horizontal stripes: (mean x^q)^(1/q), q learned.

    Source: Radenović et al., "Fine-tuning CNN Image Retrieval with No Human Annotation",
    TPAMI 2019, eq. 2. q = 1 is the average, q to infinity the maximum.

    Args:
        stripes: p, the number of stripes.
        power: The start value of q.
    """

    def __init__(self, stripes: int, *, power: float = 3.0) -> None:
        super().__init__(stripes)
        self.power = nn.Parameter(torch.tensor(power))

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``[n, C, h, w]`` into ``[n, p, C]``; values below 1e-6 count as 1e-6."""
        # In half precision x^q underflows or overflows early.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        powered = wide.clamp(min=1e-6).pow(self.power)
        return super().forward(powered).pow(1.0 / self.power).to(x.dtype)
