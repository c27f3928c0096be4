"""The table of an ablation: what each variant scores, and how far it is from the base run.

Differences are taken between runs of one seed: what a seed decides for both, such as the order of
the images, then makes no difference.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from vireid.evaluation.markdown import markdown_list, markdown_table
from vireid.reports.leaderboard import SYNTHETIC, Board, Row

__all__ = ["ablation_section", "paired_differences"]

_HEAD = ("variant", "seeds", "R-1", "mAP", "mINP", "mAP - base (pairs)", "parameters", "minutes")


def ablation_section(rows: Sequence[Row], *, base: str, parameters: Mapping[str, int]) -> str:
    """One protocol's part of the page, in Markdown: conditions, table, and how to read it.

    Args:
        rows: A row a variant, in the order that they are shown in.
        base: The name of the row that the others are compared with; it may be missing.
        parameters: How many the network of each variant has, by the row's name.
    """
    board = Board(tuple(rows), ())
    usual = [row for row in rows if row.name == base]
    lines, compared = [list(_HEAD)], False
    for row in rows:
        differences = paired_differences(row, usual[0]) if usual and row.name != base else []
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
    """How far a variant is from the base run, seed by seed.

    Args:
        row: The runs of the variant.
        base: The runs that it deviates from.

    Returns:
        mAP of the variant minus mAP of the base run, in [-1, 1], for each seed that both have.
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
    """How to read the figures."""
    notes = []
    if board.result.protocol.startswith("SynVI"):
        notes.append(SYNTHETIC)
    if compared:
        notes.append(
            "mAP - base: points of mAP between runs of the same seed, with the number of such "
            "pairs in brackets. A difference about as large as its deviation is noise."
        )
    counts = [len(row.entries) for row in board.rows]
    if max(counts) > 1:
        notes.append("±: sample deviation over training seeds, not over trials.")
    if min(counts) == 1:
        notes.append(
            "A variant with one run, and a difference of one pair, says little: how much another "
            "seed would change is not known. More seeds: --seeds 0 1 2."
        )
    notes.append(
        "Parameters: the network in training, with its identity classifiers. Minutes: the training "
        "steps of one run, on the machine that it ran on."
    )
    return notes
