"""Ranking lists: a query and the gallery images the network holds nearest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from vireid.data.images import read_image
from vireid.evaluation.metrics import QueryRanks, rank_queries
from vireid.evaluation.protocols import Protocol
from vireid.evaluation.scoring import match_rows, similarities
from vireid.plots.style import INK, RIGHT, WRONG
from vireid.types import Descriptors, ImageRecord

__all__ = ["Hit", "RankingList", "ranking_figure", "ranking_lists"]

_PIXELS = (96, 192)  # width and height each image is drawn at: the 1:2 of person crops
_COLOURS = {True: RIGHT, False: WRONG}
_GAP = 0.16  # between cells, in cell widths
_CAPTION = 0.36  # beneath a cell, in cell widths


@dataclass(frozen=True, slots=True)
class Hit:
    """One gallery image in a ranking list.

    Attributes:
        record: The image.
        similarity: Cosine with the query, in [-1, 1].
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
        matches: Correct images in its whole gallery.
        hits: The nearest images, best first.
    """

    query: ImageRecord
    average_precision: float
    matches: int
    hits: tuple[Hit, ...]


def ranking_lists(
    descriptors: Descriptors,
    protocol: Protocol,
    *,
    trial: int = 0,
    count: int = 6,
    depth: int = 10,
) -> tuple[RankingList, ...]:
    """Ranking lists of a fair mix of queries: a third each of best, median and worst AP.

    The choice depends on the scores and file names only. No identity is shown twice while there
    are others.

    Args:
        descriptors: Descriptors of at least the protocol's images.
        protocol: The protocol.
        trial: Which of its trials, from 0.
        count: Queries wanted; fewer come back if fewer have a match.
        depth: Gallery images a query.

    Returns:
        The lists by falling AP.

    Raises:
        EvaluationError: As :func:`vireid.evaluation.evaluate`.
    """
    values = match_rows(descriptors, protocol.records)
    records = protocol.records
    chosen = protocol.trials[trial]
    query, gallery = chosen.query, chosen.gallery
    similarity = similarities(values[query], values[gallery])
    identities = np.array([r.identity for r in records], dtype=np.int64)
    cameras = np.array([r.camera for r in records], dtype=np.int64)
    excluded = protocol.excluded(cameras[query], cameras[gallery])
    ranks = rank_queries(similarity, identities[query], identities[gallery], excluded)

    lists = []
    for i in _mix(ranks, [records[q] for q in query.tolist()], count):
        removed = np.zeros(len(gallery), dtype=np.bool_) if excluded is None else excluded[i]
        correct = identities[gallery] == identities[query[i]]
        # At equal similarity wrong before right, as the metrics count, then by place.
        order = np.lexsort((np.arange(len(gallery)), correct, -similarity[i]))
        nearest = [j for j in order.tolist() if not removed[j]][:depth]
        hits = tuple(
            Hit(records[int(gallery[j])], float(similarity[i, j]), bool(correct[j]))
            for j in nearest
        )
        found = RankingList(
            records[int(query[i])],
            float(ranks.average_precision[i]),
            int(ranks.matches[i]),
            hits,
        )
        lists.append(found)
    return tuple(lists)


def ranking_figure(
    lists: Sequence[RankingList], *, open_image: Callable[[Path], Image.Image] = read_image
) -> Figure:
    """Draw ranking lists, one row a query.

    Right images have a green frame and a tick, wrong ones a red frame and a cross; beneath
    stand the similarity and the camera.

    Args:
        lists: The lists.
        open_image: Reads an image file.

    Raises:
        ImageError: An image cannot be read.
    """
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
        caption = f"AP {100 * found.average_precision:.0f} %\n{_camera(found.query)}"
        _cell(axes, open_image(found.query.path), (_GAP, top), caption, INK)
        for k, hit in enumerate(found.hits):
            left = 1 + 3 * _GAP + k * (1 + _GAP)
            caption = f"{hit.similarity:.2f}\n{_camera(hit.record)}"
            _cell(axes, open_image(hit.record.path), (left, top), caption, _COLOURS[hit.correct])
            _badge(axes, (left + 0.84, top + 0.16), hit.correct)
    return figure


def _mix(ranks: QueryRanks, records: Sequence[ImageRecord], count: int) -> list[int]:
    """Rows of the best, median and worst queries by AP, by falling AP."""
    valid = np.flatnonzero(ranks.valid).tolist()
    order = sorted(valid, key=lambda i: (-ranks.average_precision[i], records[i]))
    middle = len(order) // 2
    from_middle = sorted(range(len(order)), key=lambda place: (abs(place - middle), place))
    third = count // 3
    shares = (
        (order, count - 2 * third),
        (order[::-1], third),
        ([order[place] for place in from_middle], third),
    )
    chosen: list[int] = []
    for candidates, share in shares:
        shown = {records[i].identity for i in chosen}
        fresh: list[int] = []
        for i in candidates:
            if records[i].identity not in shown:
                fresh.append(i)
                shown.add(records[i].identity)
        others = [i for i in candidates if i not in fresh and i not in chosen]
        chosen += [*fresh, *others][:share]
    return sorted(chosen, key=order.index)


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
        left + 0.5, top + 2.06, caption, fontsize=9.5, color=INK, ha="center", va="top", zorder=3
    )


def _badge(axes: Axes, centre: tuple[float, float], correct: bool) -> None:
    axes.text(
        *centre,
        "\N{CHECK MARK}" if correct else "\N{BALLOT X}",
        fontsize=10,
        fontweight="bold",
        color="white",
        ha="center",
        va="center",
        bbox={
            "boxstyle": "circle,pad=0.22",
            "facecolor": _COLOURS[correct],
            "edgecolor": "white",
            "linewidth": 0.8,
        },
        zorder=4,
    )


def _camera(record: ImageRecord) -> str:
    return f"camera {record.camera}"
