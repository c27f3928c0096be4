"""Deep zero-padding: one network for both modalities, with a separate input channel for each.

A. Wu, W.-S. Zheng, H.-X. Yu, S. Gong, J. Lai: "RGB-Infrared Cross-Modality Person
Re-Identification", ICCV 2017.

The idea: both modalities share one stream whose input has two channels, and each modality leaves
the channel of the other at zero. A filter of the first layer has separate weights for the two
channels, so that the network can learn nodes that respond to one modality only: two streams whose
point of fusion is learned.

    visible  ── (grey, 0) ─────┐
                               ├─ one backbone ─ average pooling ─┬─ feature
    infrared ── (0, infrared) ─┘                                  └─ Linear ─ CE

    L = CE

Published (R-1/mAP): SYSU-MM01 all-search single-shot 14.80/15.95 (unverified: the tables were not
available). The authors' later features, scored on their official permutation, give 16.71/19.10.
With ResNet-50 and 395 identities: 24,314,251 parameters, features of 2048 values.

Changes and choices:

- The backbone is a ResNet-50 from ImageNet weights instead of the paper's small residual network.
  Both channels start with the sum of the filters of the three colours, the response of these
  filters to a grey image (:mod:`vireid.nn.input_channels`).
- The paper pads with raw zeros, black. Here the zero comes after the normalisation and is
  ImageNet's mean grey: only then does the empty channel add exactly nothing to the first
  convolution, as the paper's argument for modality-specific nodes requires. Raw black would add a
  constant to every filter.
- Grey is the luminance of the image before normalisation, normalised again
  (:func:`vireid.data.pixels.grey`).
- The feature is the pooled output of the last stage, the input of the classifier. The recipe for
  two cores has a batch norm in between (:mod:`vireid.methods.one_stream` says why).
- Input size, batch and schedule are those common to the recipes here; the paper's are unknown.

Example:
    >>> import torch
    >>> from vireid.types import Modality
    >>> config = ZeroPaddingConfig(backbone="resnet18", weights="none", size=(64, 32))
    >>> model = ZeroPadding(config, classes=10).eval()
    >>> model.extract_features(torch.randn(2, 3, 64, 32), Modality.INFRARED).shape
    torch.Size([2, 512])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vireid.data.pixels import grey
from vireid.methods.one_stream import OneStreamConfig, OneStreamMethod
from vireid.methods.recipe import Paper, Recipe
from vireid.nn.input_channels import GREY
from vireid.types import Modality

__all__ = ["PAPER", "ZeroPadding", "ZeroPaddingConfig", "recipe"]

PAPER = Paper(
    name="Deep zero-padding",
    authors="Wu et al.",
    title="RGB-Infrared Cross-Modality Person Re-Identification",
    venue="ICCV",
    year=2017,
)


@dataclass(frozen=True, kw_only=True)
class ZeroPaddingConfig(OneStreamConfig):
    """The options of deep zero-padding."""

    kind: ClassVar[str] = "zero-padding"

    def build(self, *, classes: int) -> ZeroPadding:
        """Build the network for a number of training identities."""
        return ZeroPadding(self, classes=classes)


class ZeroPadding(OneStreamMethod):
    """One stream with an input channel for each modality, trained with the identity loss.

    Args:
        config: The options.
        classes: Number of training identities.
    """

    def __init__(self, config: ZeroPaddingConfig, *, classes: int) -> None:
        super().__init__(config, classes=classes, input_colours=(GREY, GREY))

    def input_channels(self, images: Tensor, modality: Modality) -> Tensor:
        """(grey, 0) of visible images, (0, infrared) of infrared ones: ``[n, 2, H, W]``."""
        channel = grey(images)
        empty = torch.zeros_like(channel)
        pair = (channel, empty) if modality is Modality.VISIBLE else (empty, channel)
        return torch.cat(pair, dim=1)


def recipe() -> Recipe[ZeroPaddingConfig]:
    """Deep zero-padding with the common batch and schedule."""
    return Recipe(method=ZeroPaddingConfig())
