"""Batch norms folded into the convolutions before them, for networks that no longer train.

In evaluation a batch norm multiplies and shifts each channel by fixed numbers, which the
convolution before it can do itself: one pass over the maps less, and the same results but for
rounding.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from vireid.nn.efficientnet_lite import Block

__all__ = ["fold_batch_norms"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)

_IN_ORDER = (nn.Sequential, Block)
"""Modules that apply a batch norm to the output of the convolution registered just before it."""
_IN_TORCHVISION = "torchvision.models.resnet"
"""A module with more such classes, compared by name because importing it takes seconds."""


def fold_batch_norms(network: ModuleT) -> ModuleT:
    """Fold every batch norm that directly follows a convolution.

    Args:
        network: In evaluation mode; changed in place. It can no longer be trained, nor saved under
            its parameters' names.

    Returns:
        ``network``.
    """
    for module in network.modules():
        if isinstance(module, _IN_ORDER) or type(module).__module__ == _IN_TORCHVISION:
            for (_, conv), (name, norm) in pairwise(list(module.named_children())):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    _fold(conv, norm)
                    setattr(module, name, nn.Identity())
    return network


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    conv.requires_grad_(False)
