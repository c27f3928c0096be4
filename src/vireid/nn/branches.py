"""Branches behind a common trunk, each with its own layers and its own granularities.

                                                   ┌─ rest of layer3 ── layer4 ── pooled
    stem ── layer1 ── layer2 ── layer3, 1st block ─┼─ rest of layer3 ── layer4 ── pooled
                                                   └─ rest of layer3 ── layer4 ── pooled

G. Wang, Y. Yuan, X. Chen, J. Li, X. Zhou: "Learning Discriminative Features with Multiple
Granularities for Person Re-Identification", ACM MM 2018.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from vireid.nn.backbone import StageName
from vireid.nn.pooling import StripeMax

__all__ = ["Branch", "split_stages"]


def split_stages(stages: Mapping[StageName, nn.Module]) -> tuple[nn.Sequential, nn.Sequential]:
    """Cut any backbone behind layer3's first block, the one that halves the resolution.

    Args:
        stages: As :func:`vireid.nn.build_stages` gives them.

    Returns:
        The layers before the cut, up to maps of 1/16, and the layers behind it.
    """
    first, *rest = _blocks(stages["layer3"])
    trunk = nn.Sequential(stages["stem"], stages["layer1"], stages["layer2"], first)
    return trunk, nn.Sequential(*rest, stages["layer4"])


class Branch(nn.Module):
    """The layers of one branch, and the maxima over the stripes of its map.

    Args:
        layers: Maps ``[n, c, h, w]`` to ``[n, C, h', w']``.
        stripes: How often the map is cut, and into how many stripes each time; (1, 2) gives the
            whole map, its upper half and its lower half.
    """

    def __init__(self, layers: nn.Module, stripes: Sequence[int]) -> None:
        super().__init__()
        self.layers = layers
        self.pools = nn.ModuleList(StripeMax(count) for count in stripes)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, c, h, w]`` to ``[n, sum(stripes), C]``."""
        x = self.layers(x)
        return torch.cat([pool(x) for pool in self.pools], dim=1)


def _blocks(stage: nn.Module) -> Iterator[nn.Module]:
    """The blocks of a stage, also where it is a sequence of sequences of them."""
    for child in stage.children():
        # A subclass of Sequential is a layer of its own, such as a convolution with its norm.
        if type(child) is nn.Sequential:
            yield from _blocks(child)
        else:
            yield child
