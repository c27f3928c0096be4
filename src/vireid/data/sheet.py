"""Contact sheets: images in rows, with headings and captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from PIL import Image, ImageDraw, ImageFont

__all__ = ["Cell", "contact_sheet"]

Colour: TypeAlias = tuple[int, int, int]

_GAP = 4
_CAPTION = 16
_HEADING = 30
_WHITE = (255, 255, 255)
_INK = (40, 40, 40)


class Cell(NamedTuple):
    """One image of a sheet.

    Attributes:
        image: The image, of any size.
        caption: The caption below it, if any.
    """

    image: Image.Image
    caption: str = ""


def contact_sheet(
    rows: Sequence[str | Sequence[Cell | None]],
    *,
    cell: tuple[int, int],
    paper: Colour = _WHITE,
    ink: Colour = _INK,
) -> Image.Image:
    """Arrange images from left to right and from top to bottom.

    Args:
        rows: A heading, or the cells of a row; None leaves a cell blank.
        cell: Width and height that each image is scaled to fit, in pixels, keeping its aspect
            ratio.
        paper: Colour of the background.
        ink: Colour of headings and captions.

    Returns:
        The sheet, RGB.
    """
    width, height = cell
    columns = max((len(row) for row in rows if not isinstance(row, str)), default=0)
    tops = [_GAP]
    for row in rows:
        tops.append(tops[-1] + _height(row, height))
    heading, caption = ImageFont.load_default(size=18), ImageFont.load_default(size=12)
    widths = [heading.getlength(row) + 2 * _GAP for row in rows if isinstance(row, str)]
    right = max(_GAP + columns * (width + _GAP), *map(round, widths), 1)
    sheet = Image.new("RGB", (right, tops[-1]), paper)
    draw = ImageDraw.Draw(sheet)
    for row, top in zip(rows, tops, strict=False):
        if isinstance(row, str):
            draw.text((_GAP, top + 6), row, fill=ink, font=heading)
            continue
        for column, shown in enumerate(row):
            if shown is None:
                continue
            left = _GAP + column * (width + _GAP)
            sheet.paste(_fitted(shown.image, cell, paper), (left, top))
            if shown.caption:
                middle = (left + width // 2, top + height + 1)
                draw.text(middle, shown.caption, fill=ink, font=caption, anchor="ma")
    return sheet


def _height(row: str | Sequence[Cell | None], height: int) -> int:
    if isinstance(row, str):
        return _HEADING
    captions = any(shown is not None and shown.caption for shown in row)
    return height + _GAP + (_CAPTION if captions else 0)


def _fitted(image: Image.Image, cell: tuple[int, int], paper: Colour) -> Image.Image:
    """An image centred in a cell."""
    width, height = cell
    scale = min(width / image.width, height / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    fitted = Image.new("RGB", cell, paper)
    small = image.resize(size, Image.Resampling.LANCZOS)
    fitted.paste(small, ((width - size[0]) // 2, (height - size[1]) // 2))
    return fitted
