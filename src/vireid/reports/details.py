"""Figures of a result's first trial: similarity histogram and scores by camera pair."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vireid.errors import EvaluationError, many
from vireid.evaluation.analysis import CameraPair, Details, Histogram
from vireid.evaluation.result import Result
from vireid.reports.style import EMPTY, INK, PALE, RIGHT, WRONG, heading, tidy

__all__ = ["camera_pair_figure", "details_of", "first_trial", "remark", "similarity_figure"]

_CELL = (1.35, 0.95)  # inches
_FEWEST_COLUMNS = 3  # fewer are too narrow for the title
_WHITE_FROM = 0.7  # mAP from which white text has more contrast than dark
_ON_BLUE = "#1a1d24"  # text on light blue, in light and dark renderings
_PAIRS_IN_A_BIN = 25  # mean number of same-person pairs below which bins are merged
_FEWEST_BINS = 10
_REMARKS = {"all": "excluded", "matches": "matches excluded"}


def details_of(result: Result) -> Details:
    """The details of a result.

    Raises:
        EvaluationError: The result has none.
    """
    if result.details is None:
        raise EvaluationError(
            f"the result of {result.protocol} keeps no details to draw; expected one of "
            "evaluate(..., details=True)"
        )
    return result.details


def first_trial(result: Result) -> str:
    """The trial that the details describe; empty if there is only one."""
    count = len(result.trials)
    return f"first of {count} trials" if count > 1 else ""


def remark(pair: CameraPair) -> str:
    """Why a camera pair has no score; empty if it has one."""
    return "" if pair.queries else _REMARKS.get(pair.excluded, "no match")


def similarity_figure(result: Result) -> Figure:
    """Draw the similarities of same-person and of different-person pairs, without excluded pairs.

    The dashed line is the threshold of the equal error rate: as large a share of same-person pairs
    is below it as of different-person pairs above it.

    Args:
        result: A result with details.

    Raises:
        EvaluationError: The result has no details.
    """
    counted = details_of(result).histogram
    histogram, equal = _merged(counted), counted.equal_error
    figure = Figure(figsize=(6.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    tidy(axes)
    for name, counts, colour, line in (
        ("different people", histogram.different, WRONG, "--"),
        ("same person", histogram.same, RIGHT, "-"),
    ):
        total = sum(counts)
        if not total:
            continue
        shares = 100 * np.array(counts) / total
        axes.stairs(shares, histogram.edges, fill=True, color=colour, alpha=0.25, zorder=2)
        axes.stairs(
            shares,
            histogram.edges,
            color=colour,
            linestyle=line,
            linewidth=1.8,
            label=f"{name}  ({total:,} pairs)",
            zorder=3,
        )
    if equal is not None:
        axes.axvline(
            equal.similarity,
            color=INK,
            linestyle=(0, (2, 2)),
            linewidth=1.4,
            ymax=0.72,
            label=f"equal error rate  ({100 * equal.rate:.1f} % at {equal.similarity:.2f})",
            zorder=4,
        )
    axes.set_ylim(0, 1.4 * axes.dataLim.ymax)  # space for the legend above the data
    axes.set_ylabel("share of pairs in a bin, %", fontsize=12, color=INK)
    axes.set_xlabel(_similarity_name(result), fontsize=12, color=INK)
    _set_title(axes, result)
    axes.legend(fontsize=10.5, frameon=False, loc="upper left", labelcolor=INK)
    return figure


def camera_pair_figure(result: Result) -> Figure:
    """Draw mAP and Rank-1 of every pair of cameras, each gallery camera searched separately.

    Args:
        result: A result with details.

    Raises:
        EvaluationError: The result has no details.
    """
    pairs = details_of(result).camera_pairs
    rows = list(dict.fromkeys(pair.query_camera for pair in pairs))
    columns = list(dict.fromkeys(pair.gallery_camera for pair in pairs))
    images = {pair.gallery_camera: pair.gallery for pair in pairs}
    across = max(len(columns), _FEWEST_COLUMNS)
    size = (_CELL[0] * across + 1.2, _CELL[1] * len(rows) + 1.5)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlim(-0.5, across - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    for pair in pairs:
        _draw_pair(axes, pair, (columns.index(pair.gallery_camera), rows.index(pair.query_camera)))
    axes.set_xticks(
        range(len(columns)),
        [f"camera {camera}\n{many(images[camera], 'image')}" for camera in columns],
        parse_math=False,
    )
    axes.set_yticks(range(len(rows)), [f"camera {camera}" for camera in rows], parse_math=False)
    axes.xaxis.set_label_position("top")
    axes.tick_params(
        length=0, labelsize=11, labelcolor=INK, labeltop=True, labelbottom=False, bottom=False
    )
    axes.spines[:].set_visible(False)
    axes.set_xlabel("gallery", fontsize=12, color=INK, loc="left")
    axes.set_ylabel("query", fontsize=12, color=INK, loc="top")
    _set_title(axes, result)
    return figure


def _draw_pair(axes: Axes, pair: CameraPair, centre: tuple[int, int]) -> None:
    x, y = centre
    score = pair.mean_ap
    axes.add_patch(
        Rectangle(
            (x - 0.49, y - 0.49),
            0.98,
            0.98,
            facecolor=EMPTY if score is None else colormaps["Blues"](0.95 * score),
        )
    )
    if score is None or pair.rank1 is None:
        text = remark(pair).replace(" ", "\n")
        axes.text(x, y, text, fontsize=11, color=PALE, ha="center", va="center")
        return
    ink = "white" if score >= _WHITE_FROM else _ON_BLUE
    for offset, text, points, weight in (
        (-0.2, f"mAP {100 * score:.1f} %", 12, "bold"),
        (0.08, f"R-1 {100 * pair.rank1:.1f} %", 11, "normal"),
        (0.32, f"{many(pair.queries, 'query', 'queries')}", 9, "normal"),
    ):
        axes.text(
            x,
            y + offset,
            text,
            fontsize=points,
            fontweight=weight,
            color=ink,
            ha="center",
            va="center",
        )


def _merged(histogram: Histogram) -> Histogram:
    """Merge neighbouring bins until each has enough pairs not to look like noise."""
    counts = np.array([histogram.same, histogram.different])
    while (
        counts.shape[1] >= 2 * _FEWEST_BINS and counts[0].sum() < _PAIRS_IN_A_BIN * counts.shape[1]
    ):
        counts = counts.reshape(2, -1, 2).sum(axis=2)
    same, different = counts.tolist()
    return Histogram(histogram.low, histogram.high, tuple(same), tuple(different))


def _set_title(axes: Axes, result: Result) -> None:
    used = [f"with {name}" for name in result.post_processing]
    parts = [result.direction, *used, first_trial(result)]
    heading(axes, result.protocol, ", ".join(part for part in parts if part))


def _similarity_name(result: Result) -> str:
    if result.reranking != "none":
        return "similarity after re-ranking"
    kind, *standardised = result.similarity.split(", ")
    name = "cosine similarity" if kind == "cosine" else "minus the Euclidean distance"
    name = f"{name} (standardised)" if standardised else name
    return name if result.query_expansion == "none" else f"{name} after query expansion"
