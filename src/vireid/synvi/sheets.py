"""Contact sheets: a tree at a glance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from vireid.data import sheet
from vireid.data.sheet import Cell
from vireid.errors import ConfigError
from vireid.synvi.generate import read_plan
from vireid.synvi.presets import Plan

__all__ = ["contact_sheet"]

_ROW = 192  # height of an image, pixels
_COLUMNS = 12


def _columns(plan: Plan) -> list[tuple[int, int]]:
    """Camera and image of each column: first image of each camera, then the second, and so on."""
    counts = plan.preset.images
    pairs = [(i, c) for c, count in enumerate(counts) for i in range(count)]
    return sorted((c, i) for i, c in sorted(pairs)[:_COLUMNS])


def _row(tree: Path, plan: Plan, identity: int) -> list[Cell | None]:
    """The images of one identity; blank for a camera without one."""
    cameras = len(plan.preset.images)  # of a world
    paths = {(f.camera % cameras, f.index): tree / f.path for f in plan.frames(identity)}
    cells: list[Cell | None] = []
    for column in _columns(plan):
        if column in paths:
            with Image.open(paths[column]) as opened:
                cells.append(Cell(opened.convert("RGB")))
        else:
            cells.append(None)
    return cells


def contact_sheet(tree: Path, out_png: Path, identities: int = 8) -> Path:
    """Lay out some identities of a tree: a row for each, its cameras and images from left to right.

    Args:
        tree: A finished SynVI tree.
        out_png: The PNG file to write; its folder is created if needed.
        identities: How many identities, spread evenly over the tree.

    Returns:
        `out_png`.
    """
    if identities < 1:
        raise ConfigError(f"identities={identities}; expected at least 1.")
    plan = read_plan(tree)
    numbers = np.array(plan.numbers())
    picks = np.unique(np.linspace(0, len(numbers) - 1, min(identities, len(numbers))).round())
    rows = [_row(Path(tree), plan, int(numbers[int(pick)])) for pick in picks]
    width = 96 if plan.layout == "regdb" else 116
    out_png = Path(out_png)
    out_png.parent.mkdir(parents=True, exist_ok=True)
    sheet.contact_sheet(rows, cell=(width, _ROW)).save(out_png, "PNG")
    return out_png
