"""Another number of input planes for a backbone, with what its pretrained filters mean.

A backbone's first convolution has filters for red, green and blue. A plane that stands for the
colours (a_r, a_g, a_b), that is for a picture whose channels are a_r, a_g and a_b times the plane,
gets the filters' sum a_r·w_r + a_g·w_g + a_b·w_b. As a convolution is linear, planes through the
new stem give exactly what the sum of their pictures gives through the old one:

    planes for           row           filter
    red                  (1, 0, 0)     w_r
    a grey picture       (1, 1, 1)     w_r + w_g + w_b
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import nn

__all__ = ["BLUE", "GREEN", "GREY", "RED", "Colour", "set_input_channels"]

Colour: TypeAlias = tuple[float, float, float]
"""How much red, green and blue a plane stands for."""

RED: Colour = (1.0, 0.0, 0.0)
"""A plane of red."""
GREEN: Colour = (0.0, 1.0, 0.0)
"""A plane of green."""
BLUE: Colour = (0.0, 0.0, 1.0)
"""A plane of blue."""
GREY: Colour = (1.0, 1.0, 1.0)
"""A plane that stands for itself repeated three times."""


def set_input_channels(stem: nn.Module, planes: Sequence[Colour]) -> None:
    """Change a stem in place so that it takes ``[n, len(planes), H, W]``.

    Args:
        stem: The first stage of a backbone, as :func:`~vireid.nn.build_stages` gives it.
        planes: What each plane stands for.
    """
    first = next(m for m in stem.modules() if isinstance(m, nn.Conv2d))
    weight = first.weight.detach()
    mixed = torch.einsum("pc,ochw->ophw", weight.new_tensor(planes), weight)
    first.weight = nn.Parameter(mixed)
    first.in_channels = len(planes)
