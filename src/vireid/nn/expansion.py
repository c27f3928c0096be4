"""Diverse embedding expansion: further feature maps, generated from those of each image.

          ┌────────────────────────────────────────────────────────────── x
    x ────┼─ mean of three 3x3 (dilation 1, 2, 3) ─ ReLU ─ 1x1 ────────── x+ of branch 1
          └─ mean of three 3x3 (dilation 1, 2, 3) ─ ReLU ─ 1x1 ────────── x+ of branch 2

Y. Zhang, H. Wang: "Diverse Embedding Expansion Network and Low-Light Cross-Modality Benchmark for
Visible-Infrared Person Re-identification", CVPR 2023 (DEEN), eq. 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["EmbeddingExpansion"]

_DILATIONS = (1, 2, 3)
_REDUCTION = 4


class EmbeddingExpansion(nn.Module):
    """Generates one more map of each image in each branch.

    A branch has 27 C·C/4 + C/4·C + C parameters: 7,341,056 at C = 1024. As in the authors' code,
    the three convolutions have no bias and are averaged (eq. 1 adds them), and training leaves out
    1 % of the values of all maps.

    Args:
        channels: C, a multiple of 4.
        branches: b.
    """

    def __init__(self, channels: int, *, branches: int) -> None:
        super().__init__()
        inner = channels // _REDUCTION
        self.reduce = nn.ModuleList(
            nn.ModuleList(
                nn.Conv2d(channels, inner, 3, padding=dilation, dilation=dilation, bias=False)
                for dilation in _DILATIONS
            )
            for _ in range(branches)
        )
        self.expand = nn.ModuleList(nn.Conv2d(inner, channels, 1) for _ in range(branches))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        self.dropout = nn.Dropout(0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, C, h, w]`` to ``[(1 + b)·n, C, h, w]``: the originals, then each branch's."""
        maps = [x]
        for reduce, expand in zip(self.reduce, self.expand, strict=True):
            assert isinstance(reduce, nn.ModuleList)
            summed = torch.stack([layer(x) for layer in reduce]).sum(0)
            maps.append(expand(F.relu(summed / len(_DILATIONS))))
        return self.dropout(torch.cat(maps))  # type: ignore[no-any-return]
