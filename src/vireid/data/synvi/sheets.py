"""Contact sheets: a tree at a glance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from vireid.data.synvi.generate import read_plan
from vireid.data.synvi.presets import Frame, Plan
from vireid.errors import ConfigError

__all__ = ["contact_sheet"]

_ROW = 192  # pixels a picture is high
_COLUMNS = 12
_GAP = 4


def _columns(plan: Plan) -> list[tuple[int, int]]:
    """Camera and image of each column: first one image a camera, then the second, as room is."""
    counts = plan.preset.images
    pairs = [(i, c) for c, count in enumerate(counts) for i in range(count)]
    return sorted((c, i) for i, c in sorted(pairs)[:_COLUMNS])


def _thumbnail(path: Path, width: int) -> Image.Image:
    """A picture fitted into a cell, on white."""
    cell = Image.new("RGB", (width, _ROW), (255, 255, 255))
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    share = min(width / picture.width, _ROW / picture.height)
    size = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    cell.paste(picture, ((width - size[0]) // 2, (_ROW - size[1]) // 2))
    return cell


def contact_sheet(tree: Path, out_png: Path, identities: int = 8) -> Path:
    """Lay out some identities of a tree: a row for each, its cameras and images from left to right.

    Args:
        tree: A finished SynVI tree.
        out_png: The picture to write (PNG); its folder is made if need be.
        identities: How many identities, spread evenly over the tree.

    Returns:
        `out_png`.
    """
    if identities < 1:
        raise ConfigError(f"identities={identities}; expected at least 1.")
    plan = read_plan(tree)
    numbers = np.array(plan.numbers())
    picks = np.unique(np.linspace(0, len(numbers) - 1, min(identities, len(numbers))).round())
    columns = _columns(plan)
    width = 96 if plan.layout == "regdb" else 116
    sheet = Image.new(
        "RGB",
        (len(columns) * (width + _GAP) + _GAP, len(picks) * (_ROW + _GAP) + _GAP),
        (255, 255, 255),
    )
    for row, pick in enumerate(picks):
        frames: dict[tuple[int, int], Frame] = {
            (f.camera, f.index): f for f in plan.frames(int(numbers[int(pick)]))
        }
        for column, key in enumerate(columns):
            frame = frames.get(key)
            if frame is not None:
                cell = _thumbnail(Path(tree) / frame.path, width)
                place = (_GAP + column * (width + _GAP), _GAP + row * (_ROW + _GAP))
                sheet.paste(cell, place)
    out_png = Path(out_png)
    out_png.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out_png, "PNG")
    return out_png
