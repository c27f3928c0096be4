"""The common style of all figures: colour-blind-safe colours, light and dark PNG.

Figures are made without pyplot, so no global state changes and threads may draw in parallel.
Colours: Okabe and Ito, "Color Universal Design", 2008.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.typing import ColorType

__all__ = ["INK", "LINES", "PALE", "RIGHT", "WRONG", "heading", "png", "tidy"]

INK = "#1f2430"
PALE = "#6b7280"
RIGHT = "#009e73"
WRONG = "#cc3311"
EMPTY = "#f3f4f6"
"""Background of a cell without a value."""
_AXIS = "#9ca3af"
_GRID = "#e5e7eb"
LINES = (
    ("#0072b2", "-", "o"),
    ("#d55e00", "--", "s"),
    ("#cc79a7", "-.", "^"),
    ("#e69f00", ":", "D"),
    ("#56b4e9", "-", "v"),
    ("#8a6d3b", "--", "P"),
)
"""Colour, line style and marker of the first, second, ... method, in every figure.

Each of the three distinguishes the methods.
"""
_LIGHT_PAPER = "#ffffff"  # the card colours of the page
_DARK_PAPER = "#1d2128"
_DARK = {
    INK: "#e6e9ee",
    PALE: "#a3acba",
    EMPTY: "#2b313b",
    _AXIS: "#6b7483",
    _GRID: "#333a45",
    "#0072b2": "#3da5e0",
    RIGHT: "#12bd8d",
    WRONG: "#ee6a50",
}
"""Colours of the dark rendering by those of the light one; others stay as they are."""
_LIGHT = {dark: light for light, dark in _DARK.items()}
_CHARACTERS_PER_INCH = 9  # of a title, less the space left of the axes


def tidy(axes: Axes) -> None:
    """Remove the right and top spines, and draw a light grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_AXIS)
    axes.tick_params(colors=INK, labelsize=11, length=3)
    axes.grid(visible=True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def heading(axes: Axes, *lines: str) -> None:
    """Set a left-aligned title, wrapped to the figure's width; empty lines are left out."""
    width = int(axes.figure.bbox.width / axes.figure.dpi * _CHARACTERS_PER_INCH)
    text = "\n".join(textwrap.fill(line, width, break_on_hyphens=False) for line in lines if line)
    axes.set_title(text, fontsize=12.5, color=INK, loc="left", pad=12)


def png(figure: Figure, *, dpi: int = 130, dark: bool = False) -> bytes:
    """Render a figure as PNG; equal figures give equal bytes.

    Args:
        figure: The figure.
        dpi: Pixels per inch.
        dark: Render light text and axes on the dark background of the report.
    """
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    if dark:
        _recolour(figure, _DARK)
    buffer = io.BytesIO()
    figure.savefig(
        buffer,
        format="png",
        dpi=dpi,
        facecolor=_DARK_PAPER if dark else _LIGHT_PAPER,
        metadata={"Software": None},  # matplotlib would write its own version into the file
        pil_kwargs={"compress_level": 4},  # twice as fast as 6, and 3 % larger
    )
    if dark:
        _recolour(figure, _LIGHT)
    return buffer.getvalue()


def _recolour(figure: Figure, colours: Mapping[str, str]) -> None:
    """Replace colours of texts, lines and patches."""

    def new(colour: ColorType) -> ColorType:
        return colours.get(to_hex(colour), colour)

    for artist in figure.findobj():
        if isinstance(artist, Text):
            artist.set_color(new(artist.get_color()))
        elif isinstance(artist, Line2D):
            marker = artist.get_markeredgecolor()
            artist.set_color(new(artist.get_color()))
            artist.set_markeredgecolor(new(marker))
        elif isinstance(artist, Patch):
            # Transparent colours, such as the fill of a frame, stay transparent.
            if to_rgba(artist.get_edgecolor())[3] == 1:
                artist.set_edgecolor(new(artist.get_edgecolor()))
            if to_rgba(artist.get_facecolor())[3] == 1:
                artist.set_facecolor(new(artist.get_facecolor()))
