"""Normalised images on a scale from 0 to 1 again, or as grey."""

from __future__ import annotations

from torch import Tensor

from vireid.data.transforms import IMAGENET_MEAN, IMAGENET_STD, LUMINANCE

__all__ = ["denormalise", "grey"]


def denormalise(images: Tensor) -> Tensor:
    """Undo :func:`~vireid.data.transforms.normalise`, on a scale from 0 to 1.

    Args:
        images: float ``[n, 3, H, W]``, normalised by ImageNet statistics.

    Returns:
        ``[n, 3, H, W]``.
    """
    mean = images.new_tensor(IMAGENET_MEAN)[:, None, None]
    std = images.new_tensor(IMAGENET_STD)[:, None, None]
    return images * std + mean


def grey(images: Tensor) -> Tensor:
    """The luminance of images as one normalised plane.

    With x_c = (v_c - m_c) / s_c the luminance Y = sum_c l_c v_c is normalised by the luminance of
    the statistics, (Y - sum_c l_c m_c) / sum_c l_c s_c, which is the mean of the x_c weighted by
    l_c s_c. An infrared image, whose three v_c are equal, keeps its only channel.

    Args:
        images: float ``[n, 3, H, W]``, normalised by ImageNet statistics.

    Returns:
        ``[n, 1, H, W]``; 0 is the mean of ImageNet's luminance.
    """
    weights = images.new_tensor(LUMINANCE) * images.new_tensor(IMAGENET_STD)
    weights = weights / weights.sum()
    return (images * weights[:, None, None]).sum(1, keepdim=True)
