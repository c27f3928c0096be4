"""``vireid bench WHAT``: how fast a part is, beside a plain reference in the same run."""

from __future__ import annotations

from pathlib import Path

from tyro.extras import SubcommandApp

from vireid.bench.data import Throughput, report_data
from vireid.bench.evaluation import Timing, report_evaluation
from vireid.bench.gallery import GalleryTiming, report_gallery
from vireid.data.layouts import DataSource

__all__ = ["app", "data", "evaluation", "gallery"]


def app() -> SubcommandApp:
    """``vireid bench`` with one sub-command a part."""
    parts = SubcommandApp()
    parts.command(evaluation)
    parts.command(data)
    parts.command(gallery)
    return parts


def evaluation(*, repeats: int = 3) -> list[Timing]:
    """Evaluation against the per-query loop that the field's evaluators are.

    SYSU-MM01 and RegDB at their published sizes over random descriptors, and 4,000 queries in a
    gallery of 100,000. Both sides start from the same similarities and must find the same figures.

    Args:
        repeats: How often vireid's side is run; the median counts. The loop is run once.

    Returns:
        The measurements.
    """
    return report_evaluation(repeats)


def data(
    source: DataSource,
    *,
    size: tuple[int, int] = (288, 144),
    repeats: int = 3,
    out: Path | None = None,
) -> Throughput:
    """An epoch over the training images from the packed cache against decoding the files.

    Args:
        source: The data set.
        size: Height and width of the images, in pixels.
        repeats: How often an epoch is run; the median counts.
        out: Where the cache is built for the while; the system's temporary folder by default.

    Returns:
        The measurement.
    """
    return report_data(source, size, repeats, out)


def gallery(
    *,
    sizes: tuple[int, ...] = (20_000, 100_000),
    dimension: int = 3072,
    out: Path | None = None,
) -> list[GalleryTiming]:
    """A gallery in a folder: adding, searching exactly and by the graph, memory and disk.

    Beside it a product of all descriptors in memory with the query, which stores nothing.
    Descriptors are those of made-up people.

    Args:
        sizes: How many entries.
        dimension: Length of the descriptors; DLIS's by default.
        out: Where the galleries are made for the while; the system's temporary folder by default.

    Returns:
        The measurements.
    """
    return report_gallery(sizes, dimension, out)
