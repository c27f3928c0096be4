"""Other input channels for a backbone, initialised from its pretrained filters.

The first convolution of a backbone has filters for red, green and blue. An input channel that
contributes (a_r, a_g, a_b) times its value to the three colours gets the filter
a_r·w_r + a_g·w_g + a_b·w_b. As a convolution is linear, the new stem maps such channels to what the
original one maps the sum of their colour images to:

    channel              colour        filter
    red                  (1, 0, 0)     w_r
    a grey image         (1, 1, 1)     w_r + w_g + w_b
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import nn

__all__ = ["BLUE", "GREEN", "GREY", "RED", "Colour", "set_input_channels"]

Colour: TypeAlias = tuple[float, float, float]
"""Contribution of an input channel to red, green and blue."""

RED: Colour = (1.0, 0.0, 0.0)
"""A red channel."""
GREEN: Colour = (0.0, 1.0, 0.0)
"""A green channel."""
BLUE: Colour = (0.0, 0.0, 1.0)
"""A blue channel."""
GREY: Colour = (1.0, 1.0, 1.0)
"""A grey channel, equal to three equal colour channels."""


def set_input_channels(stem: nn.Module, colours: Sequence[Colour]) -> None:
    """Replace the input channels of a stem in place: it then takes ``[n, len(colours), H, W]``.

    Args:
        stem: The first stage of a backbone, as :func:`~vireid.nn.build_stages` gives it.
        colours: Colour of each input channel.
    """
    first = next(m for m in stem.modules() if isinstance(m, nn.Conv2d))
    weight = first.weight.detach()
    mixed = torch.einsum("pc,ochw->ophw", weight.new_tensor(colours), weight)
    first.weight = nn.Parameter(mixed)
    first.in_channels = len(colours)
