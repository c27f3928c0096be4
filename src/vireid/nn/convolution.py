"""Convolutions with faster CPU implementations.

Measured on AVX2 (docs/benchmarks/speed.md): a 1x1 convolution over channels-last maps is a matrix
product, and as such the gradient of its weight is a third faster; depthwise convolutions with large
filters over small maps train fastest with :mod:`vireid.nn.depthwise`. On a GPU, in bfloat16 and
under a compiler, convolutions use torch's implementation.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.nn.depthwise import depthwise_conv, is_faster

__all__ = ["Conv2d", "is_supported", "use_fast_convolutions"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)

_WIDE = 128
"""Minimum number of channels for which a matrix product is faster than oneDNN's 1x1 convolution."""


class Conv2d(nn.Conv2d):
    """A convolution like torch's, with its parameters, results (but for rounding) and gradients."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, C, h, w]`` to ``[n, K, h', w']``."""
        if not is_supported(x) or self.dilation != (1, 1):
            return super().forward(x)
        if self.groups != 1:
            padding = self._padding_of_depthwise()
            if padding is None or not is_faster(x, self.weight):
                return super().forward(x)
            found = depthwise_conv(x, self.weight, padding)
            return found if self.bias is None else found + self.bias[:, None, None]
        narrow = min(self.in_channels, self.out_channels)
        if self.kernel_size == (1, 1) and self.padding == (0, 0) and narrow >= _WIDE:
            down, right = self.stride
            rows = x.permute(0, 2, 3, 1)[:, ::down, ::right]
            return F.linear(rows, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
        return super().forward(x)

    def _padding_of_depthwise(self) -> tuple[int, int] | None:
        """The zero padding of a depthwise convolution of stride 1; None for other convolutions."""
        is_depthwise = self.groups == self.in_channels == self.out_channels
        if not is_depthwise or self.stride != (1, 1) or self.padding_mode != "zeros":
            return None
        return None if isinstance(self.padding, str) else (self.padding[0], self.padding[1])


def use_fast_convolutions(network: ModuleT) -> ModuleT:
    """Make every convolution of a network a :class:`Conv2d`.

    Args:
        network: Changed in place; parameters and their names stay.

    Returns:
        ``network``.
    """
    for module in network.modules():
        if type(module) is nn.Conv2d:
            # The attributes are the same, and references to the module stay valid.
            module.__class__ = Conv2d
    return network


def is_supported(x: Tensor) -> bool:
    """Whether the kernels of this module apply to a map ``[n, C, h, w]``."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and x.is_contiguous(memory_format=torch.channels_last)
    )
