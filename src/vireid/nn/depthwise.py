"""Depthwise convolutions that compute the gradient of their filters as matrix products.

The gradient of filter c is a sum over images n and positions p of products of a pixel and a
gradient at offset a:

    dw_c[a] = sum_n sum_p  x_c[n, p + a] g_c[n, p]

For each channel the products of all pairs of pixels and gradients, summed over the images, are one
matrix product x_c' g_c, whose elements are then summed by offset. That is more multiplications (h w
instead of 25 for each element of g), and yet faster on small maps: oneDNN reaches one to four
GFLOP/s in the filter gradients of 5x5 convolutions over the last maps of a mobile network, a matrix
product about forty. For 3x3 filters and large maps oneDNN is faster (docs/benchmarks/speed.md).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

__all__ = ["depthwise_conv", "is_faster"]

_FILTER = 5
"""Minimum rows and columns of a filter for which the products are faster."""
_PLACES = 72
"""Maximum positions of a map for which they are faster."""


def is_faster(x: Tensor, weight: Tensor) -> bool:
    """Whether :func:`depthwise_conv` is faster than torch in training.

    Args:
        x: ``[n, C, h, w]``.
        weight: ``[C, 1, k, l]``.
    """
    return (
        torch.is_grad_enabled()
        and weight.requires_grad
        and min(weight.shape[2:]) >= _FILTER
        and x.shape[2] * x.shape[3] <= _PLACES
    )


def depthwise_conv(x: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
    """Convolve each channel with a filter of its own, stride 1.

    Args:
        x: ``[n, C, h, w]``, fastest in channels-last memory.
        weight: ``[C, 1, k, l]``.
        padding: Rows of zeros above and below, columns of zeros on the left and right.

    Returns:
        ``[n, C, h', w']``.
    """
    found: Tensor = _Convolution.apply(x, weight, padding)
    return found


class _Convolution(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return torch.conv2d(x, weight, None, padding=padding, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            to_x, _, _ = torch.ops.aten.convolution_backward(
                *(gradient, x, weight, None, (1, 1), ctx.padding, (1, 1), False, (0, 0)),
                *(len(weight), (True, False, False)),
            )
        if ctx.needs_input_grad[1]:
            pairs = _by_channel(x).transpose(1, 2) @ _by_channel(gradient)
            distances = _distances(x.shape[2:], weight.shape[2:], ctx.padding, x.dtype, x.device)
            to_weight = (pairs.flatten(1) @ distances).view_as(weight)
        return to_x, to_weight, None


def _by_channel(maps: Tensor) -> Tensor:
    """``[n, C, h, w]`` to ``[C, n, h w]``."""
    n, c, h, w = maps.shape
    return maps.permute(0, 2, 3, 1).reshape(-1, c).t().contiguous().view(c, n, h * w)


@cache
def _distances(
    size: torch.Size,
    kernel: torch.Size,
    padding: tuple[int, int],
    kind: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Which number of a filter joins a pixel and an output: 0 or 1, ``[h w h' w', k l]``."""
    rows, columns = (
        _along(*given, kind, device) for given in zip(size, kernel, padding, strict=True)
    )
    # [h, h', k] and [w, w', l] to [h, w, h', w', k, l].
    both = rows[:, None, :, None, :, None] * columns[None, :, None, :, None, :]
    return both.reshape(-1, kernel.numel())


def _along(
    length: int, kernel: int, padding: int, kind: torch.dtype, device: torch.device
) -> Tensor:
    """The same along one axis, ``[h, h', k]``."""
    inputs = torch.arange(length, device=device)[:, None, None]
    outputs = torch.arange(length + 2 * padding - kernel + 1, device=device)[None, :, None]
    return (inputs - outputs + padding == torch.arange(kernel, device=device)).to(kind)
