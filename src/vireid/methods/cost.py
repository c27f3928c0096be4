"""Parameters and operations of a method's network, counted without computing."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from vireid.methods.method import MethodConfig
from vireid.types import Modality

__all__ = ["CLASSES", "Cost", "cost"]

CLASSES = 395
"""Training identities of SYSU-MM01, each with an output of the classifiers."""


class Cost(NamedTuple):
    """Size and cost of a network.

    Attributes:
        feature: Length of a feature.
        parameters: Trainable parameters, with classifiers for :data:`CLASSES` identities.
        flops: Operations of the convolutions and matrix products that extract the feature of one
            visible image; a multiply-add counts as two.
    """

    feature: int
    parameters: int
    flops: int


@functools.cache
def cost(config: MethodConfig) -> Cost:
    """Count the cost of a method's network in a fraction of a second and little memory.

    Args:
        config: The method's options; its initial weights do not matter.
    """
    with torch.device("meta"):
        network = replace(config, weights="none").build(classes=CLASSES).eval()
    # A method may query its device, and autocast does not support "meta": keep weights on the CPU
    # that nothing writes or reads, and run operations that only propagate shapes.
    network.to_empty(device="cpu")
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        image = torch.empty(1, 3, *network.size)
        with FlopCounterMode(display=False) as counter:
            features = network.extract_features(image, Modality.VISIBLE)
    return Cost(
        feature=features.shape[1],
        parameters=sum(p.numel() for p in network.parameters() if p.requires_grad),
        flops=counter.get_total_flops(),
    )
