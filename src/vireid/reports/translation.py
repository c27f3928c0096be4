"""Translated images: an image, its version in the other modality, and that translated back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure

from vireid.features.extractor import Translation
from vireid.reports.style import INK
from vireid.types import ImageRecord, Modality

__all__ = ["translation_figure", "translation_records"]

_CELL = 1.15  # width of an image, in inches
_TITLES = ("visible", "as infrared", "and back", "", "infrared", "as visible", "and back")


def translation_records(records: Iterable[ImageRecord], *, count: int = 4) -> list[ImageRecord]:
    """One visible and one infrared image each of a few identities.

    The choice depends only on the records: identities at even steps among those with images of
    both modalities, and the first image of each by file name.

    Args:
        records: Images to choose from.
        count: Number of identities; fewer are returned if fewer have images of both modalities.

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
    """Draw translations: per row one visible and one infrared image, each with two translations.

    Args:
        translations: As many of visible as of infrared images, such as those of
            :func:`translation_records`; row i shows the i-th of each.
    """
    sides = [[t for t in translations if t.record.modality is modality] for modality in Modality]
    height, width = translations[0].original.shape[:2]
    rows = len(sides[0])
    figure = Figure(
        figsize=(7 * _CELL, (rows * height / width + 0.3) * _CELL), layout="constrained"
    )
    grid = figure.subplots(rows, 7, squeeze=False, width_ratios=(1, 1, 1, 0.25, 1, 1, 1))
    for cells, pair in zip(grid, zip(*sides, strict=True), strict=True):
        images = [[found.original, found.translated, found.back] for found in pair]
        for axes, image in zip(cells, [*images[0], None, *images[1]], strict=True):
            axes.set_axis_off()
            if image is not None:
                axes.imshow(image)
    for axes, title in zip(grid[0], _TITLES, strict=True):
        axes.set_title(title, fontsize=10.5, color=INK)
    return figure
