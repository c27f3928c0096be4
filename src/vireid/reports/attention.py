"""PALM's attention maps: the weights with which a position attends to all others.

PALM (Wu et al., ICIC 2020) gives every position i of the feature map weights a_ij over all
positions j, which sum to 1. The weights of a few positions are drawn over the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from vireid.data.images import read_image
from vireid.errors import EvaluationError
from vireid.reports.style import INK

if TYPE_CHECKING:
    from vireid.features.extractor import AttentionMap

__all__ = ["POSITIONS", "AttentionPanel", "Position", "attention_figure"]

_PIXELS = (144, 288)


@dataclass(frozen=True, slots=True)
class Position:
    """A position in the image.

    Attributes:
        name: The body part there, for an upright person.
        x: From the left edge, in [0, 1].
        y: From the top edge, in [0, 1].
    """

    name: str
    x: float
    y: float


POSITIONS = (
    Position("head", 0.5, 0.10),
    Position("chest", 0.5, 0.28),
    Position("hip", 0.5, 0.50),
    Position("knee", 0.5, 0.72),
    Position("foot", 0.5, 0.92),
)


@dataclass(frozen=True, slots=True, eq=False)
class AttentionPanel:
    """One image and PALM's attention over it.

    Attributes:
        name: Label of the row, such as the modality.
        image: A PIL image or uint8 ``[H, W, 3]``.
        attention: Float ``[N, N]``, row i sums to 1; positions are in row-major order.
        grid: Height and width of the feature map; their product is N.
    """

    name: str
    image: Image.Image | NDArray[np.uint8]
    attention: ArrayLike
    grid: tuple[int, int]

    @classmethod
    def of(cls, found: AttentionMap, *, name: str) -> AttentionPanel:
        """The panel of an attention map, whose image is read from its file.

        Args:
            found: The attention map.
            name: Label of the row.
        """
        return cls(name, read_image(found.record.path), found.weights, found.grid)


def attention_figure(
    panels: Sequence[AttentionPanel], positions: Sequence[Position] = POSITIONS
) -> Figure:
    """Draw the attention of several positions over each image, one row per image.

    The colour scale of a map starts at the uniform weight 1/N and ends at its largest weight (at
    least twice the uniform one), so that uniform attention stays dark. The label below is the peak
    attention relative to uniform.

    Args:
        panels: The images, such as a visible and an infrared one of the same person.
        positions: The positions, one column each.

    Raises:
        EvaluationError: An attention map does not fit its grid, or is not finite.
    """
    columns = len(positions) + 1
    figure = Figure(figsize=(1.45 * columns, 2.95 * len(panels) + 0.35), layout="constrained")
    grid = figure.subplots(len(panels), columns, squeeze=False)
    for row, panel in zip(grid, panels, strict=True):
        attention = _checked(panel)
        pixels = _pixels(panel.image)
        row[0].imshow(pixels)
        row[0].set_ylabel(panel.name, fontsize=12, color=INK)
        grey = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2) / 255
        for axes, position in zip(row[1:], positions, strict=True):
            cell = _cell_of(position, panel.grid)
            weights = attention[cell].reshape(panel.grid)
            axes.imshow(_overlay(grey, weights))
            axes.plot(
                *_centre_of(cell, panel.grid),
                marker="o",
                markersize=9,
                markerfacecolor="none",
                markeredgecolor="white",
                markeredgewidth=2.2,
            )
            axes.plot(
                *_centre_of(cell, panel.grid),
                marker="o",
                markersize=11.5,
                markerfacecolor="none",
                markeredgecolor="#0072b2",
                markeredgewidth=1.4,
            )
            peak = weights.max() * weights.size
            axes.set_xlabel(f"peak {peak:.1f}× uniform", fontsize=9.5, color=INK)
        for axes in row:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
    for axes, name in zip(grid[0], ["image", *(p.name for p in positions)], strict=True):
        axes.set_title(name, fontsize=12, color=INK)
    return figure


def _checked(panel: AttentionPanel) -> NDArray[np.float64]:
    attention = np.asarray(panel.attention, dtype=np.float64)
    cells = panel.grid[0] * panel.grid[1]
    if attention.shape != (cells, cells) or not np.isfinite(attention).all():
        raise EvaluationError(
            f"the attention of '{panel.name}' has shape {attention.shape}; expected finite numbers "
            f"of shape {(cells, cells)} for a grid of {panel.grid[0]} x {panel.grid[1]}"
        )
    return attention


def _pixels(image: Image.Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
    opened = image if isinstance(image, Image.Image) else Image.fromarray(image)
    pixels: NDArray[np.uint8] = np.asarray(opened.convert("RGB").resize(_PIXELS))
    return pixels


def _cell_of(position: Position, grid: tuple[int, int]) -> int:
    height, width = grid
    row = min(int(position.y * height), height - 1)
    column = min(int(position.x * width), width - 1)
    return row * width + column


def _centre_of(cell: int, grid: tuple[int, int]) -> tuple[list[float], list[float]]:
    """Centre of a cell in pixels, as arguments of plot()."""
    row, column = divmod(cell, grid[1])
    return (
        [(column + 0.5) / grid[1] * _PIXELS[0] - 0.5],
        [(row + 0.5) / grid[0] * _PIXELS[1] - 0.5],
    )


def _overlay(grey: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The darkened grey image with a heat map of the weights; float ``[H, W, 3]``."""
    uniform = 1 / weights.size
    heat = (weights - uniform) / max(weights.max() - uniform, uniform)
    coarse = Image.fromarray(np.clip(heat, 0, 1).astype(np.float32))
    heat = np.clip(np.asarray(coarse.resize(_PIXELS, Image.Resampling.BICUBIC)), 0, 1)
    colour: NDArray[np.float64] = colormaps["inferno"](0.25 + 0.75 * heat)[..., :3]
    share = 0.85 * np.sqrt(heat)[..., None]
    mixed: NDArray[np.float64] = (1 - share) * grey * 0.75 + share * colour
    return np.clip(mixed, 0, 1)
