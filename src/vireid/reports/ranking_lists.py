"""Ranking lists: a query and its most similar gallery images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from vireid.data.images import read_image
from vireid.data.tone_mapping import AUTO, ToneMapping
from vireid.evaluation.analysis import Search
from vireid.reports.style import INK, RIGHT, WRONG
from vireid.types import ImageRecord

__all__ = ["Hit", "RankingList", "ranking_figure", "ranking_lists"]

_PIXELS = (96, 192)  # width and height of each image: person crops are 1:2
_COLOURS = {True: RIGHT, False: WRONG}
_GAP = 0.16  # between cells, in cell widths
_CAPTION = 0.5  # below a cell, in cell widths


@dataclass(frozen=True, slots=True)
class Hit:
    """One gallery image in a ranking list.

    Attributes:
        record: The image.
        similarity: Similarity that ranks it; larger is nearer. Cosines are in [-1, 1].
        correct: Whether it shows the query's identity.
    """

    record: ImageRecord
    similarity: float
    correct: bool


@dataclass(frozen=True, slots=True)
class RankingList:
    """A query and its nearest gallery images, excluded ones removed.

    Attributes:
        query: The query.
        average_precision: Its AP in [0, 1].
        matches: Number of correct images in its gallery.
        first_match: Rank of the first of them, from 1.
        hits: The nearest images, best first.
    """

    query: ImageRecord
    average_precision: float
    matches: int
    first_match: int
    hits: tuple[Hit, ...]


def ranking_lists(
    found: Search,
    *,
    choose: Literal["mix", "worst"] = "mix",
    count: int = 6,
    depth: int = 10,
) -> tuple[RankingList, ...]:
    """Ranking lists of a balanced sample of queries, or of the worst.

    The choice depends only on scores and file names. No identity is repeated while there are
    others.

    Args:
        found: A ranked trial.
        choose: ``mix``: a third each of best, median and worst AP. ``worst``: lowest AP.
        count: Number of queries; fewer are returned if fewer have a match.
        depth: Number of gallery images per query.

    Returns:
        The lists: of a mix by descending AP, of the worst by ascending AP.
    """
    worst = found.worst_first()
    chosen = _mix(found, worst, count) if choose == "mix" else _people_first(found, worst)[:count]
    return tuple(_list(found, row, depth) for row in chosen)


def ranking_figure(lists: Sequence[RankingList], *, tone_mapping: ToneMapping = AUTO) -> Figure:
    """Draw ranking lists, one row per query.

    Correct images have a green frame and a tick, wrong ones a red frame and a cross. Below each are
    its similarity and camera, and below the query its AP and the rank of its first match.

    Args:
        lists: The lists.
        tone_mapping: How images of more than 8 bits are mapped to 8.

    Raises:
        ImageError: An image cannot be read.
    """

    def shown(record: ImageRecord) -> Image.Image:
        return read_image(record.path, tone_mapping.of(record.camera_name))

    depth = max((len(found.hits) for found in lists), default=0)
    width = (depth + 1) * (1 + _GAP) + 2 * _GAP
    row = 2 + _CAPTION + _GAP
    height = row * len(lists) + _CAPTION
    figure = Figure(figsize=(width * 0.95, height * 0.95))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)  # downwards, like reading
    axes.axis("off")
    for left, head in ((_GAP, "query"), (1 + 3 * _GAP, "gallery, most similar first")):
        axes.text(left, 0.19, head, fontsize=11, fontweight="bold", color=INK, va="center")
    for i, found in enumerate(lists):
        top = _CAPTION + i * row
        score = f"AP {100 * found.average_precision:.0f} %\nfirst match: {found.first_match:,}"
        caption = f"{score}\n{_camera(found.query)}"
        _cell(axes, shown(found.query), (_GAP, top), caption, INK)
        for k, hit in enumerate(found.hits):
            left = 1 + 3 * _GAP + k * (1 + _GAP)
            caption = f"{hit.similarity:.2f}\n{_camera(hit.record)}"
            _cell(axes, shown(hit.record), (left, top), caption, _COLOURS[hit.correct])
            _badge(axes, (left + 0.84, top + 0.16), hit.correct)
    return figure


def _list(found: Search, row: int, depth: int) -> RankingList:
    records, gallery = found.protocol.records, found.trial.gallery
    similarity, correct = found.similarity[row], found.correct[row]
    # At equal similarity wrong before correct, as in the metrics, then by index.
    order = np.lexsort((correct, -similarity))
    nearest = order[~found.excluded[row, order]][:depth].tolist()
    return RankingList(
        query=records[int(found.trial.query[row])],
        average_precision=float(found.ranks.average_precision[row]),
        matches=int(found.ranks.matches[row]),
        first_match=int(found.ranks.first_image[row]),
        hits=tuple(
            Hit(records[int(gallery[j])], float(similarity[j]), bool(correct[j])) for j in nearest
        ),
    )


def _mix(found: Search, worst: Sequence[int], count: int) -> list[int]:
    """Rows of the best, median and worst queries, by descending AP."""
    order = worst[::-1]
    middle = len(order) // 2
    from_middle = sorted(range(len(order)), key=lambda index: (abs(index - middle), index))
    third = count // 3
    shares = (
        (order, count - 2 * third),
        (worst, third),
        ([order[index] for index in from_middle], third),
    )
    chosen: list[int] = []
    for candidates, share in shares:
        chosen += _people_first(found, candidates, shown=chosen)[:share]
    return sorted(chosen, key=order.index)


def _people_first(found: Search, rows: Sequence[int], *, shown: Sequence[int] = ()) -> list[int]:
    """Reorder rows, without ``shown``: first one row per new identity, then the others."""
    identities = found.protocol.identities[found.trial.query].tolist()
    seen = {identities[row] for row in shown}
    fresh, others = [], []
    for row in rows:
        if identities[row] not in seen:
            seen.add(identities[row])
            fresh.append(row)
        elif row not in shown:
            others.append(row)
    return [*fresh, *others]


def _cell(
    axes: Axes,
    image: Image.Image,
    corner: tuple[float, float],
    caption: str,
    frame: str,
) -> None:
    left, top = corner
    pixels: NDArray[np.uint8] = np.asarray(image.convert("RGB").resize(_PIXELS))
    axes.imshow(pixels, extent=(left, left + 1, top + 2, top), aspect="auto", zorder=1)
    axes.add_patch(
        Rectangle((left, top), 1, 2, fill=False, edgecolor=frame, linewidth=3.2, zorder=2)
    )
    axes.text(
        left + 0.5,
        top + 2.06,
        caption,
        fontsize=9.5,
        color=INK,
        ha="center",
        va="top",
        zorder=3,
        parse_math=False,
    )


def _badge(axes: Axes, centre: tuple[float, float], correct: bool) -> None:
    # Filled or empty as well as green or red, to be distinguishable in print too.
    colour = _COLOURS[correct]
    axes.text(
        *centre,
        "\N{CHECK MARK}" if correct else "\N{BALLOT X}",
        fontsize=10,
        fontweight="bold",
        color="white" if correct else colour,
        ha="center",
        va="center",
        bbox={
            "boxstyle": "circle,pad=0.22",
            "facecolor": colour if correct else "white",
            "edgecolor": "white" if correct else colour,
            "linewidth": 0.8,
        },
        zorder=4,
    )


def _camera(record: ImageRecord) -> str:
    return f"camera {record.camera_name or 'unknown'}"
