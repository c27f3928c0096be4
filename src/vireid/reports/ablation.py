"""Ablation tables: the scores of each variant, and its difference from the base run.

Differences are between runs with the same seed, which share the order of the images and the other
random choices.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from vireid.evaluation.markdown import markdown_list, markdown_table
from vireid.reports.leaderboard import SYNTHETIC, Board, Row

__all__ = ["ablation_section", "paired_differences"]

_HEAD = ("variant", "seeds", "R-1", "mAP", "mINP", "mAP - base (pairs)", "parameters", "minutes")


def ablation_section(rows: Sequence[Row], *, base: str, parameters: Mapping[str, int]) -> str:
    """Format the section of one protocol as Markdown: conditions, table and notes.

    Args:
        rows: One row per variant, in order.
        base: Name of the row to compare the others with; it may be missing.
        parameters: Number of parameters of each variant's network, by row name.
    """
    board = Board(tuple(rows), ())
    base_rows = [row for row in rows if row.name == base]
    lines, compared = [list(_HEAD)], False
    for row in rows:
        differences = (
            paired_differences(row, base_rows[0]) if base_rows and row.name != base else []
        )
        compared |= bool(differences)
        lines.append(
            [
                row.label,
                str(len(row.entries)),
                *_shown(row.cells()),
                _difference(differences),
                f"{parameters[row.name]:,}",
                "" if row.minutes is None else f"{row.minutes:.1f}",
            ]
        )
    lines.append(["chance", "", *_shown(board.result.chance_cells()), "", "", ""])
    return "\n\n".join(
        [
            f"## {board.title}",
            markdown_list(board.conditions),
            markdown_table(lines, left=2),
            markdown_list(_notes(board, compared=compared)),
        ]
    )


def paired_differences(row: Row, base: Row) -> list[float]:
    """Differences of a variant from the base run, seed by seed.

    Args:
        row: The runs of the variant.
        base: The base runs.

    Returns:
        mAP of the variant minus mAP of the base run, in [-1, 1], for each seed of both.
    """
    of_base = {entry.seed: entry.result.mean_ap.mean for entry in base.entries}
    return [
        entry.result.mean_ap.mean - of_base[entry.seed]
        for entry in row.entries
        if entry.seed in of_base
    ]


def _shown(cells: Sequence[str]) -> list[str]:
    """R-1, mAP and mINP of R-1 to R-20, mAP and mINP."""
    return [cells[0], *cells[-2:]]


def _difference(pairs: Sequence[float]) -> str:
    """Mean and sample deviation in points, and the number of pairs."""
    if not pairs:
        return ""
    deviation = f" ± {100 * statistics.stdev(pairs):.2f}" if len(pairs) > 1 else ""
    return f"{100 * statistics.fmean(pairs):+.2f}{deviation} ({len(pairs)})"


def _notes(board: Board, *, compared: bool) -> list[str]:
    """How to read the table."""
    notes = []
    if board.result.protocol.startswith("SynVI"):
        notes.append(SYNTHETIC)
    if compared:
        notes.append(
            "mAP - base: mean difference in mAP points between runs with the same seed, and "
            "the number of such pairs. A difference about as large as its deviation is noise."
        )
    counts = [len(row.entries) for row in board.rows]
    if max(counts) > 1:
        notes.append("±: sample standard deviation over training seeds, not over trials.")
    if min(counts) == 1:
        notes.append(
            "With one run per variant or one pair, the variation over seeds is unknown. For more "
            "seeds: --seeds 0 1 2."
        )
    notes.append(
        "Parameters: the network in training, with its identity classifiers. Minutes: duration of "
        "the training steps of one run, on its machine."
    )
    return notes
