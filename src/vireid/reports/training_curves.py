"""Training curves: each loss term and each monitored quantity by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vireid.reports.style import INK, LINES, tidy

__all__ = ["training_figure"]

_NOT_DRAWN = {"epoch", "seconds", "images_per_second", "lr"}
_COLUMNS = 3


def training_figure(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Draw what training logged: one panel per quantity, one line per method.

    Args:
        histories: By method, one mapping an epoch as in ``metrics.jsonl``: numbers by name, loss
            terms in a mapping under ``terms``, and ``epoch`` from 1. The colour of a method
            depends on its position here, as in :func:`~vireid.reports.cmc_figure`.
    """
    series = {name: [_flat(line) for line in history] for name, history in histories.items()}
    keys = list(dict.fromkeys(key for lines in series.values() for line in lines for key in line))
    keys = [key for key in keys if key not in _NOT_DRAWN]
    rows = max(1, -(-len(keys) // _COLUMNS))
    figure = Figure(figsize=(10.5, 2.9 * rows + 0.5), layout="constrained")
    for i, key in enumerate(keys):
        axes = figure.add_subplot(rows, _COLUMNS, i + 1)
        tidy(axes)
        axes.set_title(key.replace("_", " "), fontsize=12, color=INK, loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        for n, (name, lines) in enumerate(series.items()):
            logged = [(k, line) for k, line in enumerate(lines, 1) if key in line]
            epochs = [line.get("epoch", k) for k, line in logged]
            colour, style, marker = LINES[n % len(LINES)]
            axes.plot(
                epochs,
                [line[key] for _, line in logged],
                color=colour,
                linestyle=style,
                marker=marker if len(epochs) <= 30 else None,
                markersize=4,
                linewidth=1.8,
                label=name,
            )
        if i + _COLUMNS >= len(keys):
            axes.set_xlabel("epoch", fontsize=11, color=INK)
    if keys:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="outside upper right",
            ncols=4,
            fontsize=11,
            frameon=False,
            labelcolor=INK,
        )
    return figure


def _flat(line: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of one epoch; loss terms first, marked as such."""
    terms = {f"{name} (loss term)": value for name, value in line.get("terms", {}).items()}
    numbers = {k: v for k, v in line.items() if isinstance(v, int | float)}
    return {**terms, **numbers}
