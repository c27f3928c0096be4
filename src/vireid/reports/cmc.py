"""CMC curves of several methods and of a random ranking."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure

from vireid.errors import EvaluationError
from vireid.evaluation.result import Result
from vireid.reports.style import INK, LINES, PALE, heading, tidy

__all__ = ["cmc_figure"]


def cmc_figure(results: Mapping[str, Result], *, ranks: int = 20) -> Figure:
    """Draw CMC curves.

    The band around a curve is the standard deviation over trials, if there are several.

    Args:
        results: Result by method, all of one protocol. The colour of a method depends on its
            position here; the legend lists the best method first.
        ranks: Number of ranks.

    Raises:
        EvaluationError: There is no result, or they are of different protocols.
    """
    kinds = {result.kind for result in results.values()}
    if len(kinds) != 1:
        raise EvaluationError(
            f"CMC curves of {len(kinds)} protocols in one figure; expected one, because curves of "
            "different protocols cannot be compared"
        )
    figure = Figure(figsize=(6.2, 4.4 + 0.24 * len(results)), layout="constrained")
    axes = figure.add_subplot()
    tidy(axes)
    x = np.arange(1, ranks + 1)
    looks = dict(zip(results, cycle(LINES), strict=False))
    best_first = sorted(results.items(), key=lambda item: -item[1].mean_ap.mean)
    for name, result in best_first:
        colour, line, marker = looks[name]
        scores = [result.cmc(int(rank)) for rank in x]
        mean = 100 * np.array([score.mean for score in scores])
        std = 100 * np.array([score.std for score in scores])
        axes.plot(
            x,
            mean,
            color=colour,
            linestyle=line,
            marker=marker,
            markersize=5,
            linewidth=2,
            label=f"{name}  (R-1 {mean[0]:.1f}, mAP {100 * result.mean_ap.mean:.1f})",
            zorder=3,
        )
        if std.any():
            low, high = np.clip([mean - std, mean + std], 0, 100)
            axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    first = best_first[0][1]
    curve = first.chance.cmc
    chance = [100 * curve[min(int(rank), len(curve)) - 1] for rank in x]
    label = f"chance  (R-1 {chance[0]:.1f}, mAP {100 * first.chance.mean_ap:.1f})"
    axes.plot(x, chance, color=PALE, linestyle=(0, (2, 2)), linewidth=1.8, label=label, zorder=2)
    axes.set_xlim(0.5, ranks + 0.5)
    axes.set_ylim(0, 102)
    axes.set_xticks([1, *range(5, ranks + 1, 5)])
    of = "identities" if first.cmc_kind == "identity" else "images"
    axes.set_ylabel("queries matched within rank, %", fontsize=12, color=INK)
    heading(axes, first.protocol, first.direction)
    axes.set_xlabel(f"rank, counted in {of}", fontsize=12, color=INK)
    # Below the axes, since curves may run anywhere within them.
    figure.legend(loc="outside lower left", fontsize=10.5, frameon=False, labelcolor=INK)
    return figure
