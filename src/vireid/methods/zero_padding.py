"""Deep zero-padding: one network for both modalities, each with an input plane of its own.

A. Wu, W.-S. Zheng, H.-X. Yu, S. Gong, J. Lai: "RGB-Infrared Cross-Modality Person
Re-Identification", ICCV 2017.

The idea: one stream for both modalities, but the input has two planes, and each modality leaves the
other's at zero. A filter of the first layer has separate weights for the two planes, so that by
itself the network can grow nodes that answer to one modality alone: the two streams of other
methods, with their place of joining learnt.

    visible  ── (grey, 0) ─────┐
                               ├─ one backbone ─ average pooling ─┬─ feature
    infrared ── (0, infrared) ─┘                                  └─ Linear ─ CE

    L = CE

Published (R-1/mAP): SYSU-MM01 all-search single-shot 14.80/15.95; unverified: no copy of the tables
was at hand. The authors' later features, scored on their official permutation, give 16.71/19.10.
At ResNet-50 and 395 identities 24,314,251 parameters and features of 2048 numbers.

What was changed or chosen:

- The backbone is a ResNet-50 from ImageNet weights instead of the paper's small residual network.
  Each plane starts with the sum of the three colours' filters, which is what those filters see in a
  grey picture (:mod:`vireid.nn.input_channels`): training starts from equal filters on both planes.
- The paper pads raw zeros, black. Here a zero is one behind the normalisation, ImageNet's mean
  grey: only so does the empty plane add exactly nothing to the first convolution, which the paper's
  argument for modality-specific nodes needs. A raw black would add a constant to every filter.
- Grey is the luminance of the picture before normalisation, on the same scale again
  (:func:`vireid.data.pixels.grey`).
- The feature is the pooled output of the last stage, which the classifier reads: the last layer
  that knows nothing of the training identities. For two cores a batch norm stands between
  (:mod:`vireid.methods.one_stream` says why).
- Input size, batch and schedule are the ones common to the recipes here; the paper's are not known.

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
from typing import Annotated, Literal

import torch
import tyro
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
    """What deep zero-padding is made of."""

    kind: Annotated[Literal["zero-padding"], tyro.conf.Suppress] = "zero-padding"

    def build(self, *, classes: int) -> ZeroPadding:
        """The network for a number of training identities."""
        return ZeroPadding(self, classes=classes)


class ZeroPadding(OneStreamMethod):
    """One stream with an input plane a modality, trained by the identity loss alone.

    Args:
        config: Its options.
        classes: Number of training identities.
    """

    def __init__(self, config: ZeroPaddingConfig, *, classes: int) -> None:
        super().__init__(config, classes=classes, stands_for=(GREY, GREY))

    def planes(self, images: Tensor, modality: Modality) -> Tensor:
        """(grey, 0) of visible images, (0, infrared) of infrared ones: ``[n, 2, H, W]``."""
        plane = grey(images)
        nothing = torch.zeros_like(plane)
        pair = (plane, nothing) if modality is Modality.VISIBLE else (nothing, plane)
        return torch.cat(pair, dim=1)


def recipe() -> Recipe[ZeroPaddingConfig]:
    """Deep zero-padding with the common batch and schedule."""
    return Recipe(method=ZeroPaddingConfig())
