"""Translated pictures: an image, its version in the other modality, and that translated back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure

from vireid.features.extractor import Translation
from vireid.reports.style import INK
from vireid.types import ImageRecord, Modality

__all__ = ["translation_figure", "translation_records"]

_CELL = 1.15  # width of a picture, in inches
_TITLES = ("visible", "as infrared", "and back", "", "infrared", "as visible", "and back")


def translation_records(records: Iterable[ImageRecord], *, count: int = 4) -> list[ImageRecord]:
    """One visible and one infrared image each of some identities.

    The choice depends on the records alone: identities in even steps over all that both modalities
    show, of each the first image by file name.

    Args:
        records: Images to choose from.
        count: Identities wanted; fewer come back if fewer are shown by both modalities.

    Returns:
        Visible, infrared, visible, infrared, ...
    """
    first: dict[tuple[Modality, int], ImageRecord] = {}
    for record in sorted(records):
        first.setdefault((record.modality, record.identity), record)
    both = sorted(
        identity
        for modality, identity in first
        if modality is Modality.VISIBLE and (Modality.INFRARED, identity) in first
    )
    count = min(count, len(both))
    chosen = [both[i * len(both) // count] for i in range(count)]
    return [first[modality, identity] for identity in chosen for modality in Modality]


def translation_figure(translations: Sequence[Translation]) -> Figure:
    """Draw translations, one visible and one infrared image a row, each with its two translations.

    Args:
        translations: As many of visible images as of infrared ones, such as those of
            :func:`translation_records`; the first visible one shares a row with the first infrared
            one, and so on.
    """
    sides = [[t for t in translations if t.record.modality is modality] for modality in Modality]
    height, width = translations[0].original.shape[:2]
    rows = len(sides[0])
    figure = Figure(
        figsize=(7 * _CELL, (rows * height / width + 0.3) * _CELL), layout="constrained"
    )
    grid = figure.subplots(rows, 7, squeeze=False, width_ratios=(1, 1, 1, 0.25, 1, 1, 1))
    for cells, pair in zip(grid, zip(*sides, strict=True), strict=True):
        pictures = [[found.original, found.translated, found.back] for found in pair]
        for axes, picture in zip(cells, [*pictures[0], None, *pictures[1]], strict=True):
            axes.set_axis_off()
            if picture is not None:
                axes.imshow(picture)
    for axes, title in zip(grid[0], _TITLES, strict=True):
        axes.set_title(title, fontsize=10.5, color=INK)
    return figure
