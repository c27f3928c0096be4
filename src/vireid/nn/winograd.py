"""3x3 convolutions with a third of the multiplications, as batches of matrix products.

An output tile of 3x3 pixels is a 3x3 filter slid over a 5x5 patch: 81 products of numbers. By
Toom and Cook's interpolation 25 are enough, those of the transformed patch with the transformed
filter, position by position; over all tiles and channels each position is one matrix product.

    Y = A' [ (G g G') . (B' d B) ] A        d: patch [5, 5], g: filter [3, 3], Y: tile [3, 3]

The gradients are the transposed maps, so that they cost as little. Source: Lavin and Gray, "Fast
Algorithms for Convolutional Neural Networks", CVPR 2016, whose F(3x3, 3x3) this is, at the points
0, 1, -1, 2 and infinity. Sums are formed in another order than by the definition: in float32 the
results differ from it by some 1e-6 of the largest.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import Function, once_differentiable
from torch.nn import functional as F

__all__ = ["count_tiles", "transform_filters", "winograd_conv"]

_TILE = 3
"""Rows and columns of an output tile."""
_PATCH = 5
"""Rows and columns of the input that a tile depends on."""
_POINTS = (0.0, 1.0, -1.0, 2.0)


def winograd_conv(x: Tensor, filters: Tensor) -> Tensor:
    """Convolve with 3x3 filters, stride 1, one pixel of zero padding.

    Args:
        x: ``[n, C, h, w]``, fastest in channels-last memory.
        filters: What :func:`transform_filters` makes of the weight, ``[25, C, K]``.

    Returns:
        ``[n, K, h, w]`` in channels-last memory.
    """
    found: Tensor = _Convolution.apply(x, filters)
    return found


def transform_filters(weight: Tensor) -> Tensor:
    """G g G' of every filter.

    Args:
        weight: ``[K, C, 3, 3]``, fastest in channels-last memory.

    Returns:
        ``[25, C, K]``.
    """
    _, _, g = _matrices(weight.dtype, weight.device)
    return (g @ weight.permute(0, 2, 3, 1).flatten(1, 2)).permute(1, 2, 0)


def count_tiles(shape: torch.Size) -> int:
    """Rows of each of the 25 matrix products, for maps of a shape ``[n, C, h, w]``."""
    return shape[0] * _tiles(shape[2]) * _tiles(shape[3])


class _Convolution(Function):
    """Of maps and transformed filters; torch itself differentiates the filters' transform.

    Transformed patches and tiles are ``[T, 25, channels]``, T = n * tiles: neither transform nor
    product has to gather numbers that are far apart.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, filters: Tensor) -> Tensor:
        ctx.save_for_backward(x, filters)
        _, a, _ = _matrices(x.dtype, x.device)
        return _join(a @ _at_each_position(_patches(x), filters), x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, filters = ctx.saved_tensors
        _, a, _ = _matrices(x.dtype, x.device)
        products = a.T @ _cut(gradient)
        to_x = to_filters = None
        if ctx.needs_input_grad[0]:
            to_x = _add_patches(_at_each_position(products, filters.mT), x.shape)
        if ctx.needs_input_grad[1]:
            by_filter = _at_each_position(products.permute(2, 1, 0), _patches(x).transpose(0, 1))
            to_filters = by_filter.permute(1, 2, 0)
        return to_x, to_filters


def _at_each_position(a: Tensor, b: Tensor) -> Tensor:
    """Products of ``a[:, i]`` and ``b[i]``: ``[R, 25, S]`` and ``[25, S, D]`` to ``[R, 25, D]``."""
    out = a.new_empty(a.shape[0], a.shape[1], b.shape[2])
    torch.bmm(a.transpose(0, 1), b, out=out.transpose(0, 1))
    return out


def _patches(x: Tensor) -> Tensor:
    """B' d B of the patch of every tile: ``[n, C, h, w]`` to ``[T, 25, C]``."""
    n, c, h, w = x.shape
    rows, columns = _tiles(h), _tiles(w)
    below, right = _TILE * rows + 1 - h, _TILE * columns + 1 - w
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, right, 1, below))
    s = padded.stride()
    patches = padded.as_strided(
        (n, rows, columns, _PATCH, _PATCH, c),
        (s[0], _TILE * s[1], _TILE * s[2], s[1], s[2], s[3]),
    )
    b, _, _ = _matrices(x.dtype, x.device)
    return b @ patches.reshape(-1, _PATCH**2, c)


def _add_patches(products: Tensor, shape: torch.Size) -> Tensor:
    """The transpose of :func:`_patches`: ``[T, 25, C]`` to ``[n, C, h, w]``."""
    n, c, h, w = shape
    rows, columns = _tiles(h), _tiles(w)
    b, _, _ = _matrices(products.dtype, products.device)
    patches = (b.T @ products).view(n, rows, columns, _PATCH, _PATCH, c).transpose(2, 3)
    whole = products.new_zeros(n, rows + 1, _TILE, columns + 1, _TILE, c)
    # A patch covers its own tile, and two rows and columns of the next ones.
    over = _PATCH - _TILE
    whole[:, :-1, :, :-1] = patches[:, :, :_TILE, :, :_TILE]
    whole[:, 1:, :over, :-1] += patches[:, :, _TILE:, :, :_TILE]
    whole[:, :-1, :, 1:, :over] += patches[:, :, :_TILE, :, _TILE:]
    whole[:, 1:, :over, 1:, :over] += patches[:, :, _TILE:, :, _TILE:]
    padded = whole.view(n, _TILE * (rows + 1), _TILE * (columns + 1), c)
    return padded[:, 1 : h + 1, 1 : w + 1].contiguous().permute(0, 3, 1, 2)


def _join(tiles: Tensor, shape: torch.Size) -> Tensor:
    """Tiles ``[T, 9, K]`` side by side: ``[n, K, h, w]``, h and w those of ``shape``."""
    n, _, h, w = shape
    rows, columns = _tiles(h), _tiles(w)
    apart = tiles.view(n, rows, columns, _TILE, _TILE, -1).transpose(2, 3)
    joined = apart.reshape(n, _TILE * rows, _TILE * columns, -1)
    return joined[:, :h, :w].contiguous().permute(0, 3, 1, 2)


def _cut(maps: Tensor) -> Tensor:
    """The transpose of :func:`_join`: ``[n, K, h, w]`` to ``[T, 9, K]``."""
    n, k, h, w = maps.shape
    rows, columns = _tiles(h), _tiles(w)
    right, below = _TILE * columns - w, _TILE * rows - h
    padded = F.pad(maps.permute(0, 2, 3, 1), (0, 0, 0, right, 0, below))
    joined = padded.reshape(n, rows, _TILE, columns, _TILE, k)
    return joined.transpose(2, 3).reshape(-1, _TILE**2, k)


def _tiles(length: int) -> int:
    """Tiles that cover some rows or columns."""
    return -(-length // _TILE)


@cache
def _matrices(kind: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """B', A' and G for both axes at once: ``[25, 25]``, ``[9, 25]``, ``[25, 9]``."""
    b, a, g = (torch.from_numpy(np.kron(m, m)).to(device, kind) for m in _one_axis())
    return b, a, g


def _one_axis() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """B' ``[5, 5]``, A' ``[3, 5]`` and G ``[5, 3]``."""
    b, a, g = np.zeros((5, 5)), np.zeros((3, 5)), np.zeros((5, 3))
    for i, point in enumerate(_POINTS):
        others = [p for p in _POINTS if p != point]
        b[i, :4] = np.poly(others)[::-1]
        a[:, i] = point ** np.arange(3)
        g[i] = point ** np.arange(3) / np.prod([point - p for p in others])
    b[4] = np.poly(_POINTS)[::-1]
    a[2, 4] = g[4, 2] = 1.0
    return b, a, g
